//! The login through iscsid at one node, within the caller's time. A login that succeeds later is
//! ended again, and the record is restored afterwards.

use std::sync::Arc;

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, hint, results::LoginOutcome};

use super::{
    answer::Done,
    hold::Hold,
    retries::with_fewer_retries,
    there,
    together::{Seat, Told},
};
use crate::{
    backend::{
        host::limit::Limit,
        kernel::{
            stale_sessions::askers::Act,
            sysfs::{Scope, Session},
        },
        open_iscsi::{
            database::NodeKey,
            iscsiadm::{Iscsiadm, Login, ProgramError, Refused, Rest},
        },
    },
    engine::{
        Engine,
        leftovers::stale_sessions::{self, Reach},
        logout::just_made::{self, PROBED},
        state::shared_look::SharedLook,
        turns::places::Place,
    },
};

/// Logs in. The caller holds the claim on the node's target; `place` is held for as long as a
/// program works on it. `seat` is its own among the nodes of the call, and `looks` are those that the
/// attempts of the call share.
#[expect(clippy::too_many_arguments, reason = "what a call shares, and what is this node's own")]
pub(super) async fn log_in(
    engine: &Arc<Engine>,
    node: &NodeKey,
    iscsiadm: &Iscsiadm,
    seat: Seat,
    looks: &SharedLook,
    hold: &Hold,
    place: Place,
    limit: &Limit,
) -> Result<Done> {
    let done = Done::new;
    let (lowering, is_one_session) = (seat.lowering(), seat.is_one_session());
    let Told { login, now } = match seat.log_in(engine, iscsiadm, looks, limit).await? {
        Some(told) => told,
        None => {
            let running = engine.turns.programs.running(Act::Login, node.target.as_str());
            let login = iscsiadm.login(node, is_one_session, running, limit);
            let node = std::slice::from_ref(node);
            let login = with_fewer_retries(engine, node, &lowering, login, limit).await?;
            Told { login, now: None }
        }
    };
    if matches!(login, Err(Refused::Code(_))) {
        // iscsid may have died during the login.
        stale_sessions::remove(engine, Reach::Restart, limit).await;
    }
    // The kernel decides, not the exit code.
    let now = match now {
        Some(now) => Ok(now),
        None => looks.look(&engine.state).await,
    };
    let now = match (now, &login) {
        // A login that continues is ended again, whether it was seen or not.
        (Err(fault), Err(Refused::Program(ProgramError::TimedOut(_)))) => {
            tracing::warn!(error = fault.message(), "cannot see what became of a login");
            None
        }
        (now, _) => Some(now?),
    };
    let session = now.as_ref().and_then(|now| now.session_of(node));
    match (login, session.is_some()) {
        (Ok(Login::Made), true) => Ok(done(LoginOutcome::LoggedIn)),
        (Ok(Login::WasThere), true) => Ok(done(LoginOutcome::AlreadyLoggedIn)),
        // Logged in; iscsid is still scanning for its LUNs.
        (Err(Refused::Program(ProgramError::TimedOut(_))), _)
            if session.is_some_and(|s| s.state == "LOGGED_IN") =>
        {
            Ok(done(LoginOutcome::LoggedIn))
        }
        (Err(Refused::Program(ProgramError::TimedOut(rest))), _) => {
            let what =
                format!("{} accepted the login, but iscsid did not log in within the deadline", node.portal);
            let (late, node) = (Arc::clone(engine), node.clone());
            hold.go_on(&engine.turns.activity, async move { take_back(&late, rest, &node, place).await });
            Err(limit
                .fault(what)
                .hint("try again with a longer timeout; see what iscsid waits for: journalctl -u iscsid"))
        }
        (Err(Refused::Program(ProgramError::NoTime(_))), _) => {
            let what = format!("{} accepted the login, but no time was left to log in", node.portal);
            Err(limit.fault(what).hint("try again with a longer timeout"))
        }
        // Up and complete, whatever iscsiadm reports. If the kernel has not scanned it, iscsid
        // completes it at the next login.
        (Err(Refused::Code(_)), _) if session.is_some_and(is_whole) => Ok(done(LoginOutcome::LoggedIn)),
        (Err(refused), _) => Err(report(node, refused.into())),
        (Ok(Login::WasThere), false) => there::was_there(engine, node, limit).await,
        (Ok(Login::Made), false) => {
            Err(Fault::new(Kind::Failed, "iscsid reported success, but there is no session")
                .hint("see the details: journalctl -u iscsid"))
        }
    }
}

/// Whether iscsid has nothing left to do for a session: it is logged in, and its LUNs were scanned.
fn is_whole(session: &Session) -> bool {
    session.state == "LOGGED_IN" && session.scanned.unwrap_or(!session.disks.is_empty())
}

/// The fault for an exit code, with the portal and where to look. The target accepted the login a
/// moment before.
fn report(node: &NodeKey, fault: Fault) -> Fault {
    let message =
        format!("{}: the target accepted the login, but iscsid failed: {}", node.portal, fault.message());
    let hint = match fault.next_step() {
        "" => {
            hint!(
                "find the cause: iscsictl diagnose {TARGET} {PORTAL}",
                TARGET = node.target,
                PORTAL = node.portal
            )
        }
        hint => hint.to_owned(),
    };
    Fault::new(fault.kind(), message).hint(hint)
}

/// Waits for a login that timed out, and ends the session that it made. Its caller got an error, so
/// nothing uses the session yet; if something does all the same, it stays.
async fn take_back(engine: &Engine, rest: Rest, node: &NodeKey, place: Place) {
    rest.ended().await;
    drop(place);
    let now = match engine.state.sessions(Scope::of([&node.target])).await {
        Ok(now) => now,
        Err(fault) => {
            let error = fault.message();
            tracing::warn!(
                target = %node.target, portal = %node.portal, error,
                "cannot look for a late login"
            );
            return;
        }
    };
    let sessions: Vec<Session> = now.all_sessions_of(node).cloned().collect();
    if sessions.is_empty() {
        return;
    }
    // No lease is taken on it meanwhile.
    let _ending = match engine.turns.leases.end(&node.target, false).await {
        Ok((_, Some(ending))) => ending,
        Ok((held, None)) => {
            let holders = held.leases.len();
            tracing::warn!(
                target = %node.target, portal = %node.portal, holders,
                "a login succeeded after its deadline: left in place, because the target is held"
            );
            return;
        }
        Err(fault) => {
            let error = fault.message();
            tracing::warn!(
                target = %node.target, portal = %node.portal, error,
                "cannot see who holds the target of a late session: left in place"
            );
            return;
        }
    };
    tracing::warn!(
        target = %node.target, portal = %node.portal,
        "a login succeeded after its deadline: logging out again"
    );
    let Err(fault) = just_made::end(engine, sessions, &Limit::of(PROBED)).await else { return };
    let stays = fault.message();
    tracing::warn!(
        target = %node.target, portal = %node.portal, error = stays,
        "cannot end a late session: left in place"
    );
}
