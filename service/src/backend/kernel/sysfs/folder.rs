//! A folder of sysfs that is held open. What is in it is opened relative to it, and read with one system
//! call for each file: a look at a large machine is made of little else.

use std::{
    ffi::OsStr,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::Path,
};

use rustix::{
    fs::{CWD, Mode, OFlags, RawDir, SeekFrom},
    io::{Errno, Result, retry_on_intr},
};

use crate::backend::host::bounded::SMALL;

/// No attribute that is read here is longer, and the kernel gives no more at once.
const ATTRIBUTE_LIMIT: usize = 4096;
/// How many bytes of names are read at once.
const NAMES: usize = 8192;

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder(OwnedFd);

/// What no other folder has at any time: the kernel numbers its folders anew, and where a file system
/// uses a number again, the time of change is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, u64),
}

impl Folder {
    /// Opens a folder, also behind symlinks, which the kernel's classes consist of.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(CWD, path, flags, Mode::empty()).map(Self)
    }

    /// A folder below it.
    pub(super) fn folder(&self, path: &str) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.0, path, flags, Mode::empty()).map(Self)
    }

    /// A whole file below it. `FBIG` if it has more than a mebibyte.
    pub(super) fn read(&self, path: &str) -> Result<Vec<u8>> {
        read(&rustix::fs::openat(&self.0, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// An attribute without its outer blanks; the kernel's `(null)` and the empty text count as
    /// missing.
    pub(super) fn attribute(&self, path: &str) -> Option<String> {
        plain(&self.read(path).ok()?)
    }

    /// The names in it, sorted; each time from the first one on.
    pub(super) fn names(&self) -> Vec<String> {
        match rustix::fs::seek(&self.0, SeekFrom::Start(0)) {
            Ok(_) => names(&self.0, usize::MAX),
            Err(_) => Vec::new(),
        }
    }

    /// The first of the few names in a folder below it.
    pub(super) fn name_in(&self, path: &str) -> Option<String> {
        let folder = self.folder(path).ok()?;
        // The kernel gives them all at once.
        names(&folder.0, 1).into_iter().next()
    }

    /// What tells it from any other folder.
    pub(super) fn identity(&self) -> Option<Identity> {
        let stat = rustix::fs::fstat(&self.0).ok()?;
        let changed = (stat.st_ctime, stat.st_ctime_nsec);
        Some(Identity { device: stat.st_dev, inode: stat.st_ino, changed })
    }
}

/// An attribute by its path.
pub(super) fn attribute(folder: &Path, name: &str) -> Option<String> {
    plain(&open(&folder.join(name)).ok()?)
}

/// The same where a missing attribute matters: `None` if it could not be read.
pub(super) fn certain(folder: &Path, name: &str) -> Option<Option<String>> {
    match open(&folder.join(name)) {
        Ok(bytes) => Some(plain(&bytes)),
        Err(Errno::NOENT) => Some(None),
        Err(_) => None,
    }
}

/// The names in a folder, sorted; none if it cannot be read.
pub(super) fn names_in(folder: &Path) -> Vec<String> {
    Folder::open(folder).map(|folder| folder.names()).unwrap_or_default()
}

fn open(path: &Path) -> Result<Vec<u8>> {
    read(&rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// The rest of a file. A read that is short has reached its end: the file systems of the kernel, and
/// those of a disk, give less for no other reason.
fn read(file: &OwnedFd) -> Result<Vec<u8>> {
    let mut whole = Vec::new();
    let mut piece = [0_u8; ATTRIBUTE_LIMIT];
    loop {
        let length = retry_on_intr(|| rustix::io::read(file, &mut piece))?;
        whole.extend_from_slice(piece.get(..length).unwrap_or_default());
        if whole.len() as u64 > SMALL {
            return Err(Errno::FBIG);
        }
        if length < piece.len() {
            return Ok(whole);
        }
    }
}

/// The names in an open folder, from as many pieces of the listing.
fn names(folder: &OwnedFd, pieces: usize) -> Vec<String> {
    let mut buffer = [const { MaybeUninit::uninit() }; NAMES];
    let mut entries = RawDir::new(folder, &mut buffer);
    let (mut names, mut seen) = (Vec::new(), 0);
    // What vanishes while it is listed ends the listing, as it ends that of the standard library.
    while seen < pieces {
        let entry = match entries.next() {
            None => break,
            Some(Err(Errno::INTR)) => continue,
            Some(Err(_)) => break,
            Some(Ok(entry)) => entry,
        };
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..")
            && let Some(name) = OsStr::from_bytes(name).to_str()
        {
            names.push(name.to_owned());
        }
        seen += usize::from(entries.is_buffer_empty());
    }
    names.sort();
    names
}

pub(super) fn plain(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.get(..bytes.len().min(ATTRIBUTE_LIMIT))?;
    // A hostile LUN may send anything as its vendor and model; the bus requires UTF-8 without NUL.
    let mut text = String::from_utf8_lossy(bytes);
    if text.contains('\0') {
        text.to_mut().retain(|c| c != '\0');
    }
    let text = text.trim();
    (!text.is_empty() && text != "(null)").then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::backend::host::atomic::Dir;

    fn put(dir: &Dir, name: &str, bytes: &[u8]) {
        dir.replace(name, bytes, 0o644).unwrap();
    }

    #[test]
    fn a_file_of_any_length_is_read_whole() {
        let root = tempfile::tempdir().unwrap();
        let (dir, folder) = (Dir::open(root.path()).unwrap(), Folder::open(root.path()).unwrap());
        for length in [0, 1, 4095, 4096, 4097, 8192, 20_000] {
            let bytes = vec![b'x'; length];
            put(&dir, "page", &bytes);
            assert_eq!(folder.read("page").unwrap(), bytes, "{length}");
        }
        put(&dir, "page", &vec![b'x'; (1 << 20) + 1]);
        assert_eq!(folder.read("page"), Err(Errno::FBIG));
        assert_eq!(folder.read("none"), Err(Errno::NOENT));
    }

    #[test]
    fn an_attribute_is_a_text_without_what_the_bus_does_not_take() {
        for (bytes, text) in [
            (&b"LIO-ORG \n"[..], Some("LIO-ORG")),
            (b"a\0b\n", Some("ab")),
            (b"\xff\n", Some("\u{fffd}")),
            (b"(null)\n", None),
            (b" \0\n", None),
            (b"", None),
        ] {
            assert_eq!(plain(bytes).as_deref(), text, "{bytes:?}");
        }
        assert_eq!(plain(&[b'x'; 5000]).map(|text| text.len()), Some(ATTRIBUTE_LIMIT));
    }

    #[test]
    fn a_missing_attribute_is_known_from_one_that_cannot_be_read() {
        let root = tempfile::tempdir().unwrap();
        put(&Dir::open(root.path()).unwrap(), "id", b"-1\n");
        assert_eq!(certain(root.path(), "id"), Some(Some("-1".to_owned())));
        assert_eq!(certain(root.path(), "none"), Some(None));
        assert_eq!(certain(&root.path().join("id"), "none"), None, "not in a folder");
        std::fs::create_dir(root.path().join("folder")).unwrap();
        assert_eq!(certain(root.path(), "folder"), None);
    }

    #[test]
    fn every_name_of_a_large_folder_is_listed() {
        let root = tempfile::tempdir().unwrap();
        let names: BTreeSet<String> =
            (0..1000).map(|number| format!("a-name-of-some-length-{number}")).collect();
        for name in &names {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        let folder = Folder::open(root.path()).unwrap();
        for _ in 0..2 {
            assert_eq!(folder.names(), Vec::from_iter(names.clone()));
        }
        assert_eq!(names_in(&root.path().join("none")), Vec::<String>::new());
        std::fs::create_dir(root.path().join("a-name-of-some-length-0/sda")).unwrap();
        assert_eq!(folder.name_in("a-name-of-some-length-0").as_deref(), Some("sda"));
        assert_eq!(folder.name_in("a-name-of-some-length-1"), None);
    }

    #[test]
    fn a_folder_that_was_made_again_is_another_one() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("3:0:0:0");
        let made = || {
            std::fs::create_dir(&path).unwrap();
            let identity = Folder::open(&path).unwrap().identity().unwrap();
            assert_eq!(Folder::open(&path).unwrap().identity(), Some(identity));
            std::fs::remove_dir(&path).unwrap();
            // The clock of a file system goes by the tick.
            std::thread::sleep(std::time::Duration::from_millis(15));
            identity
        };
        assert_ne!(made(), made());
    }
}
