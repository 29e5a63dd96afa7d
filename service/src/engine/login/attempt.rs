//! Log in at one node through iscsid, within the caller's time; a session that comes later is taken back.
//!
//! Must not leave the record changed, or a session whose caller was answered that it failed.

use std::{path::Path, sync::Arc, time::Duration};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, results::LogoutOutcome};
use tokio::time::{Instant, timeout_at};

use crate::backend::{
    host::program::{ProgramError, Rest},
    open_iscsi::{
        database::NodeKey,
        iscsiadm::{self, Refused},
        undo::settle,
    },
};
use crate::engine::{Engine, blocking, stale_sessions::Reach, turns::claims::Claim};

/// How long the disks of a login that came late may look used: what has just come is looked at by many.
const TAKE_BACK: Duration = Duration::from_secs(15);

/// Logs in. The claim is on the node's target.
pub(in crate::engine) async fn log_in(
    engine: &Arc<Engine>,
    node: &NodeKey,
    iscsiadm: &Path,
    claim: &Arc<Claim>,
    deadline: Instant,
) -> Result<()> {
    let limit = deadline.saturating_duration_since(Instant::now());
    let shortened = {
        let (journal, database, node) = (engine.journal.clone(), engine.database.clone(), node.clone());
        blocking(move || settle::shorten_login_retries(&journal, &database, &node, limit)).await??
    };
    let login = match timeout_at(deadline, engine.iscsid_in_use.read()).await {
        Ok(_in_use) => Some(iscsiadm::login(iscsiadm, node, deadline).await),
        Err(_) => None,
    };
    if let Some((entry, change)) = shortened {
        // iscsid has its copy since the beginning of the attempt.
        let database = engine.database.clone();
        let restored = blocking(move || settle::undo_login_retries(&database, entry, &change)).await?;
        if let Err(fault) = restored {
            let error = fault.message();
            tracing::warn!(target = %node.target, portal = %node.portal, error, "the record is put back later");
        }
    }
    let login = login.ok_or_else(|| {
        Fault::new(Kind::TimedOut, "iscsid was being restarted until the deadline").hint("try again")
    })?;
    if matches!(login, Err(Refused::Code(_))) {
        // iscsid may have died over it.
        engine.remove_abandoned(Reach::Restart, deadline).await;
    }
    // The kernel decides, not the exit code.
    let sessions = engine.sessions().await?;
    let session = sessions.iter().find(|session| session.is_of(node));
    match (login, session.is_some()) {
        (Ok(()), true) => Ok(()),
        // Logged in; iscsid is still looking for its LUNs.
        (Err(Refused::Program(ProgramError::TimedOut(_))), _)
            if session.is_some_and(|s| s.state == "LOGGED_IN") =>
        {
            Ok(())
        }
        (Err(Refused::Program(ProgramError::TimedOut(rest))), _) => {
            let what = format!("{} let us in, but iscsid did not log in within the deadline", node.portal);
            let (engine, node, claim) = (Arc::clone(engine), node.clone(), Arc::clone(claim));
            // Nobody waits for it, but the daemon may not leave before it is done.
            let at_work = engine.activity.begin();
            tokio::spawn(async move {
                engine.take_back(rest, &node, claim).await;
                drop(at_work);
            });
            Err(Fault::new(Kind::TimedOut, what)
                .hint("journalctl -u iscsid shows what it waits for; try again with a longer timeout"))
        }
        (Err(refused), _) => Err(told(node, refused.into())),
        (Ok(()), false) => Err(Fault::new(Kind::Failed, "iscsid reported success, but there is no session")
            .hint("journalctl -u iscsid has the details")),
    }
}

/// An exit code, with the portal that it is about and where to look: the target has let us in a moment before.
fn told(node: &NodeKey, fault: Fault) -> Fault {
    let message = format!("{}: the target let us in, but iscsid failed: {}", node.portal, fault.message());
    let hint = match fault.next_step() {
        "" => {
            format!("iscsictl diagnose {} {}; journalctl -u iscsid has the details", node.target, node.portal)
        }
        hint => hint.to_owned(),
    };
    Fault::new(fault.kind(), message).hint(hint)
}

impl Engine {
    /// Waits for a login that missed its deadline, and ends the session that it made. Nobody was told of it,
    /// so nobody uses it yet; who does all the same keeps it.
    async fn take_back(&self, rest: Rest, node: &NodeKey, _claim: Arc<Claim>) {
        rest.ended().await;
        let Ok(mut sessions) = self.sessions().await else { return };
        sessions.retain(|session| session.is_of(node));
        if sessions.is_empty() {
            return;
        }
        tracing::warn!(target = %node.target, portal = %node.portal, "a login came after its deadline: it is taken back");
        let last = Instant::now() + TAKE_BACK;
        loop {
            match self.end_sessions(&sessions, false, crate::engine::deadline(None)).await {
                // On a slow machine udev and multipathd are still at it.
                Err(fault) if fault.kind() == Kind::InUse && Instant::now() < last => {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                }
                Err(fault) => {
                    tracing::warn!(target = %node.target, portal = %node.portal, error = fault.message(), "it stays");
                    return;
                }
                Ok(entries) => {
                    if let Some(entry) = entries.iter().find(|entry| entry.outcome == LogoutOutcome::Failed) {
                        tracing::warn!(target = %node.target, portal = %node.portal, error = entry.message, "it stays");
                    }
                    return;
                }
            }
        }
    }
}
