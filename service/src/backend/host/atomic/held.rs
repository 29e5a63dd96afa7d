//! Files that stay locked for as long as their owner lives, also between processes.

use std::{
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, RenameFlags},
    io::{Errno, Result},
};

use super::dir::Dir;

/// A file with a lock (flock) on it, which is released when this is dropped or when the process
/// ends, however it ends.
pub(crate) struct Held {
    _fd: OwnedFd,
}

impl Dir {
    /// Like [`Dir::create`]; the file is locked before it is visible under its name.
    pub(crate) fn create_held(&self, relative: &str, content: &[u8], mode: u32) -> Result<Held> {
        self.put(relative, content, mode, RenameFlags::NOREPLACE, true).map(|fd| Held { _fd: fd })
    }

    /// Like [`Dir::replace`]; the new file is locked before it takes its place.
    pub(crate) fn replace_held(&self, relative: &str, content: &[u8], mode: u32) -> Result<Held> {
        self.put(relative, content, mode, RenameFlags::empty(), true).map(|fd| Held { _fd: fd })
    }

    /// Locks a file without waiting. `None` if it is locked already, or gone. `EINVAL` and `EPERM`
    /// as for [`Dir::read`].
    pub(crate) fn hold(&self, relative: &str) -> Result<Option<Held>> {
        // Opened for writing, because NFS requires that for an exclusive lock.
        let fd = match self.beneath(relative, OFlags::RDWR) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(Errno::ISDIR) => return Err(Errno::INVAL),
            fd => fd?,
        };
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Errno::PERM);
        }
        match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(None),
            locked => locked?,
        }
        // Between the two its owner may have removed or replaced it.
        let (parent, name) = self.parent_of(relative)?;
        let now =
            match rustix::fs::statat(parent.as_ref().unwrap_or(&self.fd), name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => return Ok(None),
                now => now?,
            };
        let is_same = (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino);
        Ok(is_same.then_some(Held { _fd: fd }))
    }

    /// Creates the file of a [`Dir::turn`], if it is missing.
    pub(crate) fn make_turn(&self, name: &str) -> Result<()> {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR).map(drop)
    }

    /// Locks a file that exists only for that. `ETIMEDOUT` if another owner holds it for this long.
    /// Blocks.
    pub(crate) fn turn(&self, name: &str, longest: Duration) -> Result<Held> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let fd = rustix::fs::openat(&self.fd, name, flags, Mode::empty())?;
        let deadline = Instant::now() + longest;
        loop {
            match rustix::fs::flock(&fd, FlockOperation::NonBlockingLockExclusive) {
                Err(Errno::WOULDBLOCK) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err(Errno::WOULDBLOCK) => return Err(Errno::TIMEDOUT),
                locked => return locked.map(|()| Held { _fd: fd }),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_held_until_its_owner_lets_it_go() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, other) = (Dir::open(folder.path()).unwrap(), Dir::open(folder.path()).unwrap());
        let held = dir.create_held("x", b"one", 0o600).unwrap();
        assert!(other.hold("x").unwrap().is_none());
        let new = other.replace_held("x", b"two", 0o600).unwrap();
        drop(held);
        assert!(dir.hold("x").unwrap().is_none(), "the new file is locked, the old one is gone");
        drop(new);
        let held = dir.hold("x").unwrap().unwrap();
        assert!(other.hold("x").unwrap().is_none() && other.hold("y").unwrap().is_none());
        dir.remove("x").unwrap();
        drop(held);
        assert!(other.hold("x").unwrap().is_none());
        dir.make_dirs("folder").unwrap();
        assert_eq!(dir.hold("folder").err(), Some(Errno::INVAL));
        std::os::unix::fs::symlink("folder", folder.path().join("link")).unwrap();
        assert_eq!(dir.hold("link").err(), Some(Errno::LOOP));
    }

    #[test]
    fn a_turn_is_waited_for_but_not_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        assert_eq!(dir.turn(".lock", Duration::ZERO).err(), Some(Errno::NOENT));
        dir.make_turn(".lock").unwrap();
        dir.make_turn(".lock").unwrap();
        let turn = dir.turn(".lock", Duration::ZERO).unwrap();
        assert_eq!(dir.turn(".lock", Duration::from_millis(20)).err(), Some(Errno::TIMEDOUT));
        let waiting = std::thread::spawn({
            let path = folder.path().to_owned();
            move || Dir::open(&path).unwrap().turn(".lock", Duration::from_secs(10)).is_ok()
        });
        drop(turn);
        assert!(waiting.join().unwrap());
    }
}
