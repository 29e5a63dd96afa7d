//! A directory whose files are read within bounds, and written as a whole or not at all. No symlink
//! is followed out of it, except, where that is asked for, one that only root can change.

use std::{
    ffi::OsString,
    fs::File,
    io::{Read, Write},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::ffi::OsStringExt,
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use rustix::{
    fs::{AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, RawDir, RenameFlags, SeekFrom},
    io::{Errno, Result},
};
use zeroize::Zeroizing;

use super::{links, steps::step};

/// The temporary file in which new content is prepared: one name for each directory, so that a
/// killed daemon leaves at most one such file, which the next write or start removes. The name has
/// no comma, and the file is never inside a portal's directory, where open-iscsi would take it for
/// a record.
pub(super) const TEMPORARY: &str = ".iscsi-initiatord.tmp";
/// Held while such a file is in use: of two threads, each would remove the other's.
static WRITING: Mutex<()> = Mutex::new(());

/// No folder of ours or open-iscsi's has more files than this.
const NAMES: usize = 16_384;
/// How many bytes of names are read at once.
const LISTED: usize = 8192;
/// No open-iscsi file is larger; a larger one is not read.
pub(crate) const FILE_LIMIT: u64 = 64 * 1024;

/// An open directory. Every path given to it is relative, stays beneath it and crosses no symlink but
/// those that it was opened for.
pub(crate) struct Dir {
    pub(super) fd: OwnedFd,
    path: PathBuf,
    /// Whether symlinks that only root can change are followed.
    follows: bool,
}

/// Names in a directory.
pub(crate) struct Names {
    /// Sorted.
    pub(crate) names: Vec<OsString>,
    /// Whether there are no more than these.
    pub(crate) is_all: bool,
}

impl Dir {
    /// Opens the directory. The administrator controls the path to it, which may contain symlinks.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { fd, path: path.to_owned(), follows: false })
    }

    /// The same for a directory of open-iscsi's, which follows symlinks: here those beneath it that only
    /// root can change.
    pub(crate) fn open_with_links(path: &Path) -> Result<Self> {
        Ok(Self { follows: true, ..Self::open(path)? })
    }

    /// For messages.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens what is beneath, step by step, without following symlinks. (openat2 would do it at
    /// once, but systemd blocks it for a service that must not create set-user-id files.)
    pub(super) fn beneath(&self, relative: &str, flags: OFlags) -> Result<OwnedFd> {
        let mut steps: Vec<&str> = relative.split('/').collect();
        if steps.iter().any(|step| step.is_empty() || *step == "..") {
            return Err(Errno::XDEV);
        }
        let last = steps.pop().ok_or(Errno::XDEV)?;
        let mut at = None;
        for step in steps {
            at = Some(self.step(at.as_ref().unwrap_or(&self.fd), step, OFlags::PATH | OFlags::DIRECTORY)?);
        }
        // NONBLOCK: a planted FIFO must not block us.
        self.step(at.as_ref().unwrap_or(&self.fd), last, flags | OFlags::NONBLOCK)
    }

    fn step(&self, at: &OwnedFd, step: &str, flags: OFlags) -> Result<OwnedFd> {
        match open_step(at, step, flags) {
            Err(Errno::LOOP) if self.follows => links::follow(at.as_fd(), step, flags),
            result => result,
        }
    }

    /// The folder and the name that a path stands for, beyond the symlinks that are followed.
    pub(super) fn at(&self, relative: &str) -> Result<(OwnedFd, OsString)> {
        let (parent, name) = self.parent_of(relative)?;
        self.real(parent.as_ref().unwrap_or(&self.fd).as_fd(), name)
    }

    /// The same for a name in a folder: a link that is followed stays when what it stands for is replaced.
    fn real(&self, parent: BorrowedFd<'_>, name: &str) -> Result<(OwnedFd, OsString)> {
        if self.follows {
            let entry = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
            if entry.is_ok_and(|entry| FileType::from_raw_mode(entry.st_mode) == FileType::Symlink) {
                let (at, name) = links::resolve(parent, name)?;
                // One that can be flushed.
                return Ok((open_step(&at, ".", OFlags::RDONLY | OFlags::DIRECTORY)?, name));
            }
        }
        Ok((parent.try_clone_to_owned().map_err(errno)?, OsString::from(name)))
    }

    /// The whole file, or `None` if it does not exist. `EFBIG` past the limit, `EINVAL` if it is
    /// not a regular file, `EPERM` if root does not own it: a file that another user can change is
    /// not a record.
    pub(crate) fn read(&self, relative: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.read_up_to(relative, FILE_LIMIT)
    }

    /// The same, whoever owns the file: open-iscsi, whose file it is, does not ask either.
    pub(crate) fn read_of_any_owner(&self, relative: &str) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.read_checked(relative, FILE_LIMIT, false)
    }

    /// The same with another limit.
    pub(crate) fn read_up_to(&self, relative: &str, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.read_checked(relative, limit, true)
    }

    fn read_checked(&self, relative: &str, limit: u64, is_ours: bool) -> Result<Option<Zeroizing<Vec<u8>>>> {
        let fd = match self.beneath(relative, OFlags::RDONLY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            fd => fd?,
        };
        let stat = rustix::fs::fstat(&fd)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        if is_ours && stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Errno::PERM);
        }
        // Reserved at once: a vector that grows leaves copies behind that are never wiped.
        let size = u64::try_from(stat.st_size).unwrap_or(0).min(limit.saturating_add(1));
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(size).unwrap_or(0)));
        let file = File::from(fd);
        (&file).take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(errno)?;
        if bytes.len() as u64 > limit {
            return Err(Errno::FBIG);
        }
        Ok(Some(bytes))
    }

    /// The names in a directory beneath, sorted; empty if it does not exist. More than 16384 are an
    /// error, so that no caller takes a part of them for all.
    pub(crate) fn list(&self, relative: &str) -> Result<Vec<OsString>> {
        match self.list_some(relative)? {
            Names { is_all: true, names } => Ok(names),
            Names { .. } => Err(Errno::OVERFLOW),
        }
    }

    /// The same, but of more than 16384 names only that many, and that there are more.
    pub(crate) fn list_some(&self, relative: &str) -> Result<Names> {
        let fd = match self.beneath(relative, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(Names { names: Vec::new(), is_all: true }),
            fd => fd?,
        };
        names_in(&fd)
    }

    /// The same of this directory itself.
    pub(crate) fn names(&self) -> Result<Names> {
        rustix::fs::seek(&self.fd, SeekFrom::Start(0))?;
        names_in(&self.fd)
    }

    /// A directory beneath, to be read: what is in it is found without the way there. What is written, is written
    /// from the directory that its path begins at.
    pub(crate) fn folder(&self, relative: &str) -> Result<Self> {
        let fd = self.beneath(relative, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Self { fd, path: self.path.join(relative), follows: self.follows })
    }

    /// Makes the directories of a relative path, mode 0700.
    pub(crate) fn make_dirs(&self, relative: &str) -> Result<()> {
        self.make_dirs_with(relative, 0o700)
    }

    /// The same with another mode, whatever the process's umask is. Existing directories keep
    /// theirs.
    pub(crate) fn make_dirs_with(&self, relative: &str, mode: u32) -> Result<()> {
        let mut made = String::new();
        for part in relative.split('/') {
            if !made.is_empty() {
                made.push('/');
            }
            made.push_str(part);
            // Opened first: this checks that it is a directory and not a symlink.
            match self.beneath(&made, OFlags::RDONLY | OFlags::DIRECTORY) {
                Err(Errno::NOENT) => {}
                there => {
                    there?;
                    continue;
                }
            }
            step()?;
            match rustix::fs::mkdirat(&self.fd, made.as_str(), Mode::RWXU) {
                Err(Errno::EXIST) => {}
                made => made?,
            }
            let fd = self.beneath(&made, OFlags::RDONLY | OFlags::DIRECTORY)?;
            if mode != 0o700 {
                step()?;
                rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode))?;
            }
            // A file in it is only as durable as the folder's own name.
            let (parent, _) = self.parent_of(&made)?;
            rustix::fs::fsync(parent.as_ref().unwrap_or(&self.fd))?;
        }
        Ok(())
    }

    /// Replaces the content of a file, as a whole or not at all.
    pub(crate) fn replace(&self, relative: &str, content: &[u8], mode: u32) -> Result<()> {
        self.put(relative, content, mode, RenameFlags::empty(), false).map(drop)
    }

    /// Creates a file; `EEXIST` if there is one, which stays as it is.
    pub(crate) fn create(&self, relative: &str, content: &[u8], mode: u32) -> Result<()> {
        self.put(relative, content, mode, RenameFlags::NOREPLACE, false).map(drop)
    }

    /// The folder that a path is in (`None`: this one), and its name there.
    pub(super) fn parent_of<'a>(&self, relative: &'a str) -> Result<(Option<OwnedFd>, &'a str)> {
        match relative.rsplit_once('/') {
            None => Ok((None, relative)),
            Some((parent, name)) => {
                Ok((Some(self.beneath(parent, OFlags::RDONLY | OFlags::DIRECTORY)?), name))
            }
        }
    }

    /// The new file; locked before it has its name, if it is to be held.
    #[expect(clippy::disallowed_methods, reason = "the one place that writes below /etc")]
    pub(super) fn put(
        &self,
        relative: &str,
        content: &[u8],
        mode: u32,
        how: RenameFlags,
        is_held: bool,
    ) -> Result<OwnedFd> {
        let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
        self.remove_leftover()?;
        let (parent, name) = self.at(relative)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::openat(&self.fd, TEMPORARY, flags, Mode::RUSR | Mode::WUSR)?);
        let lock = || {
            if !is_held {
                return Ok(());
            }
            rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)
        };
        let written = lock()
            .and_then(|()| (&file).write_all(content).map_err(errno))
            .and_then(|()| step())
            .and_then(|()| rustix::fs::fchmod(&file, Mode::from_raw_mode(mode)))
            .and_then(|()| rustix::fs::fsync(&file))
            .and_then(|()| step())
            .and_then(|()| rustix::fs::renameat_with(&self.fd, TEMPORARY, &parent, &name, how));
        if written.is_err() {
            self.remove_leftover()?;
        }
        written?;
        rustix::fs::fsync(&parent)?;
        Ok(file.into())
    }

    /// Removes a file or a symlink. A missing one is success.
    pub(crate) fn remove(&self, relative: &str) -> Result<()> {
        match self.unlink(relative, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            result => result,
        }
    }

    /// Removes files of this folder itself, durably once all are tried. Missing ones are success; the first error
    /// is returned.
    pub(crate) fn remove_all(&self, names: &[String]) -> Result<()> {
        let mut removed = Ok(());
        for name in names {
            // Without a file there is no step.
            let one = rustix::fs::statat(&self.fd, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)
                .and_then(|_| step())
                .and_then(|()| rustix::fs::unlinkat(&self.fd, name.as_str(), AtFlags::empty()));
            removed = removed.and(match one {
                Err(Errno::NOENT) => Ok(()),
                one => one,
            });
        }
        removed.and(rustix::fs::fsync(&self.fd))
    }

    /// Removes a directory if it is empty. A missing or a non-empty one is success.
    pub(crate) fn remove_empty_dir(&self, relative: &str) -> Result<()> {
        match self.unlink(relative, AtFlags::REMOVEDIR) {
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(()),
            Err(Errno::NOTDIR) if self.is_link_to_folder(relative)? => {
                // The link goes with the folder that it stands for, which stays where it is.
                let is_empty = self.list_some(relative)?.names.is_empty();
                if is_empty { self.remove(relative) } else { Ok(()) }
            }
            result => result,
        }
    }

    /// Whether it is a symlink that is followed, and stands for a folder.
    fn is_link_to_folder(&self, relative: &str) -> Result<bool> {
        let (parent, name) = self.parent_of(relative)?;
        let parent = parent.as_ref().unwrap_or(&self.fd);
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        Ok(is_link && self.follows && self.beneath(relative, OFlags::RDONLY | OFlags::DIRECTORY).is_ok())
    }

    fn unlink(&self, relative: &str, flags: AtFlags) -> Result<()> {
        let (parent, name) = self.parent_of(relative)?;
        let parent = parent.as_ref().unwrap_or(&self.fd);
        // Without a file there is no step.
        rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        step()?;
        rustix::fs::unlinkat(parent, name, flags)?;
        // Removals must be durable: an entry of the journal that reappeared would undo what is
        // complete.
        rustix::fs::fsync(parent)
    }

    /// Removes what a killed daemon left behind.
    pub(crate) fn remove_leftover(&self) -> Result<()> {
        self.remove(TEMPORARY)
    }
}

/// The names in an open directory, from where its listing stands. What is removed meanwhile ends the listing, as it
/// ends that of the standard library.
fn names_in(fd: &OwnedFd) -> Result<Names> {
    let mut buffer = [const { MaybeUninit::uninit() }; LISTED];
    let mut entries = RawDir::new(fd, &mut buffer);
    let (mut names, mut is_all) = (Vec::new(), true);
    loop {
        let name = match entries.next() {
            None | Some(Err(Errno::NOENT)) => break,
            Some(Err(Errno::INTR)) => continue,
            Some(entry) => entry?.file_name().to_bytes().to_vec(),
        };
        if name == b"." || name == b".." {
            continue;
        }
        if names.len() >= NAMES {
            is_all = false;
            break;
        }
        names.push(OsString::from_vec(name));
    }
    names.sort();
    Ok(Names { names, is_all })
}

/// One step. A symlink is `ELOOP`, also where the kernel reports that it is not a directory.
fn open_step(at: &OwnedFd, step: &str, flags: OFlags) -> Result<OwnedFd> {
    match rustix::fs::openat(at, step, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Err(Errno::NOTDIR) => {
            let stat = rustix::fs::statat(at, step, AtFlags::SYMLINK_NOFOLLOW)?;
            let is_symlink = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
            Err(if is_symlink { Errno::LOOP } else { Errno::NOTDIR })
        }
        result => result,
    }
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn dir() -> (tempfile::TempDir, Dir) {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        (folder, dir)
    }

    #[test]
    fn a_replaced_file_is_whole_private_and_leaves_no_temporary() {
        let (folder, dir) = dir();
        dir.make_dirs("nodes/a").unwrap();
        dir.replace("nodes/a/default", b"one", 0o600).unwrap();
        let before = std::fs::metadata(folder.path().join("nodes/a/default")).unwrap();
        dir.replace("nodes/a/default", b"two", 0o600).unwrap();
        let after = std::fs::metadata(folder.path().join("nodes/a/default")).unwrap();
        assert_ne!(before.ino(), after.ino(), "the old file must not be written into");
        assert_eq!(after.permissions().mode() & 0o7777, 0o600);
        assert_eq!(dir.read("nodes/a/default").unwrap().unwrap().as_slice(), b"two");
        assert_eq!(dir.list(".").unwrap(), ["nodes"]);
    }

    #[test]
    fn a_directory_that_is_removed_while_it_is_open_has_no_names() {
        let (folder, dir) = dir();
        dir.make_dirs("nodes/a").unwrap();
        let open = dir.folder("nodes/a").unwrap();
        std::fs::remove_dir(folder.path().join("nodes/a")).unwrap();
        let Names { names, is_all } = open.names().unwrap();
        assert!(names.is_empty() && is_all);
    }

    #[test]
    fn a_daemon_killed_at_any_step_leaves_the_old_content_or_the_new() {
        let world = || {
            let (folder, dir) = dir();
            dir.create("x", b"old", 0o600).unwrap();
            (folder, dir)
        };
        let act = |(_, dir): &(tempfile::TempDir, Dir)| dir.replace("x", b"new", 0o600);
        let steps = super::super::steps::at_every_step(world, act, |step, (folder, dir), result| {
            let content = dir.read("x").unwrap().unwrap();
            assert_eq!(content.as_slice(), if result.is_ok() { b"new" } else { b"old" }, "step {step}");
            Dir::open(folder.path()).unwrap().remove_leftover().unwrap();
            assert_eq!(dir.list(".").unwrap(), ["x"]);
        });
        assert_eq!(steps, 2, "the mode and the name");
    }

    #[test]
    fn threads_that_write_below_one_folder_do_not_mix_their_files_up() {
        let (folder, dir) = dir();
        std::thread::scope(|scope| {
            for name in ["a", "b", "c", "d"] {
                let path = folder.path();
                scope.spawn(move || {
                    let dir = Dir::open(path).unwrap();
                    for _ in 0..50 {
                        dir.replace(name, name.as_bytes(), 0o600).unwrap();
                    }
                });
            }
        });
        for name in ["a", "b", "c", "d"] {
            assert_eq!(dir.read(name).unwrap().unwrap().as_slice(), name.as_bytes());
        }
    }

    #[test]
    fn an_existing_file_is_never_created_over() {
        let (_folder, dir) = dir();
        dir.create("x", b"one", 0o600).unwrap();
        assert_eq!(dir.create("x", b"two", 0o600), Err(Errno::EXIST));
        assert_eq!(dir.read("x").unwrap().unwrap().as_slice(), b"one");
        assert_eq!(dir.list(".").unwrap(), ["x"]);
    }

    #[test]
    fn what_is_removed_is_gone_and_its_folder_only_when_empty() {
        let (folder, dir) = dir();
        dir.make_dirs("nodes/a").unwrap();
        for name in ["nodes/a/one", "nodes/a/two"] {
            dir.replace(name, b"", 0o600).unwrap();
        }
        symlink("/tmp", folder.path().join("link")).unwrap();
        assert_eq!(dir.remove("link/x"), Err(Errno::LOOP));
        for name in ["nodes/a/one", "nodes/a/one", "nodes/b/one"] {
            dir.remove(name).unwrap();
            dir.remove_empty_dir("nodes/a").unwrap();
            assert_eq!(dir.list("nodes/a").unwrap(), ["two"]);
        }
        dir.remove("nodes/a/two").unwrap();
        dir.remove_empty_dir("nodes/a").unwrap();
        dir.remove_empty_dir("nodes/a").unwrap();
        assert!(dir.list("nodes").unwrap().is_empty());
    }

    #[test]
    fn a_leftover_of_a_killed_daemon_does_not_stand_in_the_way() {
        let (folder, dir) = dir();
        std::fs::copy("/proc/self/status", folder.path().join(TEMPORARY)).unwrap();
        dir.replace("x", b"one", 0o600).unwrap();
        assert_eq!(dir.list(".").unwrap(), ["x"]);
    }

    #[test]
    fn no_symlink_and_no_way_up_is_followed() {
        let (folder, dir) = dir();
        symlink("/etc/hostname", folder.path().join("link")).unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), folder.path().join("dir")).unwrap();
        assert_eq!(dir.read("link").err(), Some(Errno::LOOP));
        assert_eq!(dir.read("dir/x").err(), Some(Errno::LOOP));
        assert_eq!(dir.read("../x").err(), Some(Errno::XDEV));
        assert_eq!(dir.read("/etc/hostname").err(), Some(Errno::XDEV));
        assert_eq!(dir.make_dirs("dir/x").err(), Some(Errno::LOOP));
        assert!(!elsewhere.path().join("x").exists());
    }

    #[test]
    fn a_fifo_and_a_huge_file_are_refused() {
        let (folder, dir) = dir();
        rustix::fs::mknodat(CWD, folder.path().join("fifo"), FileType::Fifo, Mode::RWXU, 0).unwrap();
        assert_eq!(dir.read("fifo").err(), Some(Errno::INVAL));
        dir.replace("big", &vec![b'x'; 70_000], 0o600).unwrap();
        assert_eq!(dir.read("big").err(), Some(Errno::FBIG));
        assert!(dir.read("missing").unwrap().is_none());
    }
}
