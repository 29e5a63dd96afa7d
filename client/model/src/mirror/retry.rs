//! When a daemon that cannot be followed is tried again, and what is told of it.

use std::time::{Duration, Instant};

use super::trouble::Trouble;

/// How long a daemon that ended is waited for. An update replaces it within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before a daemon that ended is started once more, or one that refuses is asked again.
const PAUSE: Duration = Duration::from_secs(1);

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
#[derive(Debug, Default)]
pub(super) struct Retry(Option<Gone>);

#[derive(Debug)]
struct Gone {
    since: Instant,
    /// When it is tried again.
    next: Instant,
    /// Whether it answers. One that does is tried for as long as it takes.
    is_there: bool,
}

impl Retry {
    /// When to try next; at once if nothing.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.as_ref().map(|gone| gone.next)
    }

    /// It is followed again.
    pub(super) fn succeeded(&mut self) {
        self.0 = None;
    }

    pub(super) fn failed(&mut self, trouble: &Trouble, now: Instant) -> Next {
        let is_there = match trouble {
            Trouble::Later(_) => true,
            Trouble::Gone(_) => false,
            Trouble::Bus | Trouble::Refused(_) | Trouble::Old { .. } => return Next::GiveUp,
        };
        let next = now + PAUSE;
        match &mut self.0 {
            Some(gone) if gone.is_there == is_there => {
                if !is_there && now.duration_since(gone.since) > PATIENCE {
                    return Next::GiveUp;
                }
                gone.next = next;
                Next::Again
            }
            gone => {
                *gone = Some(Gone { since: now, next, is_there });
                Next::Tell
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::{Fault, Kind};

    use super::*;

    #[test]
    fn a_daemon_that_is_gone_is_told_of_once_and_given_up_after_a_while() {
        let (mut retry, begin) = (Retry::default(), Instant::now());
        let gone = Trouble::Gone(Fault::new(Kind::Failed, "gone"));
        assert_eq!(retry.next(), None);
        assert_eq!(retry.failed(&gone, begin), Next::Tell);
        for second in 1..=30 {
            let now = begin + Duration::from_secs(second);
            assert_eq!(retry.failed(&gone, now), Next::Again);
            assert_eq!(retry.next(), Some(now + PAUSE));
        }
        assert_eq!(retry.failed(&gone, begin + Duration::from_secs(31)), Next::GiveUp);
        retry.succeeded();
        assert_eq!(retry.failed(&gone, begin + Duration::from_secs(40)), Next::Tell);
    }

    #[test]
    fn one_that_answers_another_time_is_asked_for_as_long_as_it_takes() {
        let (mut retry, begin) = (Retry::default(), Instant::now());
        let busy = Trouble::Later(Fault::new(Kind::Busy, "too many watch"));
        assert_eq!(retry.failed(&busy, begin), Next::Tell);
        assert_eq!(retry.failed(&busy, begin + Duration::from_secs(7200)), Next::Again);
        let gone = Trouble::Gone(Fault::new(Kind::Failed, "gone"));
        assert_eq!(retry.failed(&gone, begin + Duration::from_secs(7201)), Next::Tell, "another reason");
        let refused = Trouble::Refused(Fault::new(Kind::AccessDenied, "no"));
        assert_eq!(retry.failed(&refused, begin), Next::GiveUp);
        assert_eq!(retry.failed(&Trouble::Bus, begin), Next::GiveUp);
    }
}
