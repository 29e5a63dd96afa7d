//! The journal on disk of the backups that undo interrupted changes.
//!
//! An entry is written, complete and durable, before the change that it undoes begins, and removed
//! when the change is complete or has been undone. Its owner holds a lock on the entry's file,
//! which the kernel releases with the process: an entry that can be locked belongs to a daemon that
//! is gone. A daemon that is exiting, and still answers its calls while the next one starts, keeps
//! its own.
//!
//! | room | what it is |
//! |---|---|
//! | `change` | a change with its backup: login retries, records, the initiator name, a setup of multipath |
//! | `error` | why the journal cannot be read or written |
//! | `folder` | the folder of entries, one writer at a time, and their encoding |
//! | `settle` | restores records, in a call that failed and at the start |
//!
//! Entries hold secrets: mode 0600 in a folder of mode 0700, wiped from memory, and never shown.
//! But an entry is still data from disk: names in it are validated before they become a path.

mod change;
mod error;
mod folder;
pub(crate) mod settle;

use std::path::PathBuf;

use serde::{Serialize, de::DeserializeOwned};

use self::folder::Folder;
pub(crate) use self::{
    change::{Kind, Undo},
    error::UndoError,
    folder::{FOLDER, MULTIPATH},
};
use crate::backend::host::{atomic::Held, layout::Layout};

/// The journal; one for the daemon. Every method blocks: call it where blocking is allowed.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    state: PathBuf,
}

/// An entry on disk, and the lock on it. Dropped without [`Entry::done`] it stays on disk, to be
/// undone later.
#[must_use]
pub(crate) struct Entry {
    journal: Journal,
    name: String,
    held: Option<Held>,
}

impl Journal {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self { state: layout.state.clone() }
    }

    fn path(&self) -> PathBuf {
        self.state.join(FOLDER)
    }

    /// Writes an entry, durable when this returns. Must be called before the change begins. On an
    /// error nothing is left, and nothing may be changed.
    pub(crate) fn write(&self, undo: &Undo) -> Result<Entry, UndoError> {
        self.write_in(&self.folder()?, undo)
    }

    /// Its folder, in a turn that ends when this is dropped.
    fn folder(&self) -> Result<Folder, UndoError> {
        Folder::make(&self.state)
    }

    fn write_in(&self, folder: &Folder, undo: &Undo) -> Result<Entry, UndoError> {
        let bytes = folder::encode(undo)?;
        let name = folder.next_name(undo.kind(), undo.tag())?;
        match folder.dir.create_held(&name, &bytes, 0o600) {
            Ok(held) => Ok(Entry { journal: self.clone(), name, held: Some(held) }),
            Err(error) => {
                // It may have got its name before the error. If it stayed, it would later undo
                // newer changes.
                if let Err(error) = folder.dir.remove(&name) {
                    tracing::error!(
                        entry = name, %error,
                        "cannot remove an undo entry that is not needed any more"
                    );
                }
                Err(folder.io(&name)(error))
            }
        }
    }

    /// Replaces the content of the entry, as a whole; on an error it holds either the old or the
    /// new one.
    pub(crate) fn update(&self, entry: &mut Entry, undo: &Undo) -> Result<(), UndoError> {
        let bytes = folder::encode(undo)?;
        let folder = Folder::make(&self.state)?;
        match folder.dir.replace_held(&entry.name, &bytes, 0o600) {
            Ok(held) => {
                // The new file is locked before the old one is released.
                entry.held = Some(held);
                Ok(())
            }
            Err(error) => {
                // It may have got its name before the error; in this turn no other process can have
                // locked it since.
                if let Ok(Some(held)) = folder.dir.hold(&entry.name) {
                    entry.held = Some(held);
                }
                Err(folder.io(&entry.name)(error))
            }
        }
    }

    /// The entries of daemons that are gone, the newest first: a change within a change is undone
    /// before it. An entry that cannot be read, or is of a kind that this version does not know, is
    /// logged and stays.
    pub(crate) fn left(&self) -> Result<Vec<(Entry, Undo)>, UndoError> {
        let Some(folder) = Folder::open(&self.state)? else { return Ok(Vec::new()) };
        folder.dir.remove_leftover().map_err(folder.io("."))?;
        for name in folder.foreign()? {
            tracing::warn!(file = ?name, "unknown file among the undo entries: left in place");
        }
        self.take(&folder, |_, _| true)
    }

    /// Those of one kind. They must be undone before another change of that kind begins; undone
    /// later, they would undo it too.
    pub(crate) fn left_of(&self, kind: Kind) -> Result<Vec<(Entry, Undo)>, UndoError> {
        self.left_about(kind, None)
    }

    /// Those about one subject.
    fn left_about(&self, kind: Kind, tag: Option<u64>) -> Result<Vec<(Entry, Undo)>, UndoError> {
        let Some(folder) = Folder::open(&self.state)? else { return Ok(Vec::new()) };
        self.take(&folder, |other, other_tag| other == kind && tag.is_none_or(|tag| other_tag == tag))
    }

    fn take(
        &self,
        folder: &Folder,
        is_wanted: impl Fn(Kind, u64) -> bool,
    ) -> Result<Vec<(Entry, Undo)>, UndoError> {
        let mut taken = Vec::new();
        for (kind, tag, name) in folder.names()?.into_iter().rev() {
            if !is_wanted(kind, tag) {
                continue;
            }
            let held = match folder.dir.hold(&name) {
                Ok(None) => continue,
                Ok(held) => held,
                Err(error) => {
                    tracing::warn!(entry = name, %error, "cannot open an undo entry: left in place");
                    continue;
                }
            };
            match folder.read(&name, kind) {
                Some(undo) => taken.push((Entry { journal: self.clone(), name, held }, undo)),
                None => tracing::warn!(entry = name, "cannot read an undo entry: left in place"),
            }
        }
        Ok(taken)
    }

    /// Whether login retries of any record are still to be restored, of whichever daemon.
    pub(crate) fn has_login_retries(&self) -> Result<bool, UndoError> {
        self.has_any(Kind::LoginRetries)
    }

    /// Whether there is an entry of this kind, of whichever daemon.
    fn has_any(&self, kind: Kind) -> Result<bool, UndoError> {
        let Some(folder) = Folder::open(&self.state)? else { return Ok(false) };
        Ok(folder.names()?.iter().any(|(other, ..)| *other == kind))
    }

    /// The content of entries of one kind about one subject, whether a daemon holds them or not;
    /// the oldest first.
    fn look(&self, kind: Kind, tag: u64) -> Result<Vec<Undo>, UndoError> {
        let Some(folder) = Folder::open(&self.state)? else { return Ok(Vec::new()) };
        let names = folder.names()?.into_iter().filter(|(other, about, _)| (*other, *about) == (kind, tag));
        Ok(names.filter_map(|(_, _, name)| folder.read(&name, kind)).collect())
    }

    /// Whether there is an entry whose daemon is gone; `false` if that is unknown.
    pub(crate) fn has_left_any(&self) -> bool {
        let Ok(Some(folder)) = Folder::open(&self.state) else { return false };
        let names = folder.names().unwrap_or_default();
        names.iter().any(|(_, _, name)| matches!(folder.dir.hold(name), Ok(Some(_))))
    }

    /// What was kept under this name beyond its call; `None` if nothing was.
    pub(crate) fn lasting<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, UndoError> {
        let Some(folder) = Folder::open(&self.state)? else { return Ok(None) };
        let Some(bytes) = folder.bytes(name)? else { return Ok(None) };
        let kept =
            folder::decode(&bytes).ok_or_else(|| UndoError::Unreadable(folder.dir.path().join(name)))?;
        Ok(Some(kept))
    }

    /// Keeps this until it is forgotten: [`Journal::left`] does not see it.
    pub(crate) fn keep<T: Serialize>(&self, name: &str, kept: &T) -> Result<(), UndoError> {
        let bytes = folder::encode(kept)?;
        let folder = Folder::make(&self.state)?;
        folder.dir.replace(name, &bytes, 0o600).map_err(folder.io(name))
    }

    /// Already gone is success.
    pub(crate) fn forget(&self, name: &str) -> Result<(), UndoError> {
        let Some(folder) = Folder::open(&self.state)? else { return Ok(()) };
        folder.dir.remove(name).map_err(folder.io(name))
    }
}

impl Entry {
    /// Removes the entry, durably: the change is complete, or has been undone. On an error it may
    /// still exist, and then the next call about the same subject, or the next start, undoes the
    /// change.
    pub(crate) fn done(mut self) -> Result<(), UndoError> {
        self.held.take().map_or(Ok(()), |held| {
            let removed = folder::remove(&self.journal.path(), &self.name);
            drop(held);
            removed
        })
    }

    /// The same for several, in one turn. All are tried.
    pub(crate) fn all_done(entries: Vec<Self>) -> Result<(), UndoError> {
        let Some(path) = entries.first().map(|entry| entry.journal.path()) else { return Ok(()) };
        let (mut names, mut held) = (Vec::new(), Vec::new());
        for mut entry in entries {
            if let Some(lock) = entry.held.take() {
                names.push(std::mem::take(&mut entry.name));
                held.push(lock);
            }
        }
        let removed = folder::remove_all(&path, &names);
        drop(held);
        removed
    }

    /// Releases an entry that was only read.
    fn give_back(mut self) {
        self.held = None;
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.held.is_some() {
            tracing::warn!(entry = self.name, "a change was not completed and has yet to be undone");
        }
    }
}

#[cfg(test)]
mod tests;
