//! Sessions that iscsid was killed over are taken away, so that an act begins and ends with whole ones.
//! It may not fail the act that it is done for, nor take one away that its maker may still finish.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::OwnedRwLockWriteGuard,
    time::{Instant, timeout_at},
};

use super::{Engine, blocking};
use crate::backend::{
    kernel::{
        stale_sessions::{Abandoned, Found},
        sysfs::Remains,
    },
    systemd::{Job, Systemd},
};

const ISCSID: &str = "iscsid.service";

/// With an iscsid that runs, only what is found twice is taken away: nothing of it is seen half-done for so long, but a
/// logout, and that has an iscsiadm waiting for it.
const TWICE: Duration = Duration::from_secs(1);

/// How far it may go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// What no iscsid holds.
    Remove,
    /// Also what one holds that runs: it is restarted then.
    Restart,
}

impl Engine {
    /// Removes what iscsid, if it was killed, has left half-made or half-ended. Costs a look at sysfs if there is none.
    pub(super) async fn remove_abandoned(&self, reach: Reach, deadline: Instant) {
        if self.find_abandoned().await.sessions.is_empty() {
            return;
        }
        if timeout_at(deadline, self.remove_found(reach)).await.is_err() {
            tracing::warn!("abandoned sessions could not be removed within the deadline");
        }
    }

    async fn remove_found(&self, reach: Reach) {
        // Those who come together need not do it twice.
        let turn = Arc::clone(&self.removing).lock_owned().await;
        let mut found = self.find_abandoned().await;
        if found.has_iscsid {
            tokio::time::sleep(TWICE).await;
            let again = self.find_abandoned().await;
            found.sessions.retain(|session| again.sessions.contains(session));
        }
        // iscsid would take one that it holds for a session that is up, for ever, and refuse to log in beside it.
        let may_be_held = found.sessions.iter().any(|session| session.is_being_ended);
        let alone = match reach {
            Reach::Restart if may_be_held => Arc::clone(&self.iscsid_in_use).try_write_owned().ok(),
            _ => None,
        };
        if found.has_iscsid && alone.is_none() {
            found.sessions.retain(|session| !session.is_being_ended);
        }
        let (abandoned, systemd) = (self.abandoned.clone(), self.systemd.clone());
        let at_work = self.activity.begin();
        // Once begun it is brought to its end, whoever waits for it.
        let task = tokio::spawn(async move {
            remove(&abandoned, &systemd, found.sessions, alone).await;
            drop((turn, at_work));
        });
        // It cannot panic; were it cancelled, the runtime would be going down.
        let _ = task.await;
    }

    async fn find_abandoned(&self) -> Found {
        let abandoned = self.abandoned.clone();
        blocking(move || abandoned.find()).await.unwrap_or_default()
    }
}

/// Removes them; with the right to, restarts an iscsid that would go on with one.
async fn remove(
    abandoned: &Abandoned,
    systemd: &Systemd,
    sessions: Vec<Remains>,
    alone: Option<OwnedRwLockWriteGuard<()>>,
) {
    let mut may_be_held = false;
    for session in sessions {
        let abandoned = abandoned.clone();
        match blocking(move || abandoned.remove(&session)).await {
            Ok(Ok(())) => {
                tracing::warn!(sid = session.sid, "iscsid was killed over this session: removed");
                may_be_held |= session.is_being_ended;
            }
            Ok(Err(error)) => tracing::warn!(sid = session.sid, %error, "an abandoned session stays"),
            Err(_) => {}
        }
    }
    if !may_be_held || alone.is_none() {
        return;
    }
    let abandoned = abandoned.clone();
    // Asked afterwards: one that is started now does not see what is gone.
    if blocking(move || abandoned.has_iscsid()).await.unwrap_or(true) {
        tracing::warn!("iscsid holds a session that is no more: it is restarted");
        if let Err(fault) = systemd.job(Job::Restart, ISCSID).await {
            tracing::warn!(error = fault.message(), "iscsid could not be restarted");
        }
    }
}
