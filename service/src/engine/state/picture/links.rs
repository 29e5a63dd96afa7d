//! Which paths have something to do with each other: those with one identifier, those in one map, those with one address. What
//! is said of a path depends on no others.

use std::collections::{BTreeSet, HashMap, HashSet};

use iscsi_initiator_dbus::objects::Id;

use crate::{
    backend::kernel::sysfs::Session,
    engine::state::{same_disk::PathOf, snapshot::Snapshot},
};

/// An object may not be named by an identifier that is longer (`Id::disk`).
const LONG: usize = 64;

/// Where a path is: its session's number, and its place among the LUNs of that.
pub(super) type At = (u32, usize);

/// What paths have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Link {
    /// An object.
    Disk(Id),
    /// A long identifier.
    Wwid(String),
    /// A map's device.
    Map(String),
    /// Host, channel, id and LUN: one for each path, unless a host's number was given away again.
    Address(u32, u32, u32, u64),
    /// The kernel's name for the disk, by which multipathd speaks of the path.
    Name(String),
}

/// Every path that is a disk, by what it has in common with others.
#[derive(Debug, Default)]
pub(super) struct Links(HashMap<Link, Vec<At>>);

impl Links {
    /// The paths, in the order of their sessions.
    pub(super) fn of(&self, link: &Link) -> &[At] {
        self.0.get(link).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn add(&mut self, path: PathOf<'_>, at: At) {
        for link in links(path) {
            let paths = self.0.entry(link).or_default();
            if let Err(place) = paths.binary_search(&at) {
                paths.insert(place, at);
            }
        }
    }

    /// Returns what it had in common with others.
    pub(super) fn remove(&mut self, path: PathOf<'_>, at: At) -> Vec<Link> {
        let mut left = Vec::new();
        for link in links(path) {
            let Some(paths) = self.0.get_mut(&link) else { continue };
            if let Ok(place) = paths.binary_search(&at) {
                paths.remove(place);
            }
            if paths.is_empty() {
                self.0.remove(&link);
            } else {
                left.push(link);
            }
        }
        left
    }

    /// These paths, those that have something in common with them, and so on.
    pub(super) fn around(&self, paths: impl IntoIterator<Item = At>, now: &Snapshot) -> BTreeSet<At> {
        let mut left: Vec<At> = paths.into_iter().collect();
        let (mut found, mut followed) = (BTreeSet::new(), HashSet::new());
        while let Some(at) = left.pop() {
            let Some(path) = path(now, at) else { continue };
            if !found.insert(at) {
                continue;
            }
            for link in links(path) {
                if !matches!(link, Link::Name(_)) && !followed.contains(&link) {
                    left.extend_from_slice(self.of(&link));
                    followed.insert(link);
                }
            }
        }
        found
    }
}

/// A path, if it is there and is a disk.
pub(super) fn path(now: &Snapshot, (sid, place): At) -> Option<PathOf<'_>> {
    path_in(now.session(sid)?, place)
}

/// The same in its session.
pub(super) fn path_in(session: &Session, place: usize) -> Option<PathOf<'_>> {
    let disk = session.disks.get(place).filter(|disk| disk.is_disk)?;
    Some(PathOf { session, disk })
}

/// The object that it is a path of.
pub(super) fn id_of(PathOf { session, disk }: PathOf<'_>) -> Id {
    Id::disk(&disk.wwid, session.sid, disk.lun)
}

fn links(path: PathOf<'_>) -> impl Iterator<Item = Link> {
    let (id, disk) = (Link::Disk(id_of(path)), path.disk);
    let address = Link::Address(disk.host, disk.channel, disk.id, disk.lun);
    let map = disk.map.as_ref().map(|map| Link::Map(map.device.clone()));
    let wwid = (disk.wwid.len() > LONG).then(|| Link::Wwid(disk.wwid.clone()));
    // Before it has a name, nothing is said of it.
    let name = (!disk.name.is_empty()).then(|| Link::Name(disk.name.clone()));
    [id, address].into_iter().chain(wwid).chain(map).chain(name)
}
