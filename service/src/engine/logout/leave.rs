//! Has iscsid end the sessions. The kernel decides, not the exit code.

use std::time::Duration;

use iscsi_initiator_dbus::{
    Fault, Kind,
    fault::Result,
    results::{self, LogoutOutcome},
};
use tokio::task::JoinSet;

use super::together::{self, Together, gone_of};
use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        kernel::{stale_sessions::askers::Act, sysfs::Session},
        open_iscsi::{
            iscsiadm::{Iscsiadm, ProgramError, Refused},
            iscsid::Iscsid,
        },
    },
    engine::{
        Engine,
        leftovers::stale_sessions::{self, Reach},
        state::watch::{Predicate, Watch},
        turns::programs::Programs,
    },
};

/// How long to wait for a session that iscsid is reconnecting.
const RECONNECT: Duration = Duration::from_secs(5);

/// What became of a session.
pub(super) struct Left {
    pub(super) sid: u32,
    pub(super) entry: results::Logout,
    /// Whether it is there, and iscsid may still end it.
    pub(super) goes_on: bool,
}

/// Ends the sessions in parallel, so many at a time.
pub(super) async fn leave(
    engine: &Engine,
    iscsiadm: &Iscsiadm,
    sessions: &[Session],
    limit: &Limit,
) -> Result<Vec<Left>> {
    let late = || limit.fault("timed out waiting for iscsid to be restarted").hint("try again");
    let in_use = limit.wait(engine.turns.acts.iscsid.read()).await.ok_or_else(late)?;
    let share = engine.turns.acts.leaving.share(sessions.len(), limit);
    let Together { mut done, mut early, gone } =
        together::log_out(engine, iscsiadm, sessions, &share, limit).await;
    let mut leaving = JoinSet::new();
    let alone: Vec<&Session> = sessions.iter().filter(|session| !done.contains_key(&session.sid)).collect();
    // To find iscsid, every process is looked at.
    let takeover = match alone.is_empty() {
        true => Duration::ZERO,
        false => {
            let proc = engine.layout.proc.clone();
            reading(move || Iscsid::takeover(&proc)).await.unwrap_or_default()
        }
    };
    for session in alone {
        let logout = Logout {
            iscsiadm: iscsiadm.clone(),
            programs: engine.turns.programs.clone(),
            session: session.clone(),
            limit: limit.clone(),
            last: early.remove(&session.sid).map(Err),
        };
        let (watch, session, limit) = (engine.state.watch.clone(), session.clone(), limit.clone());
        let share = share.clone();
        leaving.spawn(async move {
            let Ok(_place) = share.place(&limit).await else { return (session, None) };
            // A restarted iscsid reconnects its sessions first.
            let again = limit.at_most(takeover.max(RECONNECT));
            (session, Some(log_out(&watch, logout, &again).await))
        });
    }
    let mut left = leaving.join_all().await;
    let told = |session: &Session| Some((session.clone(), Some(done.remove(&session.sid)?)));
    left.extend(sessions.iter().filter_map(told));
    drop(in_use);
    let is_refused = left.iter().any(|(_, done)| matches!(done, Some(Err(Refused::Code(_)))));
    if is_refused {
        // iscsid may have died during the logout.
        stale_sessions::remove(engine, Reach::Restart, limit).await;
    }
    let gone = match gone {
        Some(gone) => gone,
        None => {
            let (sysfs, sids) = (engine.state.sysfs.clone(), sessions.iter().map(|s| s.sid).collect());
            reading(move || gone_of(&sysfs, sids)).await?
        }
    };
    let entry = |(session, done): (Session, Option<std::result::Result<(), Refused>>)| {
        let may_go_on = matches!(&done, Some(Err(refused)) if refused.may_go_on());
        let fault = match done {
            _ if gone.contains(&session.sid) => None,
            None | Some(Err(Refused::Program(ProgramError::NoTime(_)))) => {
                Some(limit.fault("timed out before its turn to be logged out of"))
            }
            Some(Ok(())) => {
                Some(Fault::new(Kind::Failed, "iscsid reported success, but the session is still there"))
            }
            Some(Err(refused)) => Some(refused.into()),
        };
        let portal = session.portal_text();
        let goes_on = fault.is_some() && may_go_on;
        let entry = match fault {
            None => results::Logout::done(&session.target, &portal, LogoutOutcome::LoggedOut),
            Some(fault) => results::Logout::failed(&session.target, &portal, &fault),
        };
        Left { sid: session.sid, entry, goes_on }
    };
    Ok(left.into_iter().map(entry).collect())
}

/// Asks until iscsid has the session, or it is too late.
async fn log_out(watch: &Watch, mut logout: Logout, again: &Limit) -> std::result::Result<(), Refused> {
    match watch.until(&mut logout, again).await {
        Ok(Some(done)) => done,
        // The look itself does not fail.
        Ok(None) | Err(_) => logout.last.unwrap_or(Ok(())),
    }
}

/// iscsid has the session, so its answer counts.
struct Logout {
    iscsiadm: Iscsiadm,
    programs: Programs,
    session: Session,
    limit: Limit,
    /// An answer that came too early.
    last: Option<std::result::Result<(), Refused>>,
}

impl Predicate for Logout {
    type Is = std::result::Result<(), Refused>;

    async fn look(&mut self) -> Result<Option<Self::Is>> {
        let running = self.programs.running(Act::Logout, &self.session.target);
        let done = self.iscsiadm.logout(self.session.sid, running, &self.limit).await;
        let is_late = matches!(done, Err(Refused::Program(ProgramError::NoTime(_))));
        if is_late && self.last.is_some() {
            // What it was told before says more.
            return Ok(None);
        }
        if !done.as_ref().is_err_and(Refused::is_too_early) {
            return Ok(Some(done));
        }
        self.last = Some(done);
        Ok(None)
    }
}
