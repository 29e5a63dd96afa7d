//! Runs blocking work on threads where that is allowed.

use std::time::Duration;

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};

use super::limit::Limit;

/// A read that takes longer hangs. It is independent of the caller's limit, because the state is
/// also read after restoring something.
const READ: Duration = Duration::from_secs(30);

/// Runs a change on a thread for blocking work and waits for its end, however long that takes,
/// because it must not continue unobserved. `Failed` only if it panicked.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Fault::new(Kind::Failed, "an internal task failed; the journal has the details"))
}

/// The same for work that only reads: `TimedOut` after 30 s. A read that hangs in the kernel blocks
/// its thread, but no call.
pub(crate) async fn reading<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let late = || Fault::new(Kind::TimedOut, "the state of this machine could not be read within 30 s");
    Limit::of(READ).wait(blocking(work)).await.ok_or_else(late)?
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_read_that_hangs_is_given_up() {
        let (end, ended) = mpsc::channel::<()>();
        tokio::time::pause();
        let waiting = tokio::spawn(reading(move || ended.recv()));
        tokio::task::yield_now().await;
        // Advanced by hand: a running thread keeps a paused clock from advancing by itself.
        tokio::time::advance(2 * READ).await;
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), Kind::TimedOut);
        drop(end);
        assert_eq!(reading(|| 1).await.unwrap(), 1);
    }
}
