//! A session that is there already, also where it was made under another name of the portal, or is
//! none of this node's record.
//! Must not make one.

use std::time::Duration;

use iscsi_initiator_dbus::{Portal, fault::Result, results::LoginOutcome};

use super::answer::Done;
use crate::{
    backend::{
        host::limit::Limit,
        kernel::sysfs::{Scope, Session},
        open_iscsi::database::NodeKey,
    },
    engine::{
        Engine,
        state::{snapshot::Snapshot, watch::Predicate},
    },
};

/// How long the kernel may take to show a session that iscsid says is there: it may be at its login.
const APPEARS: Duration = Duration::from_secs(5);
/// How many sessions a message names.
const SHOWN: usize = 4;

/// The session of a node: under its own portal, or under a name of it. iscsiadm resolves names to
/// compare them, goes by the first address of each (usr/iscsi_util.c, `iscsi_addr_match`), and makes
/// no second session.
pub(super) async fn session(engine: &Engine, now: &Snapshot, node: &NodeKey, limit: &Limit) -> Option<u32> {
    if let Some(session) = now.session_of(node) {
        return Some(session.sid);
    }
    let is_near = |session: &&Session| {
        session.target == node.target.as_str()
            && session.iface == node.iface
            && session.portal.as_ref().is_some_and(|portal| portal.port() == node.portal.port())
    };
    let limit = limit.at_most(limit.left() / 4);
    for session in now.sessions().filter(is_near) {
        let Some(portal) = &session.portal else { continue };
        if portal.address().is_some() && node.portal.address().is_some() {
            continue;
        }
        let (ours, theirs) =
            (address(engine, &node.portal, &limit).await, address(engine, portal, &limit).await);
        if ours.is_some() && ours == theirs {
            return Some(session.sid);
        }
    }
    None
}

async fn address(engine: &Engine, portal: &Portal, limit: &Limit) -> Option<Portal> {
    engine.resolver.portals(portal, limit).await.ok()?.into_iter().next()
}

/// iscsid says that there is a session, and the kernel shows none of this node's: it is looked for.
pub(super) async fn was_there(engine: &Engine, node: &NodeKey, limit: &Limit) -> Result<Done> {
    let mut found = Found { engine, node, limit, others: Vec::new() };
    if let Some(sid) = engine.state.watch.until(&mut found, &limit.at_most(APPEARS)).await? {
        return Ok(Done::already(sid));
    }
    let others = match found.others.as_slice() {
        [] => String::new(),
        others => format!("; the target's sessions are {}", others.join(", ")),
    };
    let remark = format!(
        "iscsid already has a session there, which the kernel does not show: another program is logging in \
         there or out of it (iscsiadm exit code 15){others}"
    );
    Ok(Done { remark, ..Done::new(LoginOutcome::AlreadyLoggedIn) })
}

/// A session of the target at this portal, whatever its iface.
struct Found<'a> {
    engine: &'a Engine,
    node: &'a NodeKey,
    limit: &'a Limit,
    /// Those elsewhere, for a message.
    others: Vec<String>,
}

impl Predicate for Found<'_> {
    type Is = u32;

    async fn look(&mut self) -> Result<Option<u32>> {
        let now = self.engine.state.sessions(Scope::of([&self.node.target])).await?;
        if let Some(sid) = session(self.engine, &now, self.node, self.limit).await {
            return Ok(Some(sid));
        }
        let at = std::slice::from_ref(&self.node.portal);
        if let Some(session) = now.sessions_of(&self.node.target, Some(at)).first() {
            return Ok(Some(session.sid));
        }
        let others = now.sessions_of(&self.node.target, None);
        let shown = |session: &Session| format!("{} ({})", session.sid, session.portal_text());
        self.others = others.iter().take(SHOWN).map(shown).collect();
        Ok(None)
    }
}
