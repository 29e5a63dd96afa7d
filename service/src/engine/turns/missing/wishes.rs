//! Which nodes are to have a session in this boot. At the first look after the boot those that are set to log in
//! automatically; after that, those of them that have had a session. A logout through this daemon ends a wish, and the
//! next session of the node, whoever makes it, begins it again.
//!
//! A logout by another program, such as iscsiadm, does not end it: the kernel and iscsid show it in the same way as a
//! session that iscsid has given up, and that one is to come back.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use iscsi_initiator_dbus::{Iqn, fault::Result};

use crate::backend::{host::threads::blocking, open_iscsi::database::NodeKey, wished::WishedFile};

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
    /// The targets that someone works on: what is wished of them stays as it is.
    pub(in crate::engine) skipped: BTreeSet<Iqn>,
    /// Whether every record was read.
    pub(in crate::engine) is_whole: bool,
}

impl Wishes {
    pub(in crate::engine) fn new(run: &Path) -> Self {
        let file = WishedFile::new(run);
        file.recover();
        Self { file, changing: Arc::default() }
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
            Ok(now)
        })
        .await?
    }

    /// Those of these nodes that are still wished for.
    pub(in crate::engine) async fn still(&self, mut nodes: BTreeSet<NodeKey>) -> Result<BTreeSet<NodeKey>> {
        let wishes = self.clone();
        let known = blocking(move || wishes.file.read()).await?;
        if let Some(known) = known {
            nodes.retain(|node| known.contains(node));
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
            let now: BTreeSet<NodeKey> = before.difference(&nodes).cloned().collect();
            if now == before { Ok(()) } else { wishes.file.write(&now) }
        })
        .await?
    }
}

/// The wishes after a look; `before` is `None` at the first one since the boot.
fn after(before: Option<&BTreeSet<NodeKey>>, look: Look) -> BTreeSet<NodeKey> {
    let Look { automatic, up, skipped, is_whole } = look;
    let Some(before) = before else { return automatic };
    let is_free = |node: &&NodeKey| !skipped.contains(&node.target);
    let stays = |node: &&NodeKey| !is_whole || !is_free(node) || automatic.contains(*node);
    let kept = before.iter().filter(stays);
    kept.chain(up.iter().filter(is_free)).cloned().collect()
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
        Look { automatic: nodes(automatic), up: nodes(up), skipped: BTreeSet::new(), is_whole: true }
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
        assert_eq!(
            wishes.see(look(&["a", "b", "c"], &[])).await.unwrap(),
            nodes(&["a"]),
            "a has gone by itself"
        );
        assert_eq!(wishes.see(look(&["a", "b", "c"], &["c"])).await.unwrap(), nodes(&["a", "c"]));
        assert_eq!(wishes.see(look(&["b", "c"], &[])).await.unwrap(), nodes(&["c"]), "a is manual, or gone");
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
