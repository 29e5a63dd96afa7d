//! Watches files below some folders for changes, as a trigger to read them again.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags},
    io::Errno,
};
use tokio::io::unix::AsyncFd;

/// No more folders than this are watched; the kernel has its own limit
/// (`fs.inotify.max_user_watches`).
const MOST: usize = 16_384;

/// A file that is written through a temporary one arrives by a rename.
const CHANGES: WatchFlags = WatchFlags::CLOSE_WRITE
    .union(WatchFlags::CREATE)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR)
    .union(WatchFlags::DONT_FOLLOW);

/// A folder to watch, and how many levels of folders below it.
#[derive(Clone, Debug)]
pub(crate) struct Root {
    pub(crate) path: PathBuf,
    pub(crate) depth: usize,
}

/// The watched folders. A folder that appears below a root is watched too; a missing root is not.
pub(crate) struct Folders {
    roots: Vec<Root>,
    inotify: AsyncFd<OwnedFd>,
    is_whole: bool,
}

impl Folders {
    /// Starts to watch. Costs a system call and a listing for each folder: call it where blocking
    /// is allowed.
    pub(crate) fn watch(roots: Vec<Root>) -> io::Result<Unregistered> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let is_whole = add_all(&inotify, &roots)?;
        Ok(Unregistered { roots, inotify, is_whole })
    }

    /// Whether every change below the roots is seen. Not so where a limit was reached, a folder cannot be watched, or a
    /// root is missing that does not lie in another one.
    pub(crate) fn are_whole(&self) -> bool {
        self.is_whole
    }

    /// Waits until something changed, and consumes all events. An error is final.
    pub(crate) async fn changed(&mut self) -> io::Result<()> {
        loop {
            let mut ready = self.inotify.readable().await?;
            let mut buffer = [const { MaybeUninit::uninit() }; 4096];
            let mut reader = inotify::Reader::new(self.inotify.get_ref(), &mut buffer);
            let (mut seen, mut has_new_folder) = (false, false);
            loop {
                match reader.next() {
                    Ok(event) => {
                        seen = true;
                        // Lost events may also have been about folders, and a root may be gone, or elsewhere.
                        let is_elsewhere = ReadFlags::IGNORED | ReadFlags::MOVE_SELF;
                        let folders = ReadFlags::ISDIR | ReadFlags::QUEUE_OVERFLOW | is_elsewhere;
                        has_new_folder |= event.events().intersects(folders);
                    }
                    Err(Errno::AGAIN) => break,
                    Err(error) => return Err(error.into()),
                }
            }
            ready.clear_ready();
            if has_new_folder {
                // Thousands of folders may have appeared: not on the thread that answers calls.
                let (inotify, roots) = (self.inotify.get_ref().try_clone()?, self.roots.clone());
                self.is_whole = tokio::task::spawn_blocking(move || add_all(&inotify, &roots)).await??;
            }
            if seen {
                return Ok(());
            }
        }
    }
}

/// The watches, before they are registered with the runtime.
pub(crate) struct Unregistered {
    roots: Vec<Root>,
    inotify: OwnedFd,
    is_whole: bool,
}

impl Unregistered {
    /// Must be called within the runtime.
    pub(crate) fn register(self) -> io::Result<Folders> {
        #[expect(
            deprecated,
            reason = "its successor is an unsafe function; an OwnedFd keeps its one descriptor"
        )]
        let inotify = AsyncFd::new(self.inotify)?;
        Ok(Folders { roots: self.roots, inotify, is_whole: self.is_whole })
    }
}

/// What became of a folder and those below it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Added {
    /// All of it is watched.
    Whole,
    /// It is not there.
    Missing,
    /// Not all of it can be watched.
    Partly,
}

/// Watches every folder that exists. Watching one again changes nothing. Whether no change can be missed.
fn add_all(inotify: &OwnedFd, roots: &[Root]) -> io::Result<bool> {
    let (mut left, mut added) = (MOST, Vec::new());
    for root in roots {
        added.push((root, add(inotify, &root.path, root.depth, &mut left)?));
    }
    let appears_in_another = |missing: &Root| {
        let parent = missing.path.parent();
        added.iter().any(|(root, added)| *added == Added::Whole && parent == Some(root.path.as_path()))
    };
    Ok(added.iter().all(|(root, added)| match added {
        Added::Whole => true,
        Added::Missing => appears_in_another(root),
        Added::Partly => false,
    }))
}

fn add(inotify: &OwnedFd, folder: &Path, depth: usize, left: &mut usize) -> io::Result<Added> {
    if *left == 0 {
        return Ok(Added::Partly);
    }
    *left -= 1;
    match inotify::add_watch(inotify, folder, CHANGES) {
        Ok(_) => {}
        // For one below a root: removed meanwhile.
        Err(Errno::NOENT) => return Ok(Added::Missing),
        Err(Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => return Ok(Added::Partly),
        // The kernel's limit: existing watches continue.
        Err(Errno::NOSPC) => {
            *left = 0;
            return Ok(Added::Partly);
        }
        Err(error) => return Err(error.into()),
    }
    if depth == 0 {
        return Ok(Added::Whole);
    }
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(Added::Partly) };
    let mut is_whole = true;
    for entry in entries {
        let Ok(entry) = entry else { return Ok(Added::Partly) };
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            is_whole &= add(inotify, &entry.path(), depth - 1, left)? != Added::Partly;
        }
        if *left == 0 {
            break;
        }
    }
    Ok(if is_whole { Added::Whole } else { Added::Partly })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::host::atomic::Dir;

    async fn has_changed(folders: &mut Folders) -> bool {
        tokio::time::timeout(Duration::from_millis(200), folders.changed())
            .await
            .is_ok_and(|seen| seen.is_ok())
    }

    #[tokio::test]
    async fn a_change_is_seen_also_in_a_folder_that_was_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        dir.make_dirs("nodes/a").unwrap();
        let roots = vec![
            Root { path: folder.path().join("nodes"), depth: 2 },
            Root { path: folder.path().join("none"), depth: 2 },
        ];
        let mut folders = Folders::watch(roots).unwrap().register().unwrap();
        assert!(!has_changed(&mut folders).await);
        assert!(!folders.are_whole(), "one that is missing would not be seen to appear");
        dir.replace("nodes/a/x", b"1", 0o600).unwrap();
        assert!(has_changed(&mut folders).await);
        dir.make_dirs("nodes/b/c").unwrap();
        assert!(has_changed(&mut folders).await);
        while has_changed(&mut folders).await {}
        dir.replace("nodes/b/c/x", b"1", 0o600).unwrap();
        assert!(has_changed(&mut folders).await, "the new folders are watched");
        // A write is more than one event.
        while has_changed(&mut folders).await {}
        dir.replace("x", b"1", 0o600).unwrap();
        assert!(!has_changed(&mut folders).await, "what lies beside them is not");
        dir.remove("nodes/a/x").unwrap();
        assert!(has_changed(&mut folders).await);
    }

    #[tokio::test]
    async fn all_of_it_is_watched_although_a_folder_that_appears_in_another_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let root = |name: &str, depth| Root { path: folder.path().join(name), depth };
        let roots = vec![root("", 0), root("nodes", 2)];
        let mut folders = Folders::watch(roots).unwrap().register().unwrap();
        assert!(folders.are_whole());
        let dir = Dir::open(folder.path()).unwrap();
        dir.make_dirs("nodes/a").unwrap();
        assert!(has_changed(&mut folders).await && folders.are_whole());
        while has_changed(&mut folders).await {}
        dir.replace("nodes/a/x", b"1", 0o600).unwrap();
        assert!(has_changed(&mut folders).await, "what appeared is watched");
        // A root that is gone would not be seen to appear again.
        std::fs::create_dir(folder.path().join("root")).unwrap();
        let mut folders = Folders::watch(vec![root("root", 2)]).unwrap().register().unwrap();
        assert!(folders.are_whole());
        std::fs::remove_dir(folder.path().join("root")).unwrap();
        assert!(has_changed(&mut folders).await && !folders.are_whole());
        // What a link leads to is not watched.
        std::os::unix::fs::symlink("nodes", folder.path().join("other")).unwrap();
        let roots = vec![root("", 0), root("other", 2)];
        assert!(!Folders::watch(roots).unwrap().register().unwrap().are_whole());
    }
}
