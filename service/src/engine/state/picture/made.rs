//! One object, of what was seen: a node of its record, a session, a disk of its paths.
//! Must not know what was shown before.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::{
    objects::{self, Id, Object},
    results::{Health, NodeState},
};

use super::{health, holds::Holds};
use crate::{
    backend::{kernel::sysfs::Session, leases::Held, open_iscsi::database::Node},
    engine::state::{
        listing::{node_of, path_of_disk, with_holds},
        same_disk::PathOf,
        snapshot::Snapshot,
        troubles::Troubles,
    },
};

/// What a disk is made of beside its paths.
pub(super) struct Around<'a> {
    pub(super) now: &'a Snapshot,
    pub(super) troubles: &'a Troubles,
    /// The maps that let I/O wait while no path works, by their names.
    pub(super) queueing: &'a BTreeSet<String>,
    pub(super) holds: &'a Holds,
}

/// A node; the number of its first session, and why it waits for one.
pub(super) fn node(record: &Node, session: Option<u32>, waiting: Option<&String>) -> objects::Node {
    let entry = node_of(record, NodeState::Known, session.is_some());
    let mut node = objects::Node::default();
    node.session = session.map(|sid| Id::session(sid).path()).unwrap_or_default();
    node.target = entry.target;
    node.portal = entry.portal;
    node.tpgt = entry.tpgt;
    node.startup = entry.startup;
    node.chap = entry.chap;
    node.state = entry.state;
    node.logged_in = entry.logged_in;
    node.interface = entry.interface;
    node.waiting = waiting.filter(|_| session.is_none()).cloned().unwrap_or_default();
    node.message = entry.message;
    node.hint = entry.hint;
    node
}

/// A session, with the node that is its own, who holds it, and when it came into its state.
pub(super) fn session(
    session: &Session,
    node: Option<(&Id, &Node)>,
    held: Option<&Held>,
    since: u64,
) -> objects::Session {
    // open-iscsi's name for "the routes decide".
    let iface = if session.iface == "default" { "" } else { &session.iface };
    let mut shown = objects::Session::default();
    shown.sid = session.sid;
    shown.target.clone_from(&session.target);
    shown.portal = session.portal.as_ref().map(ToString::to_string).unwrap_or_default();
    shown.interface = node.map_or_else(|| iface.to_owned(), |(_, record)| record.bound_to.clone());
    shown.initiator_name.clone_from(&session.initiator);
    shown.state.clone_from(&session.state);
    shown.since = since;
    shown.node = node.map(|(id, _)| id.path()).unwrap_or_default();
    let disks = session.disks.iter().filter(|disk| disk.is_disk);
    shown.disks = disks.map(|disk| Id::disk(&disk.wwid, session.sid, disk.lun).path()).collect();
    shown.holds = held.map(Held::names).unwrap_or_default();
    shown
}

/// A disk, of its paths in the order of their sessions.
pub(super) fn disk(
    paths: &[PathOf<'_>],
    Around { now, troubles, queueing, holds }: &Around<'_>,
) -> objects::Disk {
    let text = |of: fn(&PathOf<'_>) -> String| {
        paths.iter().map(of).find(|text| !text.is_empty()).unwrap_or_default()
    };
    let map = paths.iter().find_map(|path| path.disk.map.as_ref());
    let mut shown = objects::Disk::default();
    shown.wwid = text(|path| path.disk.wwid.clone());
    for path in paths {
        if !shown.targets.contains(&path.session.target) {
            shown.targets.push(path.session.target.clone());
        }
    }
    // A path in standby reports no size.
    shown.size = paths.iter().map(|path| path.disk.size).find(|size| *size > 0).unwrap_or_default();
    shown.vendor = text(|path| path.disk.vendor.clone());
    shown.model = text(|path| path.disk.model.clone());
    shown.map = map.map(|map| map.name.clone()).unwrap_or_default();
    shown.map_device = map.map(|map| map.device.clone()).unwrap_or_default();
    let is_queueing = map.is_some_and(|map| queueing.contains(&map.name));
    shown.health = health::of(paths, now, is_queueing);
    let entry = |path: &PathOf<'_>| {
        let trouble = troubles.of([path.disk]);
        let entry = path_of_disk(path.session, path.disk, now.path(&path.disk.name), trouble);
        with_holds(entry, holds.of(path.session))
    };
    shown.paths = paths.iter().map(entry).collect();
    shown
}

/// Whether nothing about the object is expected to change by itself.
pub(super) fn is_settled(object: &Object) -> bool {
    match object {
        Object::Node(_) => true,
        Object::Session(session) => session.state == "LOGGED_IN",
        Object::Disk(disk) => matches!(disk.health, Health::Optimal | Health::Single),
    }
}

/// Whether the kernel has found a session's LUNs, and named its disks.
pub(super) fn is_made_up(session: &Session) -> bool {
    let is_named = session.disks.iter().all(|disk| !disk.is_disk || !disk.name.is_empty());
    session.is_made() && session.scanned != Some(false) && is_named
}
