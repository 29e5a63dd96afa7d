//! The permissions of what is below an open-iscsi directory, and taking them away from all users
//! but root.
//! Must not widen a mode, follow a symlink, or change a file that root does not own.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::{
    fs::{AtFlags, FileType, Mode, OFlags},
    io::{Errno, Result},
};

use super::{
    dir::{Dir, TEMPORARY},
    steps::step,
};

/// The kind of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    Symlink,
    /// A device, a FIFO, a socket.
    Other,
}

/// The state of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Modes {
    pub(crate) kind: Kind,
    /// The permissions alone.
    pub(crate) mode: u32,
    pub(crate) is_roots: bool,
    /// How long ago it was written; `None` if the clock has been set since.
    pub(crate) age: Option<Duration>,
}

impl Modes {
    fn new(stat: &rustix::fs::Stat) -> Self {
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File,
            FileType::Directory => Kind::Folder,
            FileType::Symlink => Kind::Symlink,
            _ => Kind::Other,
        };
        let written = u64::try_from(stat.st_mtime).ok().map(|s| UNIX_EPOCH + Duration::from_secs(s));
        Self {
            kind,
            mode: stat.st_mode & 0o7777,
            is_roots: stat.st_uid == rustix::process::geteuid().as_raw(),
            age: written.and_then(|written| SystemTime::now().duration_since(written).ok()),
        }
    }
}

impl Dir {
    /// What is beneath, without following a final symlink; `None` if there is nothing.
    pub(crate) fn modes(&self, relative: &str) -> Result<Option<Modes>> {
        let stat = match relative.rsplit_once('/') {
            None => rustix::fs::statat(&self.fd, relative, AtFlags::SYMLINK_NOFOLLOW),
            Some((parent, name)) => self
                .beneath(parent, OFlags::RDONLY | OFlags::DIRECTORY)
                .and_then(|parent| rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)),
        };
        match stat {
            Err(Errno::NOENT) => Ok(None),
            stat => stat.map(|stat| Some(Modes::new(&stat))),
        }
    }

    /// The same beyond a final symlink, if it is followed.
    pub(crate) fn modes_beyond(&self, relative: &str) -> Result<Option<Modes>> {
        match self.modes(relative)? {
            Some(modes) if modes.kind == Kind::Symlink => {}
            modes => return Ok(modes),
        }
        let stat = self
            .at(relative)
            .and_then(|(at, name)| rustix::fs::statat(&at, &name, AtFlags::SYMLINK_NOFOLLOW));
        match stat {
            // As it is: a link that leads nowhere, or is not followed.
            Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR) => self.modes(relative),
            stat => stat.map(|stat| Some(Modes::new(&stat))),
        }
    }

    /// What is beneath, also beyond a symlink that is followed; `None` if there is nothing.
    pub(crate) fn kind(&self, relative: &str) -> Result<Option<Kind>> {
        Ok(self.modes_beyond(relative)?.map(|modes| modes.kind))
    }

    /// Takes from a file or folder owned by root the permissions that this mode does not have. It
    /// works on the descriptor, so what was examined is what is changed. `ELOOP` for a symlink,
    /// `EPERM` for another owner, `EINVAL` for other kinds of files, and for a file with a second
    /// name, which may be in a place where other users should read it.
    pub(crate) fn narrow(&self, relative: &str, mode: u32) -> Result<()> {
        let fd = self.beneath(relative, OFlags::RDONLY)?;
        let stat = rustix::fs::fstat(&fd)?;
        let modes = Modes::new(&stat);
        if !modes.is_roots {
            return Err(Errno::PERM);
        }
        match modes.kind {
            Kind::File if stat.st_nlink == 1 => {}
            Kind::Folder => {}
            _ => return Err(Errno::INVAL),
        }
        step()?;
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(modes.mode & mode))
    }

    /// What a killed daemon left behind, and how long ago.
    pub(crate) fn leftover(&self) -> Result<Option<(&'static str, Modes)>> {
        Ok(self.modes(TEMPORARY)?.map(|modes| (TEMPORARY, modes)))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn mode(path: &std::path::Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_mode_only_gets_narrower() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        dir.make_dirs_with("nodes", 0o755).unwrap();
        for (before, after) in [(0o644, 0o600), (0o440, 0o400), (0o600, 0o600), (0o4755, 0o600)] {
            dir.replace("nodes/a", b"", before).unwrap();
            dir.narrow("nodes/a", 0o600).unwrap();
            assert_eq!(mode(&folder.path().join("nodes/a")), after, "{before:o}");
        }
        dir.narrow("nodes", 0o700).unwrap();
        assert_eq!(dir.modes("nodes").unwrap().map(|m| (m.kind, m.mode)), Some((Kind::Folder, 0o700)));
        assert_eq!(dir.modes("nodes/b").unwrap(), None);
        assert_eq!(dir.modes("none/b").unwrap(), None);
    }

    #[test]
    fn what_is_a_link_or_has_a_second_name_stays() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        dir.replace("real", b"", 0o644).unwrap();
        symlink("real", folder.path().join("link")).unwrap();
        symlink(".", folder.path().join("folder")).unwrap();
        assert_eq!(dir.narrow("link", 0o600), Err(Errno::LOOP));
        assert_eq!(dir.narrow("folder/real", 0o600), Err(Errno::LOOP));
        assert_eq!(dir.narrow("../real", 0o600), Err(Errno::XDEV));
        assert_eq!(dir.modes("link").unwrap().map(|modes| modes.kind), Some(Kind::Symlink));
        std::fs::hard_link(folder.path().join("real"), folder.path().join("second")).unwrap();
        assert_eq!(dir.narrow("real", 0o600), Err(Errno::INVAL));
        assert_eq!(mode(&folder.path().join("real")), 0o644);
    }

    #[test]
    fn what_a_killed_daemon_left_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        assert_eq!(dir.leftover().unwrap(), None);
        std::fs::copy("/proc/self/status", folder.path().join(TEMPORARY)).unwrap();
        assert_eq!(dir.leftover().unwrap().map(|(name, _)| name), Some(TEMPORARY));
    }
}
