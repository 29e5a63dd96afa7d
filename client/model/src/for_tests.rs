//! Objects for the tests of these rooms, and a machine whose sessions and disks can be changed.

use std::collections::HashMap;

use iscsi_initiator_dbus::{
    objects::{Disk, Event, Id, Model, Node, Object, Properties, Session, Values},
    results::{Health, Path, Startup},
};
use zbus::OwnedVariant;

pub(crate) const TARGET: &str = "iqn.2003-01.com.example:disks";
pub(crate) const OTHER: &str = "iqn.2003-01.com.example:other";
pub(crate) const PORTAL: &str = "192.0.2.21:3260";

/// Puts an object into a model, as the bus does.
pub(crate) fn put(model: &mut Model, id: &Id, object: &Object) -> Option<Event> {
    model.add(&id.to_string(), &HashMap::from([(id.class().interface(), values(object.properties()))]))
}

pub(crate) fn take(model: &mut Model, id: &Id) -> Option<Event> {
    model.remove(&id.to_string(), &[id.class().interface()])
}

fn values(properties: Properties) -> Values {
    let owned = |value| OwnedVariant::try_from(value).unwrap();
    properties.into_iter().map(|(name, value)| (name.to_owned(), owned(value))).collect()
}

pub(crate) fn session(sid: u32, state: &str) -> Session {
    let mut session = Session::default();
    (session.sid, session.target) = (sid, TARGET.to_owned());
    (session.portal, session.state) = (PORTAL.to_owned(), state.to_owned());
    session
}

/// A disk with these paths, one of each session.
pub(crate) fn disk(map: &str, states: &[(&str, &str)], health: Health) -> Disk {
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

/// The portal of that number, from 1.
pub(crate) fn portal(number: u32) -> String {
    format!("192.0.2.{}:3260", 20 + number)
}

/// A target with so many portals and disks, every disk with a path through every portal.
pub(crate) struct Machine {
    pub(crate) model: Model,
    targets: Vec<Target>,
}

struct Target {
    name: String,
    /// The number of its first session.
    first: u32,
    /// Whether each portal's cable is there.
    cables: Vec<bool>,
    disks: u32,
    has_maps: bool,
    /// What a disk without a path does.
    without: Health,
}

impl Machine {
    pub(crate) fn new() -> Self {
        Self { model: Model::default(), targets: Vec::new() }
    }

    pub(crate) fn with(portals: u32, disks: u32) -> Self {
        let mut machine = Self::new();
        machine.log_in(TARGET, portals, disks, true);
        machine
    }

    pub(crate) fn log_in(&mut self, name: &str, portals: u32, disks: u32, has_maps: bool) {
        let first = 1 + u32::try_from(self.targets.len()).unwrap() * 100;
        self.targets.push(Target {
            name: name.to_owned(),
            first,
            cables: vec![true; usize::try_from(portals).unwrap()],
            disks,
            has_maps,
            without: Health::Queueing,
        });
        for number in 1..=portals {
            let mut node = Node::default();
            (node.target, node.portal) = (name.to_owned(), portal(number));
            (node.startup, node.logged_in) = (Startup::Manual, true);
            node.session = Id::session(first + number - 1).path();
            put(&mut self.model, &Id::node(name, &portal(number), "default"), &Object::Node(node));
        }
        self.show(name);
    }

    pub(crate) fn disk_id(name: &str, number: u32) -> Id {
        Id::disk(&format!("naa.{name}.{number}"), 1, 0)
    }

    fn target(&mut self, name: &str) -> &mut Target {
        self.targets.iter_mut().find(|target| target.name == name).unwrap()
    }

    /// Pulls the cable to the portal of that number, from 1, or puts it in again.
    pub(crate) fn cable(&mut self, name: &str, number: u32, is_there: bool) {
        self.target(name).cables[usize::try_from(number).unwrap() - 1] = is_there;
        self.show(name);
    }

    /// One path of a disk fails, or works again, while its session works.
    pub(crate) fn path(&mut self, name: &str, number: u32, portal_number: u32, works: bool) {
        let sid = self.target(name).first + portal_number - 1;
        self.change_disk(name, number, |disk| {
            for path in disk.paths.iter_mut().filter(|path| path.sid == sid) {
                let words = if works { ["active", "ready"] } else { ["failed", "faulty"] };
                [path.dm_state, path.checker_state] = words.map(str::to_owned);
            }
            disk.health = if works { Health::Optimal } else { Health::Degraded };
        });
    }

    /// Makes of a disk another one.
    pub(crate) fn change_disk(&mut self, name: &str, number: u32, change: impl FnOnce(&mut Disk)) {
        let id = Self::disk_id(name, number);
        let Some(Object::Disk(mut disk)) = self.model.get(&id).cloned() else { panic!("no disk") };
        change(&mut disk);
        put(&mut self.model, &id, &Object::Disk(disk));
    }

    /// What disks without a path do from now on.
    pub(crate) fn without(&mut self, name: &str, health: Health) {
        self.target(name).without = health;
        self.show(name);
    }

    /// Ends all of its sessions; the records stay.
    pub(crate) fn log_out(&mut self, name: &str) {
        let place = self.targets.iter().position(|target| target.name == name).unwrap();
        let target = self.targets.remove(place);
        for number in 1..=target.disks {
            take(&mut self.model, &Self::disk_id(name, number));
        }
        for sid in (target.first..).take(target.cables.len()) {
            take(&mut self.model, &Id::session(sid));
        }
    }

    /// Puts everything of the target into the model as it is now.
    fn show(&mut self, name: &str) {
        let model = &mut self.model;
        let target = self.targets.iter().find(|target| target.name == name).unwrap();
        let working = target.cables.iter().filter(|is_there| **is_there).count();
        let health = match working {
            _ if !target.has_maps && working > 0 => Health::Single,
            0 => target.without,
            some if some < target.cables.len() => Health::Degraded,
            _ => Health::Optimal,
        };
        let disks: Vec<Id> = (1..=target.disks).map(|number| Self::disk_id(name, number)).collect();
        for ((sid, number), is_there) in (target.first..).zip(1..).zip(&target.cables) {
            let mut session = session(sid, if *is_there { "LOGGED_IN" } else { "FAILED" });
            (session.target, session.portal) = (name.to_owned(), portal(number));
            session.node = Id::node(name, &portal(number), "default").path();
            session.disks = disks.iter().map(Id::path).collect();
            put(model, &Id::session(sid), &Object::Session(session));
        }
        for (number, id) in (1_u32..).zip(&disks) {
            let mut disk = Disk::default();
            (disk.wwid, disk.size, disk.health) = (format!("naa.{name}.{number}"), 64 << 20, health);
            disk.targets = vec![name.to_owned()];
            if target.has_maps {
                disk.map = format!("mpath{number}");
            }
            let path = |((sid, portal_number), is_there): ((u32, u32), &bool)| {
                let mut path = Path::default();
                (path.target, path.portal, path.sid) = (name.to_owned(), portal(portal_number), sid);
                (path.lun, path.device) = (u64::from(number), format!("sd{sid}x{number}"));
                (path.map, path.size, path.wwid) = (disk.map.clone(), disk.size, disk.wwid.clone());
                let words = if *is_there {
                    ["LOGGED_IN", "running", "active", "ready"]
                } else {
                    ["FAILED", "blocked", "failed", "faulty"]
                };
                [path.session_state, path.device_state, path.dm_state, path.checker_state] =
                    words.map(str::to_owned);
                path
            };
            disk.paths = (target.first..).zip(1..).zip(&target.cables).map(path).collect();
            put(model, id, &Object::Disk(disk));
        }
    }
}
