//! Runs blocking work on threads where that is allowed: what reads sysfs and the records, what
//! changes them, and, apart from those, each kind of work that may hang.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};

use super::{lane::Lane, limit::Limit};

/// A read that takes longer hangs. It is independent of the caller's limit, because the state is
/// also read after restoring something.
pub(crate) const READ: Duration = Duration::from_secs(30);

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
/// Threads that ask multipathd. Any local user may list paths.
static MULTIPATHD: Lane = Lane::new("requests to multipathd are waiting for its reply", 32, MULTIPATHD_SHARE);
const MULTIPATHD_SHARE: usize = 8;
/// Threads that write cached data to disks, which may have no path left.
static WRITES: Lane = Lane::new("writes to disks have not ended", 8, 8);
/// Threads that close disks: the last one to close a disk that is gone waits for the kernel to free it.
static CLOSES: Lane = Lane::new("disks are being closed", 8, 8);

/// Any work: what runs it is compiled once for each kind of result, and not for each piece of work.
type Work<T> = Box<dyn FnOnce() -> T + Send>;

/// Runs a change on a thread for blocking work and waits for its end, however long that takes,
/// because it must not continue unobserved. `Failed` only if it panicked.
pub(crate) fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T>> + Send {
    run(Box::new(work))
}

async fn run<T: Send + 'static>(work: Work<T>) -> Result<T> {
    let result = Arc::new(Mutex::new(None));
    let filled = Arc::clone(&result);
    let task: Work<()> = Box::new(move || {
        let value = work();
        *filled.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    });
    let ended = tokio::task::spawn_blocking(task).await.ok();
    ended
        .and_then(|()| result.lock().unwrap_or_else(PoisonError::into_inner).take())
        .ok_or_else(|| Fault::new(Kind::Failed, "an internal task failed; the journal has the details"))
}

/// The same for work that only reads: `TimedOut` after 30 s. A read that hangs in the kernel blocks
/// its thread, but no call.
pub(crate) fn reading<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T>> + Send {
    read(Box::new(work))
}

async fn read<T: Send + 'static>(work: Work<T>) -> Result<T> {
    let late = || Fault::new(Kind::TimedOut, "the state of this machine could not be read within 30 s");
    Limit::of(READ).wait(run(work)).await.ok_or_else(late)?
}

/// The same for work that looks at what uses the disks, on threads of its own.
pub(crate) async fn looking_for_uses<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T> {
    let late = "what uses the disks could not be found out within 30 s";
    let work: Work<T> = Box::new(work);
    USES.run(&Limit::of(READ), late, work).await
}

/// The same for work that asks multipathd, on threads of its own.
pub(crate) fn asking_multipathd<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T>> + Send {
    ask_multipathd(None, READ, Box::new(work))
}

/// The same for a user, whose share counts, and with this much time.
pub(crate) fn asking_multipathd_for<T: Send + 'static>(
    user: Option<u32>,
    time: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> impl Future<Output = Result<T>> + Send {
    ask_multipathd(user, time, Box::new(work))
}

async fn ask_multipathd<T: Send + 'static>(user: Option<u32>, time: Duration, work: Work<T>) -> Result<T> {
    let limit = match user {
        Some(uid) => Limit::of(time).for_user(uid),
        None => Limit::of(time),
    };
    MULTIPATHD.run(&limit, "timed out waiting for multipathd", work).await
}

/// Writes cached data to disks, on threads of its own: `TimedOut` after 120 s.
pub(crate) async fn writing<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let late = "the cached data could not be written to the disks within 120 s";
    let work: Work<T> = Box::new(work);
    WRITES.run(&Limit::of(WRITTEN), late, work).await
}

/// Closes what has disks open, on threads of its own: `TimedOut` after 120 s.
pub(crate) async fn closing<T: Send + 'static>(open: T) -> Result<()> {
    CLOSES.run(&Limit::of(WRITTEN), "the disks could not be closed within 120 s", move || drop(open)).await
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Takes every place that this user may have in the lane to multipathd, until it is dropped. One user at a
    /// time: other tests need places, too.
    pub(crate) struct Taken {
        uid: u32,
        ends: Vec<mpsc::Sender<()>>,
        _turn: tokio::sync::MutexGuard<'static, ()>,
    }

    static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

    impl Taken {
        pub(crate) async fn by(uid: u32) -> Self {
            let _turn = TURN.lock().await;
            let mut ends = Vec::new();
            for _ in 0..MULTIPATHD_SHARE {
                let (end, ended) = mpsc::channel::<()>();
                ends.push(end);
                let hangs = asking_multipathd_for(Some(uid), Duration::from_millis(1), move || ended.recv());
                assert_eq!(hangs.await.unwrap_err().kind(), Kind::TimedOut);
            }
            Self { uid, ends, _turn }
        }
    }

    impl Drop for Taken {
        fn drop(&mut self) {
            self.ends.clear();
            // Its threads end by and by.
            while MULTIPATHD.number_of(self.uid) > 0 {
                std::thread::yield_now();
            }
        }
    }

    #[tokio::test]
    async fn a_user_does_not_take_every_place_in_the_lane_to_multipathd() {
        let taken = Taken::by(4710).await;
        let fault = asking_multipathd_for(Some(4710), READ, || ()).await.unwrap_err();
        assert!(fault.kind() == Kind::Busy && fault.message().contains("multipathd"), "{fault}");
        asking_multipathd_for(Some(4711), READ, || ()).await.unwrap();
        asking_multipathd(|| ()).await.unwrap();
        drop(taken);
        asking_multipathd_for(Some(4710), READ, || ()).await.unwrap();
    }

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
