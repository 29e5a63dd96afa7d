//! The differences between two snapshots.

use std::collections::BTreeMap;

use super::snapshot::Snapshot;
use crate::backend::{
    kernel::sysfs::{Disk, Map, Session},
    multipath::daemon::PathState,
    open_iscsi::database::{Node, NodeKey},
};

/// What appeared, changed and vanished, by keys that stay the same for as long as the item exists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Diff {
    pub(in crate::engine) nodes: Changes<NodeKey>,
    /// By number. The session's disks are listed on their own.
    pub(in crate::engine) sessions: Changes<u32>,
    /// By the session's number and the LUN's address (`3:0:0:1`): the kernel gives a host's number, which the
    /// address begins with, to the next host once it is free, but not a session's.
    pub(in crate::engine) disks: Changes<(u32, String)>,
    /// By multipath's identifier.
    pub(in crate::engine) maps: Changes<String>,
    /// By the disk's kernel name.
    pub(in crate::engine) paths: Changes<String>,
}

/// Keys of one kind, each in one of the three lists, sorted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Changes<K> {
    pub(in crate::engine) appeared: Vec<K>,
    pub(in crate::engine) changed: Vec<K>,
    pub(in crate::engine) vanished: Vec<K>,
}

impl<K> Default for Changes<K> {
    fn default() -> Self {
        Self { appeared: Vec::new(), changed: Vec::new(), vanished: Vec::new() }
    }
}

impl<K: Ord> Changes<K> {
    fn of<V: PartialEq>(before: BTreeMap<K, V>, after: BTreeMap<K, V>) -> Self {
        let mut changes = Self::default();
        let mut before = before;
        for (key, value) in after {
            match before.remove(&key) {
                None => changes.appeared.push(key),
                Some(old) if old != value => changes.changed.push(key),
                Some(_) => {}
            }
        }
        changes.vanished.extend(before.into_keys());
        changes
    }
}

impl Snapshot {
    /// The differences to a later snapshot; takes time in proportion to both.
    pub(in crate::engine) fn diff(&self, later: &Self) -> Diff {
        Diff {
            nodes: Changes::of(nodes(self), nodes(later)),
            sessions: Changes::of(sessions(self), sessions(later)),
            disks: Changes::of(disks(self), disks(later)),
            maps: Changes::of(maps(self), maps(later)),
            paths: Changes::of(paths(self), paths(later)),
        }
    }
}

// Values are compared where they are: a large machine has thousands.

fn nodes(snapshot: &Snapshot) -> BTreeMap<NodeKey, &Node> {
    snapshot.nodes().iter().map(|node| (node.key.clone(), node)).collect()
}

fn sessions(snapshot: &Snapshot) -> BTreeMap<u32, impl PartialEq> {
    snapshot.all_sessions().iter().map(|session| (session.sid, without_disks(session))).collect()
}

/// What a session is apart from its disks.
pub(super) fn without_disks(session: &Session) -> impl PartialEq {
    let Session { sid, target, portal, iface, initiator, state, scanned, host, disks: _ } = session;
    (sid, target, portal, iface, initiator, state, scanned, host)
}

fn disks(snapshot: &Snapshot) -> BTreeMap<(u32, String), &Disk> {
    let mut disks = BTreeMap::new();
    for session in snapshot.all_sessions() {
        disks.extend(session.disks.iter().map(|disk| ((session.sid, disk.address()), disk)));
    }
    disks
}

fn maps(snapshot: &Snapshot) -> BTreeMap<String, &Map> {
    snapshot.maps().into_iter().map(|map| (map.wwid.clone(), map)).collect()
}

fn paths(snapshot: &Snapshot) -> BTreeMap<String, &PathState> {
    snapshot.paths().iter().map(|(disk, state)| (disk.clone(), state)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::snapshot::tests::of_sessions;

    fn session(sid: u32, state: &str, disks: &[(u64, u64, &str)]) -> Session {
        let disk = |(lun, size, map): &(u64, u64, &str)| Disk {
            host: sid,
            lun: *lun,
            size: *size,
            map: (!map.is_empty()).then(|| Map { wwid: (*map).into(), ..Map::default() }),
            ..Disk::default()
        };
        Session {
            sid,
            target: "iqn.2001-04.com.example:disk".into(),
            state: state.into(),
            disks: disks.iter().map(disk).collect(),
            ..Session::default()
        }
    }

    #[test]
    fn what_appeared_changed_and_vanished_is_told_by_kind() {
        let before = of_sessions(vec![
            session(1, "LOGGED_IN", &[(0, 64, "3600a"), (1, 64, "")]),
            session(2, "LOGGED_IN", &[(0, 64, "3600a")]),
        ]);
        assert_eq!(before.diff(&before.clone()), Diff::default());
        let after = of_sessions(vec![
            session(1, "FAILED", &[(0, 64, "3600a"), (2, 64, "3600c")]),
            session(3, "LOGGED_IN", &[(0, 128, "3600a")]),
        ]);
        let diff = before.diff(&after);
        let changes = |appeared: Vec<u32>, changed, vanished| Changes { appeared, changed, vanished };
        assert_eq!(diff.sessions, changes(vec![3], vec![1], vec![2]));
        let at = |sid: u32, address: &str| (sid, address.to_owned());
        assert_eq!(diff.disks.appeared, [at(1, "1:0:0:2"), at(3, "3:0:0:0")]);
        assert_eq!(diff.disks.vanished, [at(1, "1:0:0:1"), at(2, "2:0:0:0")]);
        assert!(diff.disks.changed.is_empty(), "a session's state is not its disks'");
        assert_eq!((diff.maps.appeared.as_slice(), diff.maps.vanished.len()), (&["3600c".to_owned()][..], 0));
        assert_eq!(after.diff(&before).disks.appeared, diff.disks.vanished);
        let resized = of_sessions(vec![session(1, "FAILED", &[(0, 65, "3600a"), (2, 64, "3600c")])]);
        assert_eq!(after.diff(&resized).disks.changed, [at(1, "1:0:0:0")]);
    }

    #[test]
    fn a_disk_of_a_new_session_is_another_one_although_its_host_has_the_number_of_the_old() {
        let old = session(1, "LOGGED_IN", &[(0, 64, "")]);
        let mut new = session(2, "LOGGED_IN", &[(0, 64, "")]);
        new.disks.iter_mut().for_each(|disk| disk.host = 1);
        let diff = of_sessions(vec![old]).diff(&of_sessions(vec![new])).disks;
        let address = || "1:0:0:0".to_owned();
        assert_eq!((diff.appeared, diff.vanished), (vec![(2, address())], vec![(1, address())]));
        assert!(diff.changed.is_empty());
    }
}
