//! The deadline of one operation: libvirt has none of its own, and what it does meanwhile waits.

use std::time::{Duration, Instant};

use iscsi_initiator_dbus::{Fault, Kind};
use tokio::time::timeout;

use crate::language::say;
use crate::problem::Problem;

/// How long an operation may take, unless the metadata says otherwise.
const USUAL: Duration = Duration::from_secs(20);

/// The most that the metadata may say, in seconds.
pub(super) const MOST: u32 = 60;

/// What is kept for putting things back, of a long time and of a short one.
const RESERVE: Duration = Duration::from_secs(3);
const SHARE: u32 = 4;

/// When an operation began, and how long it may take.
pub(super) struct Clock {
    began: Instant,
    whole: Duration,
}

impl Clock {
    /// From now on.
    pub(super) fn start() -> Self {
        Self { began: Instant::now(), whole: USUAL }
    }

    /// Sets how long the whole may take, since it began.
    pub(super) fn allow(&mut self, whole: Option<Duration>) {
        self.whole = whole.unwrap_or(self.whole);
    }

    /// What is left for the work: after it, there is time to put it back.
    pub(super) fn left(&self) -> Duration {
        self.whole.saturating_sub(RESERVE.min(self.whole / SHARE)).saturating_sub(self.began.elapsed())
    }

    /// What is left of the whole; a second at least, to put back what was done.
    pub(super) fn last(&self) -> Duration {
        self.whole.saturating_sub(self.began.elapsed()).max(Duration::from_secs(1))
    }

    /// The work, as far as it is done in time.
    pub(super) async fn within<T>(
        &self,
        work: impl Future<Output = Result<T, Problem>>,
    ) -> Result<T, Problem> {
        // The work looks at the clock itself, and has more to say than that time is over: it has the last word.
        let late = || {
            let what = say!("timed out after {seconds} s", seconds = self.began.elapsed().as_secs());
            Problem::from(Fault::new(Kind::TimedOut, what))
        };
        timeout(self.left() + Duration::from_millis(500), work).await.unwrap_or_else(|_| Err(late()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_of_the_time_is_kept_for_putting_things_back() {
        let mut clock = Clock::start();
        assert!(clock.left() > Duration::from_secs(16) && clock.left() <= Duration::from_secs(17));
        clock.allow(Some(Duration::from_secs(4)));
        assert!(clock.left() <= Duration::from_secs(3) && clock.left() > Duration::from_secs(2));
        clock.allow(Some(Duration::ZERO));
        assert_eq!((clock.left(), clock.last()), (Duration::ZERO, Duration::from_secs(1)));
    }
}
