//! The files of a machine, below one folder. Each appears and changes as a whole, as in the kernel's file systems.
//! Must not write outside its temporary directory.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// All that can be seen of a tree: each path with its mode, its time of change and its content.
pub type Picture = BTreeMap<PathBuf, (u32, (i64, i64), Vec<u8>)>;

/// Two folders: the machine's root, and one where things are made before they are moved there.
#[derive(Debug)]
pub(super) struct Files {
    folder: tempfile::TempDir,
    count: AtomicU64,
}

/// What a folder holds that is made at once.
pub(super) enum Entry<'a> {
    Text(&'a str, String),
    Folder(&'a str),
    Link(&'a str, PathBuf),
}

impl Files {
    pub(super) fn new() -> Self {
        // In memory, where that can be had: the daemon waits for the disk at every write.
        let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let files = Self { folder, count: AtomicU64::new(0) };
        for name in ["root", "spare"] {
            fs::create_dir(files.folder.path().join(name)).unwrap();
        }
        files
    }

    pub(super) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    pub(super) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    fn spare(&self) -> PathBuf {
        self.folder.path().join(format!("spare/{}", self.count.fetch_add(1, Ordering::Relaxed)))
    }

    /// Whether this process, or one that it has started, has one of these files open: as the daemon's claims on devices
    /// are. All are looked for at once: a process that runs several tests has hundreds of files open.
    pub(super) fn is_any_open(&self, paths: impl Iterator<Item = String>) -> bool {
        let paths: BTreeSet<PathBuf> = paths.filter_map(|path| self.at(path).canonicalize().ok()).collect();
        let mut processes = vec!["self".to_owned()];
        for task in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            processes.extend(children.split_whitespace().map(str::to_owned));
        }
        let opened = |process: &String| {
            let files = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
            files.filter_map(|file| fs::read_link(file.path()).ok()).any(|file| paths.contains(&file))
        };
        !paths.is_empty() && processes.iter().any(opened)
    }

    pub(super) fn put(&self, path: &str, text: &str, mode: u32) {
        let (path, spare) = (self.at(path), self.spare());
        make_parent(&path);
        write(&spare, text);
        fs::set_permissions(&spare, fs::Permissions::from_mode(mode)).unwrap();
        move_to(&spare, &path);
    }

    /// A symlink, in the place of one that is there.
    pub(super) fn link(&self, path: &str, to: impl AsRef<Path>) {
        let (path, spare) = (self.at(path), self.spare());
        make_parent(&path);
        symlink(to, &spare).unwrap();
        move_to(&spare, &path);
    }

    /// A folder with all that is in it.
    pub(super) fn folder(&self, path: &str, entries: &[Entry<'_>]) {
        let (path, spare) = (self.at(path), self.spare());
        make_parent(&path);
        fs::create_dir(&spare).unwrap();
        for entry in entries {
            match entry {
                Entry::Text(name, text) => {
                    make_parent(&spare.join(name));
                    write(&spare.join(name), &format!("{text}\n"));
                }
                Entry::Folder(name) => fs::create_dir_all(spare.join(name)).unwrap(),
                Entry::Link(name, to) => symlink(to, spare.join(name)).unwrap(),
            }
        }
        move_to(&spare, &path);
    }

    /// Removes a file, a link or a folder, if it is there.
    pub(super) fn remove(&self, path: &str) {
        let (path, spare) = (self.at(path), self.spare());
        #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
        if fs::rename(path, &spare).is_ok() {
            let is_folder = fs::symlink_metadata(&spare).unwrap().is_dir();
            if is_folder { fs::remove_dir_all(&spare) } else { fs::remove_file(&spare) }.unwrap();
        }
    }

    /// The names in a folder; none if it is not there.
    pub(super) fn list(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.at(path)).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    }

    pub(super) fn text(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.at(path)).ok()
    }

    pub(super) fn picture_of(&self, part: &str) -> Picture {
        let mut picture = Picture::new();
        look(&self.at(part), &mut picture);
        picture
    }
}

#[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

#[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
fn move_to(from: &Path, to: &Path) {
    fs::rename(from, to).unwrap_or_else(|error| panic!("{}: {error}", to.display()));
}

/// As open-iscsi makes them.
fn make_parent(path: &Path) {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path.parent().unwrap()).unwrap();
}

fn look(path: &Path, picture: &mut Picture) {
    let stat = fs::symlink_metadata(path).unwrap();
    let content = if stat.is_file() {
        fs::read(path).unwrap()
    } else if stat.is_symlink() {
        fs::read_link(path).unwrap().into_os_string().into_encoded_bytes()
    } else {
        Vec::new()
    };
    picture.insert(path.to_owned(), (stat.mode(), (stat.mtime(), stat.mtime_nsec()), content));
    if stat.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            look(&entry.unwrap().path(), picture);
        }
    }
}
