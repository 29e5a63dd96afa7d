//! Runs blocking work on threads where that is allowed: what reads sysfs and the records, what
//! changes them, and, apart from those, each kind of work that may hang.

use std::time::Duration;

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};

use super::{lane::Lane, limit::Limit};

/// A read that takes longer hangs. It is independent of the caller's limit, because the state is
/// also read after restoring something.
const READ: Duration = Duration::from_secs(30);

/// How long writing to disks may take beyond its call. After that it goes on unobserved: a disk
/// without a path would keep the daemon for ever.
const WRITTEN: Duration = Duration::from_secs(120);

/// Threads that resolve host names: a name server that does not answer holds one for as long as the
/// system's resolver tries.
pub(super) static NAMES: Lane = Lane::new("host names are being resolved", 16, 4);
/// Threads that read secrets: a descriptor can be on a file system that does not answer, and another
/// process can hold the lock of a pipe or socket.
pub(crate) static SECRETS: Lane = Lane::new("secrets are being read", 16, 4);
/// Threads that find out what uses the disks: in other users' processes, and by opening the disks.
static USES: Lane = Lane::new("looks at what uses the disks are under way", 8, 8);
/// Threads that ask multipathd.
static MULTIPATHD: Lane = Lane::new("requests to multipathd are waiting for its reply", 16, 16);
/// Threads that write cached data to disks, which may have no path left.
static WRITES: Lane = Lane::new("writes to disks have not ended", 8, 8);

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

/// The same for work that looks at what uses the disks, on threads of its own.
pub(crate) async fn looking_for_uses<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let late = "what uses the disks could not be found out within 30 s";
    USES.run(&Limit::of(READ), late, work).await
}

/// The same for work that asks multipathd, on threads of its own.
pub(crate) async fn asking_multipathd<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    asking_multipathd_within(READ, work).await
}

/// The same with less time.
pub(crate) async fn asking_multipathd_within<T: Send + 'static>(
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    MULTIPATHD.run(&Limit::of(time), "timed out waiting for multipathd", work).await
}

/// Writes cached data to disks, on threads of its own: `TimedOut` after 120 s.
pub(crate) async fn writing<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let late = "the cached data could not be written to the disks within 120 s";
    WRITES.run(&Limit::of(WRITTEN), late, work).await
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
