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
}

impl Folders {
    /// Starts to watch. Costs a system call and a listing for each folder: call it where blocking
    /// is allowed.
    pub(crate) fn watch(roots: Vec<Root>) -> io::Result<Unregistered> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        add_all(&inotify, &roots)?;
        Ok(Unregistered { roots, inotify })
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
                        // Lost events may also have been about folders.
                        let folders = ReadFlags::ISDIR | ReadFlags::QUEUE_OVERFLOW;
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
                tokio::task::spawn_blocking(move || add_all(&inotify, &roots)).await??;
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
}

impl Unregistered {
    /// Must be called within the runtime.
    pub(crate) fn register(self) -> io::Result<Folders> {
        #[expect(
            deprecated,
            reason = "its successor is an unsafe function; an OwnedFd keeps its one descriptor"
        )]
        let inotify = AsyncFd::new(self.inotify)?;
        Ok(Folders { roots: self.roots, inotify })
    }
}

/// Watches every folder that exists. Watching one again changes nothing.
fn add_all(inotify: &OwnedFd, roots: &[Root]) -> io::Result<()> {
    let mut left = MOST;
    roots.iter().try_for_each(|root| add(inotify, &root.path, root.depth, &mut left))
}

fn add(inotify: &OwnedFd, folder: &Path, depth: usize, left: &mut usize) -> io::Result<()> {
    if *left == 0 {
        return Ok(());
    }
    *left -= 1;
    match inotify::add_watch(inotify, folder, CHANGES) {
        Ok(_) => {}
        // Removed meanwhile, not a folder, or not accessible.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => return Ok(()),
        // The kernel's limit: existing watches continue.
        Err(Errno::NOSPC) => {
            *left = 0;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if *left == 0 {
            break;
        }
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            add(inotify, &entry.path(), depth - 1, left)?;
        }
    }
    Ok(())
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
}
