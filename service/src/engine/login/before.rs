//! What a login begins with, read in one go: the target's records and sessions, and what of this machine it depends on.
//! Must not change anything but what a killed iscsid left half made.

use std::{collections::BTreeMap, sync::Arc};

use iscsi_initiator_dbus::{Iqn, fault::Result};

use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        kernel::sysfs::{Map, Scope, Session},
        open_iscsi::{
            database::{Node, NodeKey, for_login::ForLogin},
            initiator_name, iscsid,
            known_luns::Wwids,
        },
    },
    engine::{
        Engine,
        leftovers::stale_sessions::{self, Reach},
        state::snapshot::Snapshot,
    },
};

/// A target before a login.
pub(super) struct Before {
    pub(super) nodes: Vec<Node>,
    /// What a login needs of each record that can be used.
    pub(super) records: BTreeMap<NodeKey, ForLogin>,
    /// Whether records are as a login before has left them, which could not restore them.
    pub(super) has_debts: bool,
    /// The target's sessions; if the login waits, with what their disks are shared with.
    pub(super) sessions: Arc<Snapshot>,
    /// What is known of its LUNs.
    pub(super) known_luns: Result<Wwids>,
    /// The maps without a path, if one may be the target's.
    pub(super) pathless: Vec<Map>,
    /// What a login at a node without a session needs.
    pub(super) needs: Option<Needs>,
}

/// What of this machine a login needs.
pub(super) struct Needs {
    /// Whether root listens on iscsid's socket.
    pub(super) iscsid: Result<()>,
    /// The machine's name, which a record may have its own instead of.
    pub(super) initiator: Result<Iqn>,
}

impl Needs {
    /// Looked at now.
    pub(super) async fn look(engine: &Engine) -> Result<Self> {
        let (socket, config) = (iscsid::Socket::new(&engine.layout), engine.layout.config.clone());
        reading(move || Self::look_now(&socket, &config)).await
    }

    fn look_now(socket: &iscsid::Socket, config: &std::path::Path) -> Self {
        let iscsid = socket.check_now();
        Self { iscsid, initiator: initiator_name::look(config).and_then(|file| file.name()) }
    }
}

/// Looks at the target, without what a killed iscsid left half made. `waits` says whether the login waits for disks.
pub(super) async fn look(engine: &Engine, target: &Iqn, waits: bool, limit: &Limit) -> Result<Before> {
    let (before, has_stale) = read(engine, target, waits).await?;
    if has_stale && stale_sessions::remove(engine, Reach::Restart, limit).await {
        return Ok(read(engine, target, waits).await?.0);
    }
    Ok(before)
}

/// Reads it, and whether there is a stale session.
async fn read(engine: &Engine, target: &Iqn, waits: bool) -> Result<(Before, bool)> {
    let (database, journal, known_luns) =
        (engine.database.clone(), engine.journal.clone(), engine.known_luns.clone());
    let (sysfs, stale_sessions) = (engine.state.sysfs.clone(), engine.stale_sessions.clone());
    let (socket, config) = (iscsid::Socket::new(&engine.layout), engine.layout.config.clone());
    let (state, target) = (engine.state.clone(), target.clone());
    let reading = reading(move || {
        let recorded = database.records_for_login(&target)?;
        state.report(recorded.left_out.as_deref());
        let (nodes, records) = (recorded.nodes, recorded.for_login);
        let (sessions, all) = sysfs.sessions_and_numbers(&Scope::of([&target]), waits);
        let sessions = Snapshot::of_sessions(sessions);
        // What has disks is not half made.
        let is_whole = |session: &Session| session.state == "LOGGED_IN" && !session.disks.is_empty();
        let are_whole = nodes.iter().all(|node| sessions.session_of(&node.key).is_some_and(is_whole));
        let has_stale = !are_whole && stale_sessions.are_among(&all);
        let are_up = nodes.iter().all(|node| sessions.session_of(&node.key).is_some());
        let known_luns = known_luns.of(&target);
        let is_its = |session: &Arc<Session>| session.target == target.as_str();
        // Their paths come back to those that something has open. With a session there is none, and a map is a target's
        // by what is known of its LUNs.
        let may_have_left = !sessions.all_sessions().iter().any(is_its)
            && known_luns.as_ref().map_or(true, |known| !known.is_empty());
        let before = Before {
            // Of an attempt before. If that is not known, it is found out when the records are changed.
            has_debts: !are_up && journal.has_login_retries().unwrap_or(true),
            needs: (!are_up).then(|| Needs::look_now(&socket, &config)),
            pathless: if may_have_left { sysfs.pathless_maps() } else { Vec::new() },
            sessions: Arc::new(sessions),
            known_luns,
            nodes,
            records,
        };
        Ok((before, has_stale))
    });
    reading.await?
}
