//! The entries of a login, read from the system again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind,
    fault::Result,
    hint,
    results::{self, LoginOutcome, Problem},
};

use super::{
    lost::{self, Word},
    settle::Settled,
};
use crate::{
    backend::{
        kernel::sysfs::{Scope, Session},
        open_iscsi::database::{NodeKey, backup::RecordsBackup},
    },
    engine::{
        Engine,
        records::lookup::no_such_node,
        state::{
            snapshot::Snapshot,
            troubles::{self, Trouble, Troubles},
        },
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
    /// What the portal says, if the session had lost its connection and the portal was asked.
    pub(super) word: Option<Word>,
    /// The session, where it is not under the node's own portal and iface.
    pub(super) sid: Option<u32>,
    /// Its record as it was, if the login has stored another digest in it.
    pub(super) adopted: Option<RecordsBackup>,
}

impl Done {
    pub(super) fn new(outcome: LoginOutcome) -> Self {
        Self { outcome, remark: String::new(), word: None, sid: None, adopted: None }
    }

    /// This session was there before.
    pub(super) fn already(sid: u32) -> Self {
        Self { sid: Some(sid), ..Self::new(LoginOutcome::AlreadyLoggedIn) }
    }

    /// The sessions of the node as they are now.
    pub(super) fn sessions<'a>(&self, now: &'a Snapshot, node: &NodeKey) -> Vec<&'a Session> {
        let own: Vec<&Session> = now.all_sessions_of(node).collect();
        match self.sid {
            Some(sid) if own.is_empty() => now.session(sid).into_iter().collect(),
            _ => own,
        }
    }

    /// Whether its portal does not accept the session that it had: then there is nothing to wait
    /// for.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.word, Some(Word::Refuses(_)))
    }
}

/// An entry for each node, or the most specific reason if every one failed. `now` is a look at the target
/// after all that was done; after a wait, with what its disks are shared with.
pub(super) async fn answer(
    engine: &Engine,
    target: &Iqn,
    outcomes: BTreeMap<NodeKey, Outcome>,
    settled: Settled,
    unscanned: &BTreeSet<NodeKey>,
    now: Option<Arc<Snapshot>>,
) -> Result<Vec<results::Login>> {
    if outcomes.values().all(Result::is_err) {
        let faults = outcomes.into_values().filter_map(Result::err);
        return Err(faults
            .min_by_key(|fault| fault.kind().rank())
            .unwrap_or_else(|| no_such_node(target, None)));
    }
    let scope = Scope::of([target]);
    let (now, troubles) = match (settled, now) {
        // Without a wait the disks are still to come.
        (Settled::Unasked, Some(now)) => (now, Troubles::default()),
        (Settled::Unasked, None) => (Arc::new(engine.state.sessions(scope).await?), Troubles::default()),
        (_, now) => {
            let now = match now {
                Some(now) => now,
                None => Arc::new(engine.state.sessions_around(scope).await?),
            };
            let troubles = troubles::look(engine, now.all_sessions()).await?;
            (now, troubles)
        }
    };
    let mut entries = Vec::new();
    for (key, outcome) in outcomes {
        let done = match outcome {
            Err(fault) => {
                entries.push(results::Login::failed(target.as_str(), &key.portal.to_string(), &fault));
                continue;
            }
            Ok(done) => done,
        };
        let sessions = done.sessions(&now, &key);
        if sessions.is_empty() {
            entries.push(without_session(&key, &done));
        }
        let seen = Seen { settled, is_unscanned: unscanned.contains(&key), troubles: &troubles };
        entries.extend(sessions.into_iter().map(|session| entry(&key, &done, session, seen)));
    }
    Ok(entries)
}

/// What was seen besides the sessions.
#[derive(Clone, Copy)]
struct Seen<'a> {
    settled: Settled,
    is_unscanned: bool,
    troubles: &'a Troubles,
}

fn without_session(key: &NodeKey, done: &Done) -> results::Login {
    let (target, portal) = (key.target.as_str(), key.portal.to_string());
    if done.outcome == LoginOutcome::AlreadyLoggedIn && !done.remark.is_empty() {
        let mut entry = results::Login::new(target, portal, done.outcome);
        entry.message.clone_from(&done.remark);
        entry.hint = hint!("see the target's sessions: iscsictl paths {TARGET}", TARGET = target);
        return entry;
    }
    let gone = Fault::new(Kind::Failed, "the session ended right after the login").hint(hint!(
        "find the cause: iscsictl diagnose {TARGET} {PORTAL}",
        TARGET = target,
        PORTAL = portal
    ));
    results::Login::failed(target, &portal, &gone)
}

fn entry(key: &NodeKey, done: &Done, session: &Session, seen: Seen<'_>) -> results::Login {
    let (target, portal) = (key.target.as_str(), key.portal.to_string());
    let Seen { settled, is_unscanned, troubles } = seen;
    let disks = session.disks.iter().filter(|disk| !disk.name.is_empty());
    let maps: Vec<String> =
        disks.clone().filter_map(|disk| disk.map.as_ref().map(|map| map.name.clone())).collect();
    // The worst is first.
    let trouble = troubles.of(&session.disks);
    let is_grave = |trouble: &&Trouble| trouble.problem != Problem::NoMap;
    let (mut hint, mut error) = (String::new(), String::new());
    let message = if session.state != "LOGGED_IN" {
        let (message, refused) = lost::report(session, &portal, done.word.as_ref());
        if let Some(fault) = refused {
            error = fault.kind().name().to_owned();
            hint = fault.next_step().to_owned();
        }
        message
    } else if let Some(grave) = trouble.filter(is_grave) {
        hint.clone_from(&grave.hint);
        grave.what.clone()
    } else if is_unscanned && session.disks.is_empty() {
        hint = hint!("scan for them: iscsictl rescan {TARGET} {PORTAL}", TARGET = target, PORTAL = portal);
        "its LUNs were not scanned for: the record leaves that to a person (node.session.scan = manual)"
            .to_owned()
    } else if settled == Settled::Unasked {
        done.remark.clone()
    } else if session.scanned == Some(false) {
        hint = hint!("scan for them: iscsictl rescan {TARGET}", TARGET = target);
        "timed out scanning for its LUNs".to_owned()
    } else if !session.has_disk() {
        hint = hint!(
            "have the gateway's administrator map a LUN to this initiator, then: iscsictl logout {TARGET} \
             && iscsictl login {TARGET}",
            TARGET = target
        );
        NO_LUN.to_owned()
    } else if settled == Settled::Late {
        hint = "see what is there so far: iscsictl paths".to_owned();
        "timed out waiting for the disks or their maps".to_owned()
    } else if settled == Settled::Unmapped && disks.clone().any(|disk| disk.map.is_none()) {
        hint = "see the reason: journalctl -u multipathd".to_owned();
        "multipathd did not make a map of a disk that should have one".to_owned()
    } else if let Some(Trouble { what, hint: next, .. }) = trouble {
        hint.clone_from(next);
        what.clone()
    } else {
        done.remark.clone()
    };
    let mut entry = results::Login::new(target, portal, done.outcome);
    entry.sid = session.sid;
    entry.devices = disks.map(|disk| disk.name.clone()).collect();
    entry.map = maps.first().cloned().unwrap_or_default();
    entry.maps = maps;
    entry.error = error;
    entry.message = message;
    entry.hint = hint;
    entry
}
