//! Until when a wait may last: until its deadline, or until its caller gives up.

use std::{future::Future, time::Duration};

use iscsi_initiator_dbus::{Fault, Kind};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The end of a wait. Every wait looks at it; nothing that has begun is dropped halfway for it.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    deadline: Instant,
    cancel: CancellationToken,
}

impl Limit {
    /// A deadline, and a token that ends every wait at once.
    pub(crate) fn new(timeout: Duration, cancel: CancellationToken) -> Self {
        Self { deadline: Instant::now() + timeout, cancel }
    }

    /// A deadline that no caller can bring forward: for what must be done whoever waits.
    pub(crate) fn of(timeout: Duration) -> Self {
        Self::new(timeout, CancellationToken::new())
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The same caller's, but not for longer than this from now.
    pub(crate) fn at_most(&self, timeout: Duration) -> Self {
        Self { deadline: self.deadline.min(Instant::now() + timeout), cancel: self.cancel.clone() }
    }

    /// For cleaning up: what is left of this one, this long at least, and no caller ends it.
    pub(crate) fn at_least(&self, timeout: Duration) -> Self {
        Self::of(self.left().max(timeout))
    }

    /// How long until the deadline; zero once the caller has given up.
    pub(crate) fn left(&self) -> Duration {
        if self.is_cancelled() {
            return Duration::ZERO;
        }
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Returns when it is over.
    pub(crate) async fn over(&self) {
        // Whichever comes first.
        let _ = timeout_at(self.deadline, self.cancel.cancelled()).await;
    }

    /// What a future that only waits comes to, or `None` if the limit is over first. The future is dropped then: it must
    /// be one that loses nothing by that, such as a lock, a timer or an event.
    pub(crate) async fn wait<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = waiting => Some(done),
            () = self.over() => None,
        }
    }

    /// Why a wait ended without what it waited for: `Cancelled`, or `TimedOut` with what had not happened.
    pub(crate) fn fault(&self, what: impl Into<String>) -> Fault {
        if self.is_cancelled() {
            return Fault::new(Kind::Cancelled, "the call was cancelled");
        }
        Fault::new(Kind::TimedOut, what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_deadline_or_when_its_caller_gives_up() {
        let limit = Limit::of(Duration::from_secs(20));
        assert_eq!(limit.wait(std::future::ready(1)).await, Some(1));
        let begun = Instant::now();
        assert_eq!(limit.wait(std::future::pending::<()>()).await, None);
        assert_eq!(begun.elapsed(), Duration::from_secs(20));
        assert!(limit.is_over() && !limit.is_cancelled());
        assert_eq!(limit.fault("no").kind(), Kind::TimedOut);

        let cancel = CancellationToken::new();
        let limit = Limit::new(Duration::from_secs(20), cancel.clone());
        let waiting = tokio::spawn({
            let limit = limit.clone();
            async move { limit.wait(std::future::pending::<()>()).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!waiting.is_finished() && !limit.is_over());
        cancel.cancel();
        assert_eq!(waiting.await.unwrap(), None);
        assert!(limit.is_over() && limit.left().is_zero());
        assert_eq!(limit.fault("no").kind(), Kind::Cancelled);
        assert!(!limit.at_least(Duration::from_secs(5)).is_over(), "what is cleaned up has its own time");
    }
}
