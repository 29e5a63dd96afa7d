//! The folder of undo entries: one writer at a time, their names, and their encoding.

use std::{ffi::OsString, io::Write, path::Path, time::Duration};

use rustix::io::Errno;
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::{
    change::{Kind as EntryKind, Undo},
    error::{LIMIT, UndoError, at},
};
use crate::backend::host::atomic::{Dir, Held, Kind};

/// Beneath the daemon's state.
pub(crate) const FOLDER: &str = "undo";
/// The backup for undoing a complete multipath setup: permanent, and so not an entry.
pub(crate) const MULTIPATH: &str = "multipath.json";
/// Locked while the folder is read or written, between processes and between threads.
const TURN: &str = ".lock";
/// A turn takes milliseconds.
const LONGEST: Duration = Duration::from_secs(5);

/// The folder, while its lock is held.
pub(super) struct Folder {
    pub(super) dir: Dir,
    /// Where the lock file does not exist, nothing has been written.
    _turn: Option<Held>,
}

impl Folder {
    /// `None` if there is none yet. Changes nothing.
    pub(super) fn open(state: &Path) -> Result<Option<Self>, UndoError> {
        let path = state.join(FOLDER);
        let state = match Dir::open(state) {
            Err(Errno::NOENT) => return Ok(None),
            state => state.map_err(at(&path))?,
        };
        match state.modes(FOLDER).map_err(at(&path))? {
            None => return Ok(None),
            Some(modes) if modes.kind != Kind::Folder => return Err(at(&path)(Errno::NOTDIR)),
            // If another user owns the folder, that user can put anything into it.
            Some(modes) if !modes.is_roots => return Err(at(&path)(Errno::PERM)),
            Some(_) => {}
        }
        let dir = Dir::open(&path).map_err(at(&path))?;
        let turn = match dir.turn(TURN, LONGEST) {
            Err(Errno::NOENT) => None,
            turn => Some(turn.map_err(at(&path))?),
        };
        Ok(Some(Self { dir, _turn: turn }))
    }

    /// Creates it first if it is missing.
    pub(super) fn make(state: &Path) -> Result<Self, UndoError> {
        let path = state.join(FOLDER);
        let made =
            std::fs::create_dir_all(state).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let closed = || {
            let dir = Dir::open(state)?;
            dir.make_dirs(FOLDER)?;
            if dir.modes(FOLDER)?.is_some_and(|modes| modes.is_roots && modes.mode & 0o077 != 0) {
                dir.narrow(FOLDER, 0o700)?;
            }
            Dir::open(&path)?.make_turn(TURN)
        };
        made.and_then(|()| closed()).map_err(at(&path))?;
        Self::open(state)?.ok_or_else(|| at(&path)(Errno::NOENT))
    }

    pub(super) fn io(&self, name: &str) -> impl FnOnce(Errno) -> UndoError + use<> {
        let path = self.dir.path().join(name);
        move |error| UndoError::Io { path, error }
    }

    fn list(&self) -> Result<Vec<OsString>, UndoError> {
        self.dir.list(".").map_err(self.io("."))
    }

    /// The entries, the oldest first.
    pub(super) fn names(&self) -> Result<Vec<(EntryKind, u64, String)>, UndoError> {
        let names = self.list()?;
        let mut entries: Vec<_> = names.iter().filter_map(|name| parse(name.to_str()?)).collect();
        entries.sort_by_key(|(number, ..)| *number);
        let named = |(number, kind, tag)| (kind, tag, name(number, kind, tag));
        Ok(entries.into_iter().map(named).collect())
    }

    /// Files that are neither an entry nor the folder's own.
    pub(super) fn foreign(&self) -> Result<Vec<OsString>, UndoError> {
        let mut names = self.list()?;
        names.retain(|name| {
            name.to_str().is_none_or(|name| name != TURN && name != MULTIPATH && parse(name).is_none())
        });
        Ok(names)
    }

    /// After all others: the order of the entries is that of the changes, whatever the clock does.
    pub(super) fn next_name(&self, kind: EntryKind, tag: u64) -> Result<String, UndoError> {
        let names = self.list()?;
        let numbers = names.iter().filter_map(|name| name.to_str()?.split('.').next()?.parse::<u32>().ok());
        let next = numbers.max().unwrap_or(0).checked_add(1).ok_or(Errno::OVERFLOW);
        Ok(name(next.map_err(self.io("."))?, kind, tag))
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, UndoError> {
        self.dir.read_up_to(name, LIMIT).map_err(self.io(name))
    }

    /// `None` if it cannot be parsed as an entry of this kind.
    pub(super) fn read(&self, name: &str, kind: EntryKind) -> Option<Undo> {
        let bytes = self.bytes(name).ok()??;
        decode(&bytes).filter(|undo: &Undo| undo.kind() == kind)
    }
}

/// Removes an entry whose lock is held. Needs no turn, since no other process may touch it. Already
/// gone is success.
pub(super) fn remove(folder: &Path, name: &str) -> Result<(), UndoError> {
    match Dir::open(folder) {
        Err(Errno::NOENT) => Ok(()),
        dir => dir.and_then(|dir| dir.remove(name)).map_err(at(&folder.join(name))),
    }
}

/// The same for several.
pub(super) fn remove_all(folder: &Path, names: &[String]) -> Result<(), UndoError> {
    match Dir::open(folder) {
        Err(Errno::NOENT) => Ok(()),
        dir => dir.and_then(|dir| dir.remove_all(names)).map_err(at(folder)),
    }
}

fn name(number: u32, kind: EntryKind, tag: u64) -> String {
    format!("{number:010}.{}.{tag:016x}.json", kind.as_str())
}

fn parse(text: &str) -> Option<(u32, EntryKind, u64)> {
    let mut parts = text.split('.');
    let (number, kind, tag) = (parts.next()?, parts.next()?, parts.next()?);
    let kind = EntryKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
    let parsed = (number.parse().ok()?, kind, u64::from_str_radix(tag, 16).ok()?);
    (name(parsed.0, parsed.1, parsed.2) == text).then_some(parsed)
}

/// Counts what is written to it.
struct Counter(u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.saturating_add(bytes.len() as u64);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Measured first and reserved at once: a vector that grows leaves copies behind that are never
/// wiped.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Zeroizing<Vec<u8>>, UndoError> {
    encode_within(value, LIMIT)
}

fn encode_within<T: Serialize>(value: &T, limit: u64) -> Result<Zeroizing<Vec<u8>>, UndoError> {
    let mut counter = Counter(0);
    serde_json::to_writer(&mut counter, value).map_err(|_| UndoError::TooLarge)?;
    if counter.0 > limit {
        return Err(UndoError::TooLarge);
    }
    let size = usize::try_from(counter.0).map_err(|_| UndoError::TooLarge)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(size));
    serde_json::to_writer(&mut *bytes, value).map_err(|_| UndoError::TooLarge)?;
    Ok(bytes)
}

/// The error of serde_json is not shown, because it repeats the input.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_large_is_refused_and_what_is_not_is_reserved_at_once() {
        let text = "x".repeat(1000);
        assert!(matches!(encode_within(&text, 1001), Err(UndoError::TooLarge)));
        let bytes = encode_within(&text, 1002).unwrap();
        assert_eq!((bytes.len(), bytes.capacity()), (1002, 1002));
        assert_eq!(decode::<String>(&bytes), Some(text));
    }

    #[test]
    fn a_name_that_is_not_written_as_ours_is_no_entry() {
        let name = name(7, EntryKind::Records, 0xab);
        assert_eq!(name, "0000000007.records.00000000000000ab.json");
        assert_eq!(parse(&name), Some((7, EntryKind::Records, 0xab)));
        for bad in [
            "7.records.00000000000000ab.json",
            "0000000007.portals.00000000000000ab.json",
            "",
            "x",
            "0000000007.records.00000000000000AB.json",
            "0000000007.records.00000000000000ab.json.x",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
