//! When a daemon that cannot be followed is tried again, and what is told of it.

use std::time::{Duration, Instant};

use iscsi_initiator_dbus::{Fault, Kind};

use super::trouble::Trouble;

/// How long a daemon that ended is waited for. An update replaces it within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before a daemon that ended is started once more, or one that refuses is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause of a process that stays.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a daemon is tried for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// As long as a person at a terminal waits.
    Short,
    /// As long as the process lives, less and less often.
    Endless,
}

/// What becomes of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// It is tried again; whoever follows is told.
    Tell,
    /// It is tried again; they know.
    Again,
    /// It is not tried again by itself.
    GiveUp,
}

/// A daemon that cannot be followed for now.
#[derive(Debug)]
pub(super) struct Retry {
    patience: Patience,
    gone: Option<Gone>,
}

#[derive(Debug)]
struct Gone {
    since: Instant,
    /// When it is tried again.
    next: Instant,
    /// How long that is after the last time.
    pause: Duration,
    why: Why,
}

/// What is told anew when it is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    Gone,
    /// It answers. One that does is tried for as long as it takes.
    Later,
    /// It may be replaced.
    Old,
    /// It answers with an error that asks no person for anything.
    Failed,
}

impl Retry {
    pub(super) fn new(patience: Patience) -> Self {
        Self { patience, gone: None }
    }

    /// Whether the last attempt failed.
    pub(super) fn is_lost(&self) -> bool {
        self.gone.is_some()
    }

    /// When to try next; at once if nothing.
    pub(super) fn next(&self) -> Option<Instant> {
        self.gone.as_ref().map(|gone| gone.next)
    }

    /// Now, and soon after that.
    pub(super) fn hurry(&mut self, now: Instant) {
        if let Some(gone) = &mut self.gone {
            (gone.next, gone.pause) = (now, PAUSE);
        }
    }

    /// It is followed again.
    pub(super) fn succeeded(&mut self) {
        self.gone = None;
    }

    pub(super) fn failed(&mut self, trouble: &Trouble, now: Instant) -> Next {
        let why = match trouble {
            Trouble::Later(_) => Why::Later,
            Trouble::Gone(_) => Why::Gone,
            Trouble::Old { .. } if self.patience == Patience::Endless => Why::Old,
            Trouble::Refused(fault) if self.patience == Patience::Endless && !is_denied(fault) => Why::Failed,
            // polkit may ask a person each time.
            Trouble::Bus | Trouble::Refused(_) | Trouble::Old { .. } => return Next::GiveUp,
        };
        let pause = match (&self.gone, self.patience) {
            (Some(gone), Patience::Endless) => (gone.pause * 2).min(LONGEST_PAUSE),
            _ => PAUSE,
        };
        match &mut self.gone {
            Some(gone) if gone.why == why => {
                let is_short = self.patience == Patience::Short && why == Why::Gone;
                if is_short && now.duration_since(gone.since) > PATIENCE {
                    return Next::GiveUp;
                }
                (gone.next, gone.pause) = (now + pause, pause);
                Next::Again
            }
            gone => {
                *gone = Some(Gone { since: now, next: now + pause, pause, why });
                Next::Tell
            }
        }
    }
}

/// Whether polkit or a person has said no.
fn is_denied(fault: &Fault) -> bool {
    use Kind::{AccessDenied, AuthenticationDismissed, InteractiveAuthorizationRequired};
    matches!(fault.kind(), AccessDenied | AuthenticationDismissed | InteractiveAuthorizationRequired)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gone() -> Trouble {
        Trouble::Gone(Fault::new(Kind::Failed, "gone"))
    }

    #[test]
    fn a_daemon_that_is_gone_is_told_of_once_and_given_up_after_a_while() {
        let (mut retry, begin) = (Retry::new(Patience::Short), Instant::now());
        assert_eq!(retry.next(), None);
        assert_eq!(retry.failed(&gone(), begin), Next::Tell);
        for second in 1..=30 {
            let now = begin + Duration::from_secs(second);
            assert_eq!(retry.failed(&gone(), now), Next::Again);
            assert_eq!(retry.next(), Some(now + PAUSE));
        }
        assert_eq!(retry.failed(&gone(), begin + Duration::from_secs(31)), Next::GiveUp);
        retry.succeeded();
        assert_eq!(retry.failed(&gone(), begin + Duration::from_secs(40)), Next::Tell);
    }

    #[test]
    fn one_that_answers_another_time_is_asked_for_as_long_as_it_takes() {
        let (mut retry, begin) = (Retry::new(Patience::Short), Instant::now());
        let busy = Trouble::Later(Fault::new(Kind::Busy, "too many watch"));
        assert_eq!(retry.failed(&busy, begin), Next::Tell);
        assert_eq!(retry.failed(&busy, begin + Duration::from_secs(7200)), Next::Again);
        assert_eq!(retry.failed(&gone(), begin + Duration::from_secs(7201)), Next::Tell, "another reason");
        let refused = Trouble::Refused(Fault::new(Kind::AccessDenied, "no"));
        for mut retry in [retry, Retry::new(Patience::Endless)] {
            assert_eq!(retry.failed(&refused, begin), Next::GiveUp);
            assert_eq!(retry.failed(&Trouble::Bus, begin), Next::GiveUp);
        }
    }

    #[test]
    fn a_process_that_stays_tries_less_and_less_often_and_without_end() {
        let (mut retry, mut now) = (Retry::new(Patience::Endless), Instant::now());
        assert_eq!(retry.failed(&gone(), now), Next::Tell);
        let mut pauses = Vec::new();
        for _ in 0..10_000 {
            let next = retry.next().unwrap();
            pauses.push((next - now).as_secs());
            now = next;
            assert_eq!(retry.failed(&gone(), now), Next::Again);
        }
        assert_eq!(pauses[..9], [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pauses.last(), Some(&60));
        // Someone presses a button.
        retry.hurry(now);
        assert_eq!(retry.next(), Some(now));
        assert_eq!(retry.failed(&gone(), now), Next::Again);
        assert_eq!(retry.next(), Some(now + Duration::from_secs(2)));
        // An old one may be updated.
        let old = Trouble::Old { version: "0.0.1".to_owned() };
        assert_eq!(retry.failed(&old, now), Next::Tell);
        assert_eq!(Retry::new(Patience::Short).failed(&old, now), Next::GiveUp);
        // Whatever else goes wrong in the daemon may go right another time.
        let failed = Trouble::Refused(Fault::new(Kind::Failed, "seen"));
        assert_eq!(retry.failed(&failed, now), Next::Tell);
        assert_eq!(retry.failed(&failed, now), Next::Again);
        assert_eq!(Retry::new(Patience::Short).failed(&failed, now), Next::GiveUp);
        for kind in
            [Kind::AccessDenied, Kind::AuthenticationDismissed, Kind::InteractiveAuthorizationRequired]
        {
            assert_eq!(
                retry.failed(&Trouble::Refused(Fault::new(kind, "no")), now),
                Next::GiveUp,
                "{kind:?}"
            );
        }
        retry.succeeded();
        assert!(!retry.is_lost() && retry.next().is_none());
    }
}
