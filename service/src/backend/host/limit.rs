//! Limits a wait: to its deadline, or until its caller cancels. What is scarce is shared among
//! users, and a limit says whose share counts.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Kind};
use tokio::time::{Instant, timeout_at};

use super::cancel::Cancel;

/// The end of a wait. Every wait observes it, but nothing that has started is dropped halfway.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    deadline: Instant,
    cancel: Cancel,
    /// Whether this is a part of a call, which decides nothing for the whole of it.
    is_part: bool,
    user: Option<u32>,
    persons: Arc<Mutex<Persons>>,
}

/// The time that persons took for their answers, in all copies of a limit.
#[derive(Debug, Default)]
struct Persons {
    took: Duration,
    asked_since: Option<Instant>,
}

impl Limit {
    /// A deadline, and what ends every wait at once.
    pub(crate) fn new(timeout: Duration, cancel: Cancel) -> Self {
        let deadline = Instant::now() + timeout;
        Self { deadline, cancel, is_part: false, user: None, persons: Arc::default() }
    }

    /// A deadline that no caller can bring forward, for what must be done in any case.
    pub(crate) fn of(timeout: Duration) -> Self {
        Self::new(timeout, Cancel::default())
    }

    /// The same for a user's call.
    pub(crate) fn for_user(self, uid: u32) -> Self {
        Self { user: Some(uid), ..self }
    }

    /// The user whose call it is; `None` for what the daemon does by itself.
    pub(crate) fn user(&self) -> Option<u32> {
        self.user
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The same with the same caller, but at most this long from now.
    pub(crate) fn at_most(&self, timeout: Duration) -> Self {
        let deadline = self.deadline.min(Instant::now() + timeout);
        Self { deadline, ..self.clone() }
    }

    /// The same for a part of the call, after which the whole of it can still go back.
    pub(crate) fn of_part(&self) -> Self {
        Self { is_part: true, ..self.clone() }
    }

    /// For cleaning up: the remaining time, at least this long, without a caller that could cancel
    /// it.
    pub(crate) fn at_least(&self, timeout: Duration) -> Self {
        Self { user: self.user, ..Self::of(self.left().max(timeout)) }
    }

    /// The output of a question to a person, and the limit for what follows: the time that the answer
    /// took does not count. `None` if the caller cancels.
    pub(crate) async fn person<T>(&self, asking: impl Future<Output = T>) -> Option<(T, Self)> {
        let begun = Instant::now();
        self.persons().asked_since = Some(begun);
        tokio::select! {
            biased;
            answer = asking => {
                let deadline = self.deadline + self.answered(begun);
                Some((answer, Self { deadline, ..self.clone() }))
            }
            () = self.cancel.cancelled() => {
                self.answered(begun);
                None
            }
        }
    }

    fn answered(&self, begun: Instant) -> Duration {
        let took = begun.elapsed();
        let mut persons = self.persons();
        persons.asked_since = None;
        persons.took += took;
        took
    }

    /// The deadline, later by what persons took for their answers in any copy of this limit.
    pub(crate) fn deadline_with_persons(&self) -> Instant {
        let persons = self.persons();
        let asked = persons.asked_since.map_or(Duration::ZERO, |since| since.elapsed());
        self.deadline + persons.took + asked
    }

    /// Two numbers cannot be half written.
    fn persons(&self) -> std::sync::MutexGuard<'_, Persons> {
        self.persons.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time until the deadline; zero once the caller has cancelled.
    pub(crate) fn left(&self) -> Duration {
        if self.is_cancelled() {
            return Duration::ZERO;
        }
        self.deadline.saturating_duration_since(Instant::now())
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// To be asked before what cannot be put back, and before a success: `Cancelled` if the caller has
    /// cancelled. From here on they cannot.
    pub(crate) fn decide(&self) -> Result<(), Fault> {
        let goes_on = if self.is_part { !self.is_cancelled() } else { self.cancel.decide() };
        if goes_on { Ok(()) } else { Err(self.fault("")) }
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Returns when the limit is reached.
    pub(crate) async fn over(&self) {
        // Whichever comes first.
        let _ = timeout_at(self.deadline, self.cancel.cancelled()).await;
    }

    /// The output of a future that only waits, or `None` if the limit comes first. The future is
    /// dropped then, so it must be one that loses nothing by that, such as a lock, a timer or an
    /// event.
    pub(crate) async fn wait<T>(&self, waiting: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = waiting => Some(done),
            () = self.over() => None,
        }
    }

    /// Why a wait ended without a result: `Cancelled`, or `TimedOut` with what did not happen.
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

        let limit = Limit::of(Duration::from_secs(20));
        let (answer, later) = limit.person(tokio::time::sleep(Duration::from_secs(300))).await.unwrap();
        let () = answer;
        assert!(limit.is_over() && later.left() == Duration::from_secs(20), "a person has their own time");
        assert_eq!(limit.deadline_with_persons(), later.deadline(), "and copies know of it");

        let cancel = Cancel::default();
        let limit = Limit::new(Duration::from_secs(20), cancel.clone());
        assert!(limit.of_part().decide().is_ok());
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
        assert!(limit.of_part().decide().is_err() && limit.decide().is_err());
        assert!(!limit.at_least(Duration::from_secs(5)).is_over(), "what is cleaned up has its own time");
    }
}
