//! The lock of open-iscsi's database, as iscsiadm takes it (usr/idbm.c, `idbm_lock`).
//! Must not be held across anything that waits: iscsiadm up to 2.1.9 ignores it after 30 s.

use std::{
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, Stat},
    io::Errno,
};

use crate::backend::{
    host::{
        atomic::steps::step,
        bounded::{self, SMALL},
    },
    kernel::processes,
};

/// What iscsiadm links from.
const THEIRS: &str = "lock";
/// The name that every program links to take the lock.
const TAKEN: &str = "lock.write";
/// Our own file to link from. iscsiadm links its file `lock`; only the name linked *to* matters. So
/// a separate file distinguishes our lock from iscsiadm's, and the flock on it is released when
/// this process dies.
const OURS: &str = "lock.iscsi-initiatord";
/// How long other programs may hold it: they need milliseconds.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
/// iscsiadm itself gives up after 30 s. A lock twice as old, with no iscsiadm running, has no
/// owner.
const STALE: Duration = Duration::from_secs(60);
/// How long an older daemon that is leaving may hold its flock when this one starts.
const LEAVING: Duration = Duration::from_secs(1);

/// Why the lock cannot be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    #[error("the lock {0} is held by another program")]
    Held(PathBuf),
    #[error("the lock directory {0} is not safe: it must be owned by root and writable by root only")]
    Unsafe(PathBuf),
    #[error("the lock directory {0}: {1}")]
    Io(PathBuf, Errno),
}

/// The lock, held until this is dropped.
pub(crate) struct Lock {
    dir: OwnedFd,
    // Kept open for its flock.
    _own: OwnedFd,
}

impl Lock {
    /// Takes the lock; blocks the thread for up to 5 s.
    pub(crate) fn take(dir: &Path) -> Result<Self, LockError> {
        let io = |error| LockError::Io(dir.to_owned(), error);
        let fd = open_dir(dir)?;
        let own = open_own(&fd).map_err(io)?;
        let deadline = Instant::now() + LOCK_LIMIT;
        if !wait(deadline, || flock(&own)).map_err(io)? {
            return Err(LockError::Held(dir.join(OURS)));
        }
        step().map_err(io)?;
        let linked = wait(deadline, || match rustix::fs::linkat(&fd, OURS, &fd, TAKEN, AtFlags::empty()) {
            Err(Errno::EXIST) if remove_if_ownerless(&fd, &own)? => Ok(false),
            Err(Errno::EXIST) => Ok(false),
            result => result.map(|()| true),
        });
        if linked.map_err(io)? {
            Ok(Self { dir: fd, _own: own })
        } else {
            Err(LockError::Held(dir.join(TAKEN)))
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let given_back = step().and_then(|()| rustix::fs::unlinkat(&self.dir, TAKEN, AtFlags::empty()));
        if let Err(error) = given_back {
            tracing::error!(%error, "cannot release the database lock");
        }
    }
}

/// Removes the lock of a killed daemon: otherwise every iscsiadm would wait for it for half a
/// minute, and then fail. A lock that another program holds stays.
///
/// A flock that stays is not a daemon's: a user who made the folder before root took it over may
/// still have our file open. It gets a new file, which no user can open.
pub(super) fn recover(dir: &Path) -> Result<(), LockError> {
    if !dir.exists() {
        return Ok(());
    }
    let io = |error| LockError::Io(dir.to_owned(), error);
    let fd = open_dir(dir)?;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let own = match rustix::fs::openat(&fd, OURS, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        own => own.map_err(io)?,
    };
    if wait(Instant::now() + LEAVING, || flock(&own)).map_err(io)? {
        return remove_if_ownerless(&fd, &own).map(drop).map_err(io);
    }
    tracing::warn!("another process holds the daemon's own lock file: making a new one");
    rustix::fs::unlinkat(&fd, OURS, AtFlags::empty()).map_err(io)?;
    open_own(&fd).map(drop).map_err(io)
}

fn open_own(dir: &OwnedFd) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(dir, OURS, flags, Mode::RUSR | Mode::WUSR)
}

fn flock(own: &OwnedFd) -> Result<bool, Errno> {
    match rustix::fs::flock(own, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(false),
        result => result.map(|()| true),
    }
}

/// Removes what is linked from, where it is not ours: a user may have put it there while the folder
/// was theirs. Without capabilities, neither this daemon nor its iscsiadm could open it.
fn remove_foreign(dir: &OwnedFd) -> Result<(), Errno> {
    for name in [OURS, THEIRS] {
        match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) if !is_own(&stat) => {
                tracing::warn!(name, uid = stat.st_uid, "removing a lock file that is not root's");
                rustix::fs::unlinkat(dir, name, AtFlags::empty())?;
            }
            Ok(_) | Err(Errno::NOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_own(stat: &Stat) -> bool {
    stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Opens the directory, created as iscsiadm would if it is missing. On Debian any user can write to
/// its parent, so another user may have created it: then nothing in it can be trusted.
fn open_dir(dir: &Path) -> Result<OwnedFd, LockError> {
    let io = |error| LockError::Io(dir.to_owned(), error);
    match rustix::fs::mkdirat(CWD, dir, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(io(error)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(CWD, dir, flags, Mode::empty()).map_err(io)?;
    let stat = rustix::fs::fstat(&fd).map_err(io)?;
    if !is_own(&stat) || stat.st_mode & 0o022 != 0 {
        // iscsiadm creates it as 0770 & ~077; a directory that a group can write is rejected all
        // the same.
        return Err(LockError::Unsafe(dir.to_owned()));
    }
    remove_foreign(&fd).map_err(io)?;
    Ok(fd)
}

/// Removes the lock if no process can hold it: our own file is linked while we hold its flock (a
/// killed daemon), or the lock is so old that iscsiadm must have been killed.
fn remove_if_ownerless(dir: &OwnedFd, own: &OwnedFd) -> Result<bool, Errno> {
    let taken = match rustix::fs::statat(dir, TAKEN, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        stat => stat?,
    };
    let ours = rustix::fs::fstat(own)?;
    let is_ours = (taken.st_dev, taken.st_ino) == (ours.st_dev, ours.st_ino);
    // link() sets the change time, so that is when the lock was taken.
    let since = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(taken.st_ctime).unwrap_or(0));
    let is_old = since.elapsed().is_ok_and(|age| age > STALE);
    let is_ownerless = is_ours || (is_old && !iscsiadm_runs());
    if !is_ownerless {
        return Ok(false);
    }
    tracing::warn!(ours = is_ours, "removing a database lock whose owner is gone");
    match rustix::fs::unlinkat(dir, TAKEN, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Whether any process of root's could be using the database.
fn iscsiadm_runs() -> bool {
    let proc = Path::new("/proc");
    let Ok(entries) = std::fs::read_dir(proc) else { return true };
    entries.flatten().any(|process| {
        bounded::text(&process.path().join("comm"), SMALL)
            .is_ok_and(|name| matches!(name.trim_end(), "iscsiadm" | "iscsistart"))
            && process
                .file_name()
                .to_str()
                .and_then(|pid| pid.parse().ok())
                .is_some_and(|pid| processes::is_roots(proc, pid))
    })
}

/// Tries every 10 ms, as iscsiadm does. Returns whether it succeeded before the deadline.
fn wait(deadline: Instant, mut attempt: impl FnMut() -> Result<bool, Errno>) -> Result<bool, Errno> {
    loop {
        if attempt()? {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_iscsiadms_and_is_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("iscsi");
        let lock = Lock::take(&dir).unwrap();
        assert!(dir.join("lock.write").exists());
        drop(lock);
        assert!(!dir.join("lock.write").exists());
    }

    #[test]
    fn the_lock_is_given_back_in_a_panic() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("iscsi");
        let panicked = std::thread::spawn({
            let dir = dir.clone();
            move || {
                let _lock = Lock::take(&dir).unwrap();
                panic!("on purpose");
            }
        })
        .join();
        assert!(panicked.is_err());
        assert!(!dir.join("lock.write").exists());
    }

    #[test]
    fn a_lock_of_a_killed_daemon_is_taken_over_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("iscsi");
        drop(Lock::take(&dir).unwrap());
        std::fs::hard_link(dir.join(OURS), dir.join(TAKEN)).unwrap();
        let start = Instant::now();
        drop(Lock::take(&dir).unwrap());
        assert!(start.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn a_start_removes_the_lock_of_a_killed_daemon_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("iscsi");
        recover(&dir).unwrap();
        assert!(!dir.exists(), "nothing is made");
        let held = Lock::take(&dir).unwrap();
        recover(&dir).unwrap();
        assert!(dir.join(TAKEN).exists(), "its owner lives");
        drop(held);
        std::fs::hard_link(dir.join(OURS), dir.join(TAKEN)).unwrap();
        recover(&dir).unwrap();
        assert!(!dir.join(TAKEN).exists());
        std::fs::copy("/proc/self/status", dir.join("lock")).unwrap();
        std::fs::hard_link(dir.join("lock"), dir.join(TAKEN)).unwrap();
        recover(&dir).unwrap();
        assert!(dir.join(TAKEN).exists(), "it is iscsiadm's");
    }

    #[test]
    fn a_fresh_lock_of_iscsiadms_is_respected() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("iscsi");
        drop(Lock::take(&dir).unwrap());
        std::fs::copy("/proc/self/status", dir.join("lock")).unwrap();
        std::fs::hard_link(dir.join("lock"), dir.join(TAKEN)).unwrap();
        assert!(matches!(Lock::take(&dir), Err(LockError::Held(_))));
        assert!(dir.join(TAKEN).exists());
    }

    #[test]
    fn a_users_lock_file_is_made_anew_whatever_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("iscsi");
        drop(Lock::take(&dir).unwrap());
        // As systemd leaves it when it takes the user's folder over: the file is root's, and open.
        let theirs = std::fs::File::open(dir.join(OURS)).unwrap();
        theirs.lock().unwrap();
        recover(&dir).unwrap();
        drop(Lock::take(&dir).unwrap());
        if !rustix::process::geteuid().is_root() {
            return;
        }
        for name in [OURS, THEIRS] {
            let theirs = std::fs::File::options()
                .write(true)
                .create(true)
                .truncate(false)
                .open(dir.join(name))
                .unwrap();
            theirs.lock().unwrap();
            std::os::unix::fs::fchown(&theirs, Some(64_002), None).unwrap();
            drop(Lock::take(&dir).unwrap());
            let is_there = dir.join(name).symlink_metadata().is_ok();
            assert_eq!(is_there, name == OURS, "{name}");
        }
    }

    #[test]
    fn a_directory_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
        assert!(matches!(Lock::take(folder.path()), Err(LockError::Unsafe(_))));
        std::os::unix::fs::symlink("/tmp", folder.path().join("link")).unwrap();
        assert!(Lock::take(&folder.path().join("link")).is_err());
    }
}
