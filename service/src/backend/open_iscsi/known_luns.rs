//! The identifier of each LUN's disk, as it was at the last login, and which targets were accepted to
//! lead to the same disk; also after a restart.
//! Must not override what the kernel shows for a session that is up.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result};
use rustix::io::Errno;
use serde::{Serialize, de::DeserializeOwned};

use crate::backend::host::atomic::Dir;

/// Beneath the daemon's state.
const FOLDER: &str = "luns";
const SHARED: &str = "shared-luns";
/// Longer texts are not identifiers (SPC-4 allows at most 255 bytes for a designator).
const LONGEST: usize = 512;
/// The most LUNs of a target that are stored; further ones are not compared.
const MOST: usize = 512;

/// LUN and identifier (`naa.…`, `t10.…`).
pub(crate) type Wwids = BTreeMap<u64, String>;

/// An identifier, and the other targets that were accepted to lead to the disk that has it.
pub(crate) type Shared = BTreeMap<String, BTreeSet<String>>;

/// What is stored of a target, as it lies there; `None` where nothing is.
#[derive(Debug)]
pub(crate) struct Stored([Option<Vec<u8>>; 2]);

/// The store, with a file for each target.
#[derive(Clone, Debug)]
pub(crate) struct KnownLuns {
    state: PathBuf,
}

impl KnownLuns {
    pub(crate) fn new(state: &std::path::Path) -> Self {
        Self { state: state.to_owned() }
    }

    /// The stored LUNs of a target; empty if there are none, or if they cannot be read: they are
    /// learned again then.
    pub(crate) fn of(&self, target: &Iqn) -> Result<Wwids> {
        self.read(FOLDER, target)
    }

    /// The targets that were accepted to lead to the same disks as this one; none if that cannot be
    /// read: it is asked for again then.
    pub(crate) fn shared_of(&self, target: &Iqn) -> Result<Shared> {
        self.read(SHARED, target)
    }

    /// Those of every target, as far as they can be read.
    pub(crate) fn all(&self) -> Vec<(Iqn, Wwids)> {
        let names = Dir::open(&self.state).and_then(|dir| dir.list_some(FOLDER)).map(|names| names.names);
        let target = |name: std::ffi::OsString| name.to_str()?.parse::<Iqn>().ok();
        let targets = names.unwrap_or_default().into_iter().filter_map(target);
        targets.filter_map(|target| Some((target.clone(), self.of(&target).ok()?))).collect()
    }

    /// Stores these LUNs, replacing the previous ones.
    pub(crate) fn remember(&self, target: &Iqn, wwids: &Wwids) -> Result<()> {
        let fit = wwids.iter().filter(|(_, wwid)| wwid.len() <= LONGEST).take(MOST);
        self.write(FOLDER, target, &fit.collect::<BTreeMap<_, _>>())
    }

    /// Stores what was accepted, beside what was accepted before.
    pub(crate) fn accept_shared(&self, target: &Iqn, accepted: &Shared) -> Result<()> {
        let mut shared = accepted.clone();
        for (wwid, targets) in self.shared_of(target)? {
            shared.entry(wwid).or_default().extend(targets);
        }
        let fit = shared.iter().filter(|(wwid, targets)| wwid.len() <= LONGEST && targets.len() <= MOST);
        self.write(SHARED, target, &fit.take(MOST).collect::<BTreeMap<_, _>>())
    }

    /// What is stored of the target, for a call that may have to put it back.
    pub(crate) fn back_up(&self, target: &Iqn) -> Result<Stored> {
        let dir = match Dir::open(&self.state) {
            Err(Errno::NOENT) => return Ok(Stored([None, None])),
            dir => dir.map_err(|error| self.fault(error))?,
        };
        let read = |folder| dir.read(&file(folder, target)).map(|bytes| bytes.map(|bytes| bytes.to_vec()));
        let both = read(FOLDER).and_then(|luns| Ok(Stored([luns, read(SHARED)?])));
        both.map_err(|error| self.fault(error))
    }

    /// Puts that back.
    pub(crate) fn put_back(&self, target: &Iqn, Stored(both): &Stored) -> Result<()> {
        let put_back = |dir: Dir| {
            for (folder, bytes) in [FOLDER, SHARED].into_iter().zip(both) {
                let path = file(folder, target);
                match bytes {
                    Some(bytes) => dir.replace(&path, bytes, 0o600)?,
                    None => dir.remove(&path)?,
                }
            }
            Ok(())
        };
        match Dir::open(&self.state) {
            Err(Errno::NOENT) => Ok(()),
            dir => dir.and_then(put_back).map_err(|error| self.fault(error)),
        }
    }

    /// Removes what is stored of the target.
    pub(crate) fn forget(&self, target: &Iqn) -> Result<()> {
        let remove = |dir: Dir| {
            dir.remove(&file(FOLDER, target))?;
            dir.remove(&file(SHARED, target))
        };
        match Dir::open(&self.state) {
            Err(Errno::NOENT) => Ok(()),
            dir => dir.and_then(remove).map_err(|error| self.fault(error)),
        }
    }

    fn read<T: DeserializeOwned + Default>(&self, folder: &str, target: &Iqn) -> Result<T> {
        let dir = match Dir::open(&self.state) {
            Err(Errno::NOENT) => return Ok(T::default()),
            dir => dir.map_err(|error| self.fault(error))?,
        };
        let bytes = dir.read(&file(folder, target)).map_err(|error| self.fault(error))?;
        let stored = bytes.as_ref().and_then(|bytes| serde_json::from_slice(bytes).ok());
        if let (Some(bytes), None) = (&bytes, &stored) {
            tracing::warn!(
                %target, length = bytes.len(),
                "cannot read the stored LUN identifiers: learning them anew"
            );
        }
        Ok(stored.unwrap_or_default())
    }

    fn write(&self, folder: &str, target: &Iqn, what: &impl Serialize) -> Result<()> {
        let text = serde_json::to_vec(what).map_err(|error| Fault::new(Kind::Failed, error.to_string()))?;
        let write = |dir: Dir| {
            dir.make_dirs(folder)?;
            dir.replace(&file(folder, target), &text, 0o600)
        };
        Dir::open(&self.state).and_then(write).map_err(|error| self.fault(error))
    }

    /// At the start: removes the half-written file of a killed daemon.
    pub(crate) fn recover(&self) {
        if let Err(error) = Dir::open(&self.state).and_then(|dir| dir.remove_leftover())
            && error != Errno::NOENT
        {
            tracing::warn!(path = %self.state.display(), %error, "cannot remove a leftover file");
        }
    }

    fn fault(&self, error: Errno) -> Fault {
        Fault::new(Kind::Failed, format!("{}: {error}", self.state.join(FOLDER).display()))
    }
}

/// A target's name holds no slash, and begins with a letter.
fn file(folder: &str, target: &Iqn) -> String {
    format!("{folder}/{target}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_lun_was_is_known_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let luns = KnownLuns::new(folder.path());
        let target: Iqn = "iqn.2001-04.com.example:a".parse().unwrap();
        assert!(luns.of(&target).unwrap().is_empty());
        let wwids = Wwids::from([(0, "naa.6001".to_owned()), (256, "t10.x y".to_owned())]);
        luns.remember(&target, &wwids).unwrap();
        assert_eq!(luns.of(&target).unwrap(), wwids);
        assert_eq!(luns.all(), [(target.clone(), wwids)]);
        assert!(luns.of(&"iqn.2001-04.com.example:b".parse().unwrap()).unwrap().is_empty());
        Dir::open(folder.path()).unwrap().replace(&file(FOLDER, &target), b"{", 0o600).unwrap();
        assert!(luns.of(&target).unwrap().is_empty(), "nonsense is nothing");
        let nonsense = luns.back_up(&target).unwrap();
        luns.forget(&target).unwrap();
        let nothing = luns.back_up(&target).unwrap();
        luns.put_back(&target, &nonsense).unwrap();
        assert!(folder.path().join(file(FOLDER, &target)).exists());
        luns.put_back(&target, &nothing).unwrap();
        luns.forget(&target).unwrap();
        assert!(KnownLuns::new(&folder.path().join("none")).of(&target).unwrap().is_empty());
    }

    #[test]
    fn targets_that_were_accepted_stay_so_until_one_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let luns = KnownLuns::new(folder.path());
        let target: Iqn = "iqn.2001-04.com.example:a".parse().unwrap();
        let with = |wwid: &str, other: &str| Shared::from([(wwid.to_owned(), [other.to_owned()].into())]);
        assert!(luns.shared_of(&target).unwrap().is_empty());
        luns.accept_shared(&target, &with("naa.1", "iqn.b")).unwrap();
        luns.accept_shared(&target, &with("naa.1", "iqn.c")).unwrap();
        luns.accept_shared(&target, &with("naa.2", "iqn.b")).unwrap();
        let shared = luns.shared_of(&target).unwrap();
        assert_eq!((shared.len(), shared["naa.1"].len()), (2, 2));
        assert!(luns.of(&target).unwrap().is_empty(), "what is accepted is no LUN that is known");
        luns.forget(&target).unwrap();
        assert!(luns.shared_of(&target).unwrap().is_empty());
    }

    #[test]
    fn it_stays_small_whatever_a_target_shows() {
        let folder = tempfile::tempdir().unwrap();
        let luns = KnownLuns::new(folder.path());
        let target: Iqn = "iqn.2001-04.com.example:a".parse().unwrap();
        let mut wwids: Wwids = (0..2000).map(|lun| (lun, format!("naa.{lun:032}"))).collect();
        wwids.insert(0, "x".repeat(4096));
        luns.remember(&target, &wwids).unwrap();
        let known = luns.of(&target).unwrap();
        assert_eq!((known.len(), known.contains_key(&0)), (MOST, false));
    }
}
