//! A caller's wish to end a call: every wait of the call observes it, until the call cannot go back
//! any more.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

/// Shared by the caller's side and every limit of the call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel {
    token: CancellationToken,
    is_final: Arc<Mutex<bool>>,
    #[cfg(test)]
    moments: Arc<moments::Moments>,
}

impl Cancel {
    /// Ends every wait of the call, which then puts back what it has changed. `false` if it is too
    /// late for that: the call goes on to its end.
    pub(crate) fn cancel(&self) -> bool {
        let is_final = self.lock();
        if !*is_final {
            self.token.cancel();
        }
        !*is_final
    }

    /// From here on the call cannot go back, and is not cancelled any more. `false` if it was
    /// cancelled before: then it must go back.
    pub(crate) fn decide(&self) -> bool {
        self.moment();
        let mut is_final = self.lock();
        *is_final |= !self.token.is_cancelled();
        *is_final
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        self.moment();
        self.token.is_cancelled()
    }

    /// Returns once the call is cancelled.
    pub(crate) async fn cancelled(&self) {
        self.moment();
        self.token.cancelled().await;
    }

    /// A flag cannot be half written.
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.is_final.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Only unit tests count them.
    #[cfg(not(test))]
    fn moment(&self) {}
}

/// In unit tests a call can be cancelled at its n-th moment: a look at its limit, or a write.
#[cfg(test)]
mod moments {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::Cancel;

    /// How many are left until the call is cancelled; 0: it is not.
    #[derive(Debug, Default)]
    pub(super) struct Moments(AtomicU64);

    impl Cancel {
        /// Cancels at the n-th moment from here; 0 stops counting. Returns how many were left.
        pub(crate) fn at_moment(&self, n: u64) -> u64 {
            self.moments.0.swap(n, Ordering::SeqCst)
        }

        /// A moment has come.
        pub(crate) fn moment(&self) {
            let before =
                self.moments.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
            if before == Ok(1) {
                self.cancel();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_is_cancelled_until_it_cannot_go_back() {
        let cancel = Cancel::default();
        let waiting = cancel.clone();
        let waiting = tokio::spawn(async move { waiting.cancelled().await });
        assert!(!cancel.is_cancelled() && cancel.cancel() && cancel.is_cancelled());
        waiting.await.unwrap();
        assert!(!cancel.decide(), "it was cancelled before");
        assert!(cancel.cancel(), "once more changes nothing");

        let cancel = Cancel::default();
        assert!(cancel.decide() && !cancel.cancel(), "too late");
        assert!(!cancel.is_cancelled() && cancel.decide(), "it goes on to its end");
    }
}
