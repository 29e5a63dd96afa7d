//! Removes sessions that a killed iscsid left behind, so that an operation starts and ends with
//! complete ones. Never fails the operation that it is done for, and never removes a session that
//! its maker may still finish.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::OwnedRwLockWriteGuard,
    time::{Instant, sleep},
};

use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{blocking, reading},
        },
        kernel::{
            stale_sessions::{Found, StaleSessions},
            sysfs::{Left, StaleSession},
        },
        systemd::{Job, Systemd},
    },
    engine::Engine,
};

const ISCSID: &str = "iscsid.service";

/// Only a session found twice is removed. Nothing of iscsid's stays half done for so long except a
/// logout, and that has an iscsiadm waiting for it; nor does anything of another program's.
const TWICE: Duration = Duration::from_secs(1);

/// An iscsid that has been restarted may still log in to a session that never was: it tries at once, and
/// again 3 s later (`ISCSI_CONN_ERR_REOPEN_DELAY`, usr/initiator.c).
const TAKEOVER: Duration = Duration::from_secs(5);

/// How far a removal may go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Reach {
    /// Only sessions that no iscsid holds.
    Remove,
    /// Also one that a running iscsid holds, which is then restarted.
    Restart,
}

/// Whether a killed iscsid left any. This costs one look at sysfs.
pub(in crate::engine) async fn are_any(engine: &Engine) -> bool {
    !find(&engine.stale_sessions).await.sessions.is_empty()
}

/// Removes what a killed iscsid left half made or half ended. If there is none, this costs one look
/// at sysfs. Returns whether there was any.
pub(in crate::engine) async fn remove(engine: &Engine, reach: Reach, limit: &Limit) -> bool {
    if find(&engine.stale_sessions).await.sessions.is_empty() {
        return false;
    }
    if limit.wait(remove_in_turn(engine, reach)).await.is_none() {
        tracing::warn!("timed out removing stale sessions");
    }
    true
}

async fn remove_in_turn(engine: &Engine, reach: Reach) {
    // Calls that arrive together need not do it twice.
    let turn = Arc::clone(&engine.turns.acts.stale_sessions).lock_owned().await;
    let mut found = find(&engine.stale_sessions).await;
    let since = Instant::now();
    loop {
        let may_come_up = |session: &StaleSession| session.left == Left::NeverLoggedIn;
        let is_taken_over = found.has_iscsid && found.sessions.iter().any(may_come_up);
        let patience = if is_taken_over { TAKEOVER } else { TWICE };
        if found.sessions.is_empty() || since.elapsed() >= patience {
            break;
        }
        sleep(TWICE).await;
        let again = find(&engine.stale_sessions).await;
        found.has_iscsid |= again.has_iscsid;
        found.sessions.retain(|session| again.sessions.contains(session));
    }
    // iscsid would keep treating a session that it holds as its own, and refuse to log in again.
    let may_be_held = found.sessions.iter().any(StaleSession::may_be_held);
    let alone = match reach {
        Reach::Restart if may_be_held => Arc::clone(&engine.turns.acts.iscsid).try_write_owned().ok(),
        _ => None,
    };
    if found.has_iscsid && alone.is_none() {
        found.sessions.retain(|session| !session.may_be_held());
    }
    let (stale_sessions, systemd) = (engine.stale_sessions.clone(), engine.systemd.clone());
    let at_work = engine.turns.activity.begin();
    // Once started it runs to its end, whether a call waits for it or not.
    let task = tokio::spawn(async move {
        remove_all(&stale_sessions, &systemd, found.sessions, alone).await;
        drop((turn, at_work));
    });
    // Cannot panic. If it were cancelled, the runtime would be shutting down.
    let _ = task.await;
}

async fn find(stale_sessions: &StaleSessions) -> Found {
    let stale_sessions = stale_sessions.clone();
    reading(move || stale_sessions.find()).await.unwrap_or_default()
}

/// Removes them. If permitted, restarts an iscsid that would keep one.
async fn remove_all(
    stale_sessions: &StaleSessions,
    systemd: &Systemd,
    sessions: Vec<StaleSession>,
    alone: Option<OwnedRwLockWriteGuard<()>>,
) {
    let mut may_be_held = false;
    for session in sessions {
        let stale_sessions = stale_sessions.clone();
        match blocking(move || stale_sessions.remove(&session)).await {
            Ok(Ok(())) => {
                tracing::warn!(sid = session.sid, "removed a stale session that a killed iscsid left behind");
                may_be_held |= session.may_be_held();
            }
            Ok(Err(error)) => tracing::warn!(sid = session.sid, %error, "cannot remove a stale session"),
            Err(_) => {}
        }
    }
    if !may_be_held || alone.is_none() {
        return;
    }
    let stale_sessions = stale_sessions.clone();
    // Checked afterwards: an iscsid started from now on does not see the removed session.
    if reading(move || stale_sessions.has_iscsid()).await.unwrap_or(true) {
        tracing::warn!("iscsid holds a session that no longer exists: restarting it");
        if let Err(fault) = systemd.job(Job::Restart, ISCSID).await {
            tracing::warn!(error = fault.message(), "cannot restart iscsid");
        }
    }
}
