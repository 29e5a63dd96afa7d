//! Objects for the tests of this room.

use std::collections::HashMap;

use iscsi_initiator_dbus::{
    objects::{Disk, Event, Id, Model, Object, Properties, Session, Values},
    results::{Health, Path},
};
use zbus::OwnedVariant;

pub(super) const TARGET: &str = "iqn.2003-01.com.example:disks";
pub(super) const PORTAL: &str = "192.0.2.21:3260";

/// Puts an object into a model, as the bus does.
pub(super) fn put(model: &mut Model, id: &Id, object: &Object) -> Option<Event> {
    model.add(&id.to_string(), &HashMap::from([(id.class().interface(), values(object.properties()))]))
}

fn values(properties: Properties) -> Values {
    let owned = |value| OwnedVariant::try_from(value).unwrap();
    properties.into_iter().map(|(name, value)| (name.to_owned(), owned(value))).collect()
}

pub(super) fn session(sid: u32, state: &str) -> Session {
    let mut session = Session::default();
    (session.sid, session.target) = (sid, TARGET.to_owned());
    (session.portal, session.state) = (PORTAL.to_owned(), state.to_owned());
    session
}

/// A disk with these paths, one of each session.
pub(super) fn disk(map: &str, states: &[(&str, &str)], health: Health) -> Disk {
    let mut disk = Disk::default();
    (disk.map, disk.size, disk.health) = (map.to_owned(), 64 << 20, health);
    disk.vendor = "LIO-ORG".to_owned();
    let path = |(sid, (device, state)): (u32, &(&str, &str))| {
        let mut path = Path::default();
        (path.sid, path.device, path.dm_state) = (sid, (*device).to_owned(), (*state).to_owned());
        (path.target, path.portal, path.map) = (TARGET.to_owned(), PORTAL.to_owned(), map.to_owned());
        (path.size, path.session_state) = (64 << 20, "LOGGED_IN".to_owned());
        path
    };
    disk.paths = (1..).zip(states).map(path).collect();
    disk.targets = vec![TARGET.to_owned()];
    disk
}
