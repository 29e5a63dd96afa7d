//! Work that blocks, on threads where that is allowed.

use std::time::Duration;

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};

use super::limit::Limit;

/// What has not been read by then hangs. Whatever the caller's own limit is: also what is put back after it must be
/// looked at.
const READ: Duration = Duration::from_secs(30);

/// Runs it on a thread for blocking work and waits for its end, however long that takes: it changes something, and must
/// not go on unseen. `Failed` only if it panicked.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Fault::new(Kind::Failed, "an internal task failed; the journal has the details"))
}

/// The same for what only reads: `TimedOut` after 30 s. What hangs in the kernel keeps its thread, and nobody who waits.
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
        // By hand: a thread at work keeps a paused clock from going on by itself.
        tokio::time::advance(2 * READ).await;
        assert_eq!(waiting.await.unwrap().unwrap_err().kind(), Kind::TimedOut);
        drop(end);
        assert_eq!(reading(|| 1).await.unwrap(), 1);
    }
}
