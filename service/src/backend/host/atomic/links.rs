//! Symlinks beneath a directory that are followed, since only root can change where they lead:
//! open-iscsi follows any.
//! Must not follow one through a folder in which another user can change something.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
};

use rustix::{
    fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat},
    io::{Errno, Result},
};

/// As the kernel has it for all links of a path (MAXSYMLINKS), and fewer.
const MOST_LINKS: usize = 8;
/// Steps of all these links.
const MOST_STEPS: usize = 256;
/// A folder in which any user may put files and nobody may replace another's.
const STICKY: u32 = 0o1000;
const WRITABLE: u32 = 0o022;

/// The folder and the name that a name in a folder stands for, beyond all symlinks. `ELOOP` if another
/// user can change where they lead.
pub(super) fn resolve(folder: BorrowedFd<'_>, name: &str) -> Result<(OwnedFd, OsString)> {
    let mut at = open(folder, ".")?;
    let mut steps = VecDeque::from([OsString::from(name)]);
    let (mut links, mut number) = (0, 0);
    while let Some(step) = steps.pop_front() {
        number += 1;
        if number > MOST_STEPS {
            return Err(Errno::LOOP);
        }
        if step.is_empty() || step == "." {
            continue;
        }
        let is_last = steps.iter().all(|step| step.is_empty() || step == ".");
        if step == ".." {
            at = open(at.as_fd(), "..")?;
            continue;
        }
        let entry = match rustix::fs::statat(&at, &step, AtFlags::SYMLINK_NOFOLLOW) {
            // What is not there leads nowhere.
            Err(Errno::NOENT) if is_last => return Ok((at, step)),
            entry => entry?,
        };
        if !is_roots_alone(&rustix::fs::fstat(&at)?, Some(&entry)) {
            return Err(Errno::LOOP);
        }
        match FileType::from_raw_mode(entry.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MOST_LINKS {
                    return Err(Errno::LOOP);
                }
                let target = rustix::fs::readlinkat(&at, &step, Vec::new())?.into_bytes();
                if target.starts_with(b"/") {
                    at = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY, Mode::empty())?;
                }
                for part in target.split(|byte| *byte == b'/').rev() {
                    steps.push_front(OsStr::from_bytes(part).to_owned());
                }
            }
            FileType::Directory if is_last => {
                // What is in it is changed there.
                return if is_roots_alone(&entry, None) { Ok((at, step)) } else { Err(Errno::LOOP) };
            }
            _ if is_last => return Ok((at, step)),
            _ => at = open(at.as_fd(), &step)?,
        }
    }
    Ok((at, OsString::from(".")))
}

/// Opens what a symlink stands for.
pub(super) fn follow(folder: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd> {
    let (at, name) = resolve(folder, name)?;
    rustix::fs::openat(&at, &name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

fn open(at: BorrowedFd<'_>, name: impl AsRef<OsStr>) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name.as_ref(), flags, Mode::empty())
}

/// Whether no user but root can put another entry in the place of this one, or any into the folder.
fn is_roots_alone(folder: &Stat, entry: Option<&Stat>) -> bool {
    let is_roots = |stat: &Stat| [0, rustix::process::geteuid().as_raw()].contains(&stat.st_uid);
    let is_closed = folder.st_mode & WRITABLE == 0;
    let is_kept = |entry: &Stat| folder.st_mode & STICKY != 0 && is_roots(entry);
    is_roots(folder) && (is_closed || entry.is_some_and(is_kept))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::super::{Dir, Kind};
    use super::*;

    /// A database beside folders of root's and of everybody's.
    fn world() -> (tempfile::TempDir, Dir) {
        let folder = tempfile::tempdir().unwrap();
        let all = Dir::open(folder.path()).unwrap();
        for (path, mode) in
            [("db/nodes", 0o700), ("roots/iqn.a", 0o755), ("anyones", 0o777), ("sticky", 0o1777)]
        {
            all.make_dirs(path).unwrap();
            std::fs::set_permissions(folder.path().join(path), PermissionsExt::from_mode(mode)).unwrap();
        }
        for path in ["roots/iqn.a/default", "anyones/default", "sticky/default"] {
            all.replace(path, b"one", 0o600).unwrap();
        }
        let dir = Dir::open_with_links(&folder.path().join("db")).unwrap();
        (folder, dir)
    }

    #[test]
    fn a_link_that_only_root_can_change_is_followed_to_read_and_to_write() {
        let (folder, dir) = world();
        let at = |path: &str| folder.path().join(path);
        for (number, (to, path)) in [
            (at("roots/iqn.a").display().to_string(), "default"),
            ("../../roots/iqn.a".to_owned(), "default"),
            ("../../roots/./iqn.a/../iqn.a/".to_owned(), "default"),
            ("../../roots".to_owned(), "iqn.a/default"),
            ("iqn.0".to_owned(), "default"),
        ]
        .into_iter()
        .enumerate()
        {
            symlink(to, at(&format!("db/nodes/iqn.{number}"))).unwrap();
            let record = format!("nodes/iqn.{number}/{path}");
            assert_eq!(dir.read(&record).unwrap().unwrap().as_slice(), b"one", "{record}");
            assert_eq!(dir.kind(&format!("nodes/iqn.{number}")).unwrap(), Some(Kind::Folder));
            dir.replace(&record, b"two", 0o600).unwrap();
            assert_eq!(std::fs::read(at("roots/iqn.a/default")).unwrap(), b"two");
            dir.replace(&record, b"one", 0o600).unwrap();
        }
        dir.make_dirs("nodes/iqn.b").unwrap();
        symlink(at("roots/iqn.a/default"), at("db/nodes/iqn.b/default")).unwrap();
        dir.replace("nodes/iqn.b/default", b"two", 0o600).unwrap();
        assert!(at("db/nodes/iqn.b/default").is_symlink(), "the link stays");
        assert_eq!(dir.read("nodes/iqn.a/default").unwrap(), None);
        assert_eq!(dir.read("nodes/iqn.b/default").unwrap().unwrap().as_slice(), b"two");
        // A link goes, and what it leads to stays.
        dir.remove("nodes/iqn.b/default").unwrap();
        assert_eq!(std::fs::read(at("roots/iqn.a/default")).unwrap(), b"two");
        dir.remove_empty_dir("nodes/iqn.0").unwrap();
        assert!(at("db/nodes/iqn.0").is_symlink(), "it is not empty");
        dir.replace("nodes/file", b"", 0o600).unwrap();
        symlink(at("roots/iqn.a/default"), at("db/nodes/to-file")).unwrap();
        for file in ["nodes/file", "nodes/to-file"] {
            assert_eq!(dir.remove_empty_dir(file), Err(Errno::NOTDIR));
            assert!(at(&format!("db/{file}")).exists());
        }
        std::fs::remove_file(at("roots/iqn.a/default")).unwrap();
        dir.remove_empty_dir("nodes/iqn.0").unwrap();
        assert!(!at("db/nodes/iqn.0").is_symlink() && at("roots/iqn.a").is_dir());
    }

    #[test]
    fn a_link_that_another_user_can_change_is_not_followed() {
        let (folder, dir) = world();
        let at = |path: &str| folder.path().join(path);
        symlink(at("roots/iqn.a"), at("anyones/link")).unwrap();
        for (number, to) in ["anyones", "anyones/default", "anyones/link", "sticky"].into_iter().enumerate() {
            let link = format!("nodes/iqn.{number}");
            symlink(at(to), at(&format!("db/{link}"))).unwrap();
            assert_eq!(dir.read(&link).err(), Some(Errno::LOOP), "{to}");
            assert_eq!(dir.read(&format!("{link}/default")).err(), Some(Errno::LOOP), "{to}");
            assert_eq!(dir.replace(&format!("{link}/new"), b"", 0o600).err(), Some(Errno::LOOP), "{to}");
            assert_eq!(dir.kind(&link).unwrap(), Some(Kind::Symlink), "{to}");
        }
        // Where any user may put files, root's own stay.
        symlink(at("sticky/default"), at("db/nodes/sticky")).unwrap();
        assert!(dir.read("nodes/sticky").unwrap().is_some());
        let [sticky, own] = ["sticky", "sticky/default"].map(|path| rustix::fs::stat(at(path)).unwrap());
        let mut anothers = own;
        anothers.st_uid += 1;
        assert!(is_roots_alone(&sticky, Some(&own)) && !is_roots_alone(&sticky, Some(&anothers)));
        // Only root can make it so.
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(at("sticky/default"), Some(1000), None).unwrap();
            assert_eq!(dir.read("nodes/sticky").err(), Some(Errno::LOOP));
        }
    }

    #[test]
    fn links_in_a_circle_and_into_nothing_end() {
        let (folder, dir) = world();
        symlink("b", folder.path().join("db/a")).unwrap();
        symlink("a", folder.path().join("db/b")).unwrap();
        symlink("nothing", folder.path().join("db/c")).unwrap();
        symlink("nothing/below", folder.path().join("db/d")).unwrap();
        assert_eq!(dir.read("a").err(), Some(Errno::LOOP));
        assert_eq!((dir.read("c").unwrap(), dir.read("d").unwrap()), (None, None));
        // Where nobody asked for links, none is followed.
        let strict = Dir::open(&folder.path().join("db")).unwrap();
        symlink("../roots/iqn.a/default", folder.path().join("db/e")).unwrap();
        assert!(dir.read("e").unwrap().is_some());
        assert_eq!(strict.read("e").err(), Some(Errno::LOOP));
    }
}
