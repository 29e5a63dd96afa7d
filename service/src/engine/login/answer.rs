//! The entries of a login, read from the system again.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind,
    fault::Result,
    results::{self, LoginOutcome},
    shell::quoted,
};

use super::settle::Settled;
use crate::{
    backend::{kernel::sysfs::Session, open_iscsi::database::NodeKey},
    engine::{
        Engine,
        records::lookup::no_such_node,
        state::{reader::Parts, snapshot::Snapshot},
    },
};

/// The message for a session without a disk. tgt shows a LUN of its own that is not a disk.
pub(in crate::engine) const NO_LUN: &str = "the target offers this initiator no LUN that is a disk";

/// The outcome for one node.
pub(super) type Outcome = Result<Done>;

/// A node that is up.
pub(super) struct Done {
    pub(super) outcome: LoginOutcome,
    /// A message for a login that succeeded.
    pub(super) remark: String,
    /// The session, where it is not under the node's own portal and iface.
    pub(super) sid: Option<u32>,
}

impl Done {
    /// This session was there before.
    pub(super) fn already(sid: u32) -> Self {
        Self { outcome: LoginOutcome::AlreadyLoggedIn, remark: String::new(), sid: Some(sid) }
    }

    /// The session of the node as it is now.
    pub(super) fn session<'a>(&self, now: &'a Snapshot, node: &NodeKey) -> Option<&'a Session> {
        now.session_of(node).or_else(|| now.session(self.sid?))
    }
}

/// An entry for each node, or the most specific reason if every one failed.
pub(super) async fn answer(
    engine: &Engine,
    target: &Iqn,
    outcomes: BTreeMap<NodeKey, Outcome>,
    settled: Settled,
    unscanned: &BTreeSet<NodeKey>,
) -> Result<Vec<results::Login>> {
    if outcomes.values().all(Result::is_err) {
        let faults = outcomes.into_values().filter_map(Result::err);
        return Err(faults
            .min_by_key(|fault| fault.kind().rank())
            .unwrap_or_else(|| no_such_node(target, None)));
    }
    let now = engine.state.look(Parts::SESSIONS).await?;
    let of_node = |(key, outcome): (NodeKey, Outcome)| match outcome {
        Err(fault) => results::Login::failed(target.as_str(), &key.portal.to_string(), &fault),
        Ok(done) => {
            let session = done.session(&now, &key);
            entry(&key, done, session, settled, unscanned.contains(&key))
        }
    };
    Ok(outcomes.into_iter().map(of_node).collect())
}

fn entry(
    key: &NodeKey,
    done: Done,
    session: Option<&Session>,
    settled: Settled,
    is_unscanned: bool,
) -> results::Login {
    let (target, portal) = (key.target.as_str(), key.portal.to_string());
    let name = quoted(target);
    let Some(session) = session else {
        if done.outcome == LoginOutcome::AlreadyLoggedIn && !done.remark.is_empty() {
            let mut entry = results::Login::new(target, portal, done.outcome);
            (entry.message, entry.hint) =
                (done.remark, format!("see the target's sessions: iscsictl paths {}", quoted(target)));
            return entry;
        }
        let gone = Fault::new(Kind::Failed, "the session ended right after the login")
            .hint(format!("find the cause: iscsictl diagnose {name} {}", quoted(&portal)));
        return results::Login::failed(target, &portal, &gone);
    };
    let disks = session.disks.iter().filter(|disk| !disk.name.is_empty());
    let maps: Vec<String> =
        disks.clone().filter_map(|disk| disk.map.as_ref().map(|map| map.name.clone())).collect();
    let mut hint = String::new();
    let message = if session.state != "LOGGED_IN" {
        format!("the session is in state {}: the kernel is trying to reconnect", session.state)
    } else if is_unscanned && session.disks.is_empty() {
        hint = format!("scan for them: iscsictl rescan {} {}", quoted(target), quoted(&portal));
        "its LUNs were not scanned for: the record leaves that to a person (node.session.scan = manual)"
            .to_owned()
    } else if settled == Settled::Unasked {
        done.remark
    } else if session.scanned == Some(false) {
        hint = format!("scan for them: iscsictl rescan {name}");
        "timed out scanning for its LUNs".to_owned()
    } else if !session.has_disk() {
        hint = format!(
            "have the gateway's administrator map a LUN to this initiator, then: iscsictl logout {name} \
             && iscsictl login {name}"
        );
        NO_LUN.to_owned()
    } else if settled == Settled::Late {
        hint = "see what is there so far: iscsictl paths".to_owned();
        "timed out waiting for the disks or their maps".to_owned()
    } else if settled == Settled::Unmapped && disks.clone().any(|disk| disk.map.is_none()) {
        hint = "see the reason: journalctl -u multipathd".to_owned();
        "multipathd did not make a map of a disk that should have one".to_owned()
    } else {
        done.remark
    };
    let mut entry = results::Login::new(target, portal, done.outcome);
    entry.sid = session.sid;
    entry.devices = disks.map(|disk| disk.name.clone()).collect();
    entry.map = maps.first().cloned().unwrap_or_default();
    entry.maps = maps;
    entry.message = message;
    entry.hint = hint;
    entry
}
