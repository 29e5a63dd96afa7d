//! Before a virtual machine starts: its targets are held and logged in to, and its disks are there.

use std::time::Duration;

use iscsi_initiator_dbus::{
    Fault, Kind,
    options::LoginOptions,
    proxy::InitiatorProxy,
    results::{Login, LoginOutcome},
};
use tokio::time::{Instant, sleep};

use super::{
    clock::Clock,
    holds::{AGAIN, Holds, JOB},
    paths::{Missing, missing},
    targets::{Target, Targets},
};
use crate::problem::Problem;

/// How long portals that do not answer may delay a start that has what it needs.
const MORE: Duration = Duration::from_secs(3);

/// No login is begun with less time than this.
const SHORTEST: Duration = Duration::from_secs(1);

/// How long to wait between two logins.
const PAUSE: Duration = Duration::from_secs(2);

/// All of them.
pub(super) async fn all(
    daemon: &InitiatorProxy<'_>,
    holds: &Holds,
    targets: &Targets,
    clock: &Clock,
) -> Result<(), Problem> {
    // First, so that none is logged out of meanwhile.
    for target in &targets.list {
        holds.take(&target.name, clock).await?;
    }
    let mut is_enough = missing(daemon, targets).await?.is_none();
    let (mut login_at, mut reason) = (Instant::now(), None::<Problem>);
    loop {
        if Instant::now() >= login_at && clock.left() >= SHORTEST {
            reason = None;
            for target in &targets.list {
                let time = if is_enough { MORE.min(clock.left()) } else { clock.left() };
                match log_in(daemon, target, time).await {
                    Ok(None) => {}
                    Ok(problem) => reason = problem,
                    // What is missing is not needed, or is looked at below.
                    Err(problem) if is_enough => reason = Some(problem),
                    Err(problem) => return Err(problem),
                }
            }
            login_at = Instant::now() + PAUSE;
        }
        let Some(Missing { what, hint }) = missing(daemon, targets).await? else { return Ok(()) };
        is_enough = false;
        if clock.left() < AGAIN {
            let late = || Problem::from(Fault::new(Kind::TimedOut, what).hint(hint));
            return Err(reason.unwrap_or_else(late));
        }
        sleep(AGAIN).await;
    }
}

/// Logs in where there is no session. What may be over in a moment is returned, and tried again; anything else is an
/// error.
async fn log_in(
    daemon: &InitiatorProxy<'_>,
    target: &Target,
    time: Duration,
) -> Result<Option<Problem>, Problem> {
    let portal = target.portal.as_ref().map(ToString::to_string).unwrap_or_default();
    let options = LoginOptions::new().timeout(whole_seconds(time)).job(JOB);
    let problem = |fault: Fault| Problem::from(fault).or_diagnose(&[target.name.as_str(), &portal]);
    match daemon.login(target.name.as_str(), &portal, &options).await {
        Ok(logins) => {
            // The other portals may be enough.
            let failed = logins.iter().find(|login| login.outcome == LoginOutcome::Failed);
            Ok(failed.map(reason_of).map(problem))
        }
        Err(fault) if may_be_over(fault.kind()) => Ok(Some(problem(fault))),
        Err(fault) => Err(problem(fault)),
    }
}

/// Why one of several portals failed.
fn reason_of(Login { error, message, hint, .. }: &Login) -> Fault {
    Fault::new(error.parse().unwrap_or(Kind::Failed), message.as_str()).hint(hint.as_str())
}

/// Whether it may be otherwise in a moment: a gateway that starts as well, a network that comes up.
fn may_be_over(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::PortalUnreachable | Kind::TimedOut | Kind::TargetUnavailable | Kind::Busy | Kind::Failed
    )
}

/// Rounded down, for a call that ends in time; one at least.
fn whole_seconds(time: Duration) -> Duration {
    Duration::from_secs(time.as_secs().max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_must_change_is_not_waited_for() {
        for kind in [Kind::ChapRejected, Kind::NoSuchNode, Kind::LunChanged, Kind::InitiatorNotAllowed] {
            assert!(!may_be_over(kind));
        }
        assert!(may_be_over(Kind::PortalUnreachable) && may_be_over(Kind::Busy));
    }

    #[test]
    fn the_deadline_of_a_login_is_within_what_is_left() {
        assert_eq!(whole_seconds(Duration::from_millis(2900)), Duration::from_secs(2));
        assert_eq!(whole_seconds(Duration::ZERO), Duration::from_secs(1));
    }
}
