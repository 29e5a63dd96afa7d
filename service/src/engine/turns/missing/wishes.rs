//! Which nodes are to have a session in this boot. At the first look of the boot those that are set to log in
//! automatically; after that, those of them that have had a session. A logout ends a wish, whoever logs out, and the next
//! session of the node begins it again.
//!
//! That a session was logged out of by another program, such as iscsiadm, shows in that it is gone: iscsid tries to
//! connect again without end. Only where its record has it give up (`node.session.reopen_max`), a session that is
//! gone is to come back.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use iscsi_initiator_dbus::{Iqn, fault::Result};

use crate::backend::{
    host::threads::blocking,
    open_iscsi::database::NodeKey,
    wished::{Wished, WishedFile},
};

/// The wishes, by their file alone: the program that logs out at shutdown changes it as well.
#[derive(Clone)]
pub(in crate::engine) struct Wishes {
    file: WishedFile,
    /// Held while it is read and changed.
    changing: Arc<Mutex<()>>,
}

/// What a look has seen.
pub(in crate::engine) struct Look {
    /// The nodes that are set to log in automatically.
    pub(in crate::engine) automatic: BTreeSet<NodeKey>,
    /// Those of them with a session.
    pub(in crate::engine) up: BTreeSet<NodeKey>,
    /// Those of these that are logged in.
    pub(in crate::engine) logged_in: BTreeSet<NodeKey>,
    /// Those whose sessions iscsid may give up.
    pub(in crate::engine) given_up: BTreeSet<NodeKey>,
    /// The targets that someone works on: what is wished of them stays as it is.
    pub(in crate::engine) skipped: BTreeSet<Iqn>,
    /// Whether every record was read.
    pub(in crate::engine) is_whole: bool,
    /// Whether the machine boots, or nobody knows: only that counts at the first look.
    pub(in crate::engine) is_boot: bool,
}

impl Wishes {
    pub(in crate::engine) fn new(run: &Path) -> Self {
        let file = WishedFile::new(run);
        file.recover();
        Self { file, changing: Arc::default() }
    }

    /// Whether nothing was noted since the boot.
    pub(in crate::engine) async fn are_unknown(&self) -> Result<bool> {
        let wishes = self.clone();
        blocking(move || wishes.file.read().is_none()).await
    }

    /// Takes what was seen. Returns the nodes that are wished for.
    pub(in crate::engine) async fn see(&self, look: Look) -> Result<BTreeSet<NodeKey>> {
        let wishes = self.clone();
        blocking(move || {
            let _changing = wishes.changing.lock().unwrap_or_else(PoisonError::into_inner);
            let before = wishes.file.read();
            let now = after(before.as_ref(), look);
            if before.as_ref() != Some(&now) {
                wishes.file.write(&now)?;
            }
            Ok(now.into_keys().collect())
        })
        .await?
    }

    /// Those of these nodes that are still wished for.
    pub(in crate::engine) async fn still(&self, mut nodes: BTreeSet<NodeKey>) -> Result<BTreeSet<NodeKey>> {
        let wishes = self.clone();
        let known = blocking(move || wishes.file.read()).await?;
        if let Some(known) = known {
            nodes.retain(|node| known.contains_key(node));
        }
        Ok(nodes)
    }

    /// Ends the wish for these nodes.
    pub(in crate::engine) async fn give_up(&self, nodes: BTreeSet<NodeKey>) -> Result<()> {
        let wishes = self.clone();
        blocking(move || {
            let _changing = wishes.changing.lock().unwrap_or_else(PoisonError::into_inner);
            // Before the first look nothing is wished for yet; it will be.
            let Some(before) = wishes.file.read() else { return Ok(()) };
            let mut now = before.clone();
            now.retain(|node, _| !nodes.contains(node));
            if now == before { Ok(()) } else { wishes.file.write(&now) }
        })
        .await?
    }
}

/// The wishes after a look; `before` is `None` at the first one since the boot.
fn after(before: Option<&Wished>, look: Look) -> Wished {
    let Some(before) = before else {
        let wished = if look.is_boot { &look.automatic } else { &look.up };
        return wished.iter().map(|node| (node.clone(), look.logged_in.contains(node))).collect();
    };
    let is_free = |node: &NodeKey| !look.skipped.contains(&node.target);
    let stays = |node: &NodeKey, was_logged_in: bool| {
        !look.is_whole
            || !is_free(node)
            || (look.automatic.contains(node)
                && (!was_logged_in || look.up.contains(node) || look.given_up.contains(node)))
    };
    let mut now: Wished = before
        .iter()
        .filter(|(node, was_logged_in)| stays(node, **was_logged_in))
        .map(|(node, was_logged_in)| (node.clone(), *was_logged_in))
        .collect();
    for node in look.up.iter().filter(|node| is_free(node)) {
        *now.entry(node.clone()).or_default() |= look.logged_in.contains(node);
    }
    now
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(target: &str) -> NodeKey {
        NodeKey {
            target: format!("iqn.2001-04.com.example:{target}").parse().unwrap(),
            portal: "192.0.2.21".parse().unwrap(),
            tpgt: Some(1),
            iface: "default".into(),
            spelled: None,
        }
    }

    fn nodes(names: &[&str]) -> BTreeSet<NodeKey> {
        names.iter().map(|name| node(name)).collect()
    }

    fn look(automatic: &[&str], up: &[&str]) -> Look {
        Look {
            automatic: nodes(automatic),
            up: nodes(up),
            logged_in: nodes(up),
            given_up: BTreeSet::new(),
            skipped: BTreeSet::new(),
            is_whole: true,
            is_boot: true,
        }
    }

    #[tokio::test]
    async fn all_at_the_boot_and_later_what_was_up_until_it_is_logged_out_of() {
        let folder = tempfile::tempdir().unwrap();
        let wishes = Wishes::new(folder.path());
        assert_eq!(wishes.see(look(&["a", "b"], &["a"])).await.unwrap(), nodes(&["a", "b"]));
        // One that is set so later is for the next boot, or for whoever logs in to it.
        assert_eq!(wishes.see(look(&["a", "b", "c"], &["a"])).await.unwrap(), nodes(&["a", "b"]));
        wishes.give_up(nodes(&["b"])).await.unwrap();
        assert_eq!(wishes.still(nodes(&["a", "b"])).await.unwrap(), nodes(&["a"]));
        // A restarted daemon.
        let wishes = Wishes::new(folder.path());
        assert_eq!(wishes.see(look(&["a", "b", "c"], &["a", "c"])).await.unwrap(), nodes(&["a", "c"]));
        assert_eq!(
            wishes.see(look(&["b", "c"], &["c"])).await.unwrap(),
            nodes(&["c"]),
            "a is manual, or gone"
        );
    }

    #[tokio::test]
    async fn a_session_that_is_gone_was_logged_out_of_unless_iscsid_may_have_given_it_up() {
        let folder = tempfile::tempdir().unwrap();
        let wishes = Wishes::new(folder.path());
        wishes.see(look(&["a", "b", "c"], &["a", "b"])).await.unwrap();
        let given_up = Look { given_up: nodes(&["b"]), ..look(&["a", "b", "c"], &[]) };
        assert_eq!(wishes.see(given_up).await.unwrap(), nodes(&["b", "c"]), "c has never been up");
        // Begun, and never logged in: an iscsid that is killed leaves that.
        let begun =
            Look { logged_in: BTreeSet::new(), given_up: nodes(&["b"]), ..look(&["a", "b", "c"], &["c"]) };
        wishes.see(begun).await.unwrap();
        let given_up = Look { given_up: nodes(&["b"]), ..look(&["a", "b", "c"], &[]) };
        assert_eq!(wishes.see(given_up).await.unwrap(), nodes(&["b", "c"]));
        assert_eq!(wishes.see(look(&["a", "b", "c"], &["a"])).await.unwrap(), nodes(&["a", "c"]));
    }

    #[tokio::test]
    async fn a_daemon_that_is_first_started_later_wishes_for_what_is_up() {
        let folder = tempfile::tempdir().unwrap();
        let wishes = Wishes::new(folder.path());
        assert!(wishes.are_unknown().await.unwrap());
        let later = Look { is_boot: false, ..look(&["a", "b"], &["a"]) };
        assert_eq!(wishes.see(later).await.unwrap(), nodes(&["a"]));
        assert!(!wishes.are_unknown().await.unwrap());
    }

    #[tokio::test]
    async fn what_a_call_works_on_and_what_cannot_be_read_stays() {
        let folder = tempfile::tempdir().unwrap();
        let wishes = Wishes::new(folder.path());
        wishes.see(look(&["a"], &[])).await.unwrap();
        let mut partly = look(&[], &[]);
        partly.is_whole = false;
        assert_eq!(wishes.see(partly).await.unwrap(), nodes(&["a"]));
        let skipped = BTreeSet::from([node("a").target, node("b").target]);
        let claimed = Look { skipped, ..look(&["b"], &["b"]) };
        assert_eq!(
            wishes.see(claimed).await.unwrap(),
            nodes(&["a"]),
            "b is being logged out of, or is not up yet"
        );
    }
}
