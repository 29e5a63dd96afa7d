//! Logouts: nothing may use the disks, then the maps go, then the sessions.
//! It may not tear down anything before everything was found unused.

mod boot;
mod flush;
mod gone;
mod maps;
mod plan;
mod unused;

use std::{collections::BTreeSet, time::Duration};

use iscsi_initiator_dbus::{
    Fault, Kind,
    fault::Result,
    options::LogoutOptions,
    results::{self, LogoutOutcome},
};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout_at},
};

use self::plan::Plan;
use super::{
    Engine, blocking, deadline, log_act, no_such_node, require, resolved, stale_sessions::Reach, target_of,
};
use crate::backend::{
    kernel::{
        sysfs::{Map, Session},
        uevents::Events,
        usage::Claims,
    },
    open_iscsi::{
        iscsiadm,
        iscsid::{self, Iscsid},
    },
};

/// How long a device may stay open before that counts as a use of it.
const GLANCE: Duration = Duration::from_secs(4);

/// How long a session that iscsid is just connecting again is waited for.
const RECONNECT: Duration = Duration::from_secs(5);

/// Between two looks.
const AGAIN: Duration = Duration::from_millis(200);

impl Engine {
    /// Leaves the granted portal or all: an entry for each session that was up and each recorded portal.
    pub(crate) async fn logout(
        &self,
        grant: &Grant,
        options: &LogoutOptions,
    ) -> Result<Vec<results::Logout>> {
        require(grant, if options.force { Action::LogoutInUse } else { Action::Logout })?;
        let result = self.log_out(grant, options).await;
        log_act(grant, &result);
        result
    }

    async fn log_out(&self, grant: &Grant, options: &LogoutOptions) -> Result<Vec<results::Logout>> {
        let target = target_of(grant)?;
        let deadline = deadline(options.timeout);
        let _claim = self.busy.claim(&target)?;
        let portals = resolved(grant.portal(), deadline).await?;
        self.remove_abandoned(Reach::Restart, deadline).await;
        let mut sessions = self.sessions().await?;
        sessions.retain(|session| session.matches(&target, portals.as_deref()));
        let nodes = self.nodes_of(&target, portals.as_deref()).await?;
        if sessions.is_empty() && nodes.is_empty() {
            // Without open-iscsi there are no nodes: that is the reason, then.
            self.iscsiadm()?;
            return Err(no_such_node(&target, grant.portal()));
        }
        let mut answer: Vec<results::Logout> = nodes
            .iter()
            .filter(|node| !sessions.iter().any(|session| session.is_of(&node.key)))
            .map(|node| {
                results::Logout::done(
                    target.as_str(),
                    &node.key.portal.to_string(),
                    LogoutOutcome::NotLoggedIn,
                )
            })
            .collect();
        if !sessions.is_empty() {
            answer.extend(self.end_sessions(&sessions, options.force, deadline).await?);
        }
        Self::answer_logout(answer)
    }

    /// Proves that nothing uses the disks, writes back what is in memory, removes the maps, and ends the sessions, with
    /// which the kernel removes the disks; then waits until nothing is left of them. An entry each.
    pub(super) async fn end_sessions(
        &self,
        sessions: &[Session],
        force: bool,
        deadline: Instant,
    ) -> Result<Vec<results::Logout>> {
        let iscsiadm = self.iscsiadm()?;
        iscsid::check_reachable(&self.layout.proc)?;
        self.check_boot(sessions).await?;
        let late = |_| Fault::new(Kind::TimedOut, "another logout is still at work").hint("try again");
        let _turn = timeout_at(deadline, self.leaving.lock()).await.map_err(late)?;
        let (plan, claims) = if force {
            let plan = self.plan(sessions).await?;
            self.log_overridden(&plan).await?;
            (plan, Claims::default())
        } else {
            let (plan, claims) = self.unused(sessions, deadline).await?;
            self.flush(&plan, deadline).await?;
            (plan, claims)
        };
        // Without events the looks alone find out.
        let events = Events::subscribe().ok();
        let removed = self.remove_maps(&plan, force, deadline).await?;
        let mut left = self.leave(&iscsiadm, sessions, deadline).await?;
        // Until here nobody could begin to use a bare disk.
        drop(claims);
        if left.iter().any(|entry| entry.outcome == LogoutOutcome::Failed) {
            self.stand_by(&mut left, &plan, &removed).await?;
        } else if removed == plan.maps {
            self.tell_what_is_left(&mut left, &plan, events.as_ref(), deadline).await?;
        }
        // A map that something keeps open outlives its sessions: the answer need not wait for it.
        let kept = plan.maps.difference(&removed).cloned().collect();
        tokio::spawn(maps::let_go(self.multipathd.clone(), kept));
        Ok(left)
    }

    /// Where a logout stands whose last step failed: the maps and paths of the sessions that stay come back.
    async fn stand_by(
        &self,
        entries: &mut [results::Logout],
        plan: &Plan,
        removed: &BTreeSet<Map>,
    ) -> Result<()> {
        // What comes after the deadline may still end the session: a map made now would be left without a path.
        let is_over = !entries.iter().any(|entry| entry.error == Kind::TimedOut.name());
        self.restore_maps(plan, if is_over { removed.clone() } else { BTreeSet::new() }).await?;
        let names = removed.iter().map(|map| map.name.as_str()).collect::<Vec<_>>().join(", ");
        let again = if is_over { " and is made again" } else { "; iscsid goes on with it" };
        for entry in entries.iter_mut().filter(|entry| entry.outcome == LogoutOutcome::Failed) {
            if !names.is_empty() {
                entry.message = format!("{}; before, {names} was removed{again}", entry.message);
            }
        }
        Ok(())
    }

    /// Waits until what has left is gone, and says so if something is not.
    async fn tell_what_is_left(
        &self,
        entries: &mut [results::Logout],
        plan: &Plan,
        events: Option<&Events>,
        deadline: Instant,
    ) -> Result<()> {
        let left = self.gone(plan, events, deadline).await?;
        if !left.is_empty() {
            let what =
                format!("still there: {}", left.iter().take(8).cloned().collect::<Vec<_>>().join(", "));
            tracing::warn!(left = ?left, "the sessions have ended, but not all of it is gone");
            entries.iter_mut().for_each(|entry| entry.message.clone_from(&what));
        }
        Ok(())
    }

    /// Ends the sessions side by side; the kernel decides, not the exit code.
    async fn leave(
        &self,
        iscsiadm: &std::path::Path,
        sessions: &[Session],
        deadline: Instant,
    ) -> Result<Vec<results::Logout>> {
        let late =
            |_| Fault::new(Kind::TimedOut, "iscsid was being restarted until the deadline").hint("try again");
        let in_use = timeout_at(deadline, self.iscsid_in_use.read()).await.map_err(late)?;
        let mut leaving = JoinSet::new();
        let proc = self.layout.proc.clone();
        let takeover = blocking(move || Iscsid::takeover(&proc)).await?;
        // iscsid, started anew, connects its sessions again first.
        let last = deadline.min(Instant::now() + takeover.max(RECONNECT));
        for session in sessions {
            let (iscsiadm, session) = (iscsiadm.to_owned(), session.clone());
            leaving.spawn(async move {
                loop {
                    let done = iscsiadm::logout(&iscsiadm, session.sid, deadline).await;
                    let is_too_early = done.as_ref().is_err_and(iscsiadm::Refused::is_too_early);
                    if !is_too_early || Instant::now() + AGAIN >= last {
                        return (session, done);
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            });
        }
        let left = leaving.join_all().await;
        drop(in_use);
        if left.iter().any(|(_, done)| matches!(done, Err(iscsiadm::Refused::Code(_)))) {
            // iscsid may have died over it.
            self.remove_abandoned(Reach::Restart, deadline).await;
        }
        let (sysfs, sids) = (self.sysfs.clone(), sessions.iter().map(|s| s.sid).collect::<Vec<_>>());
        let gone: BTreeSet<u32> =
            blocking(move || sids.into_iter().filter(|sid| sysfs.has_session(*sid) == Some(false)).collect())
                .await?;
        let entry = |(session, done): (Session, std::result::Result<(), iscsiadm::Refused>)| {
            let fault = match done {
                _ if gone.contains(&session.sid) => None,
                Ok(()) => {
                    Some(Fault::new(Kind::Failed, "iscsid reported success, but the session is still there"))
                }
                Err(refused) => Some(refused.into()),
            };
            let portal = session.portal_text();
            match fault {
                None => results::Logout::done(&session.target, &portal, LogoutOutcome::LoggedOut),
                Some(fault) => results::Logout::failed(&session.target, &portal, &fault),
            }
        };
        Ok(left.into_iter().map(entry).collect())
    }

    /// The entries in the order of the portals; or the most telling reason if none is as asked.
    fn answer_logout(mut answer: Vec<results::Logout>) -> Result<Vec<results::Logout>> {
        answer.sort_by(|a, b| a.portal.cmp(&b.portal));
        if answer.iter().any(|entry| entry.outcome != LogoutOutcome::Failed) {
            return Ok(answer);
        }
        let first =
            answer.into_iter().filter_map(|e| Some((e.error.parse::<Kind>().ok()?, e.message, e.hint)));
        Err(first.min_by_key(|(kind, ..)| kind.rank()).map_or_else(
            || Fault::new(Kind::NotLoggedIn, "there is no session"),
            |(kind, message, hint)| Fault::new(kind, message).hint(hint),
        ))
    }
}
