//! What does not work of a target, without what was before.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::objects::{Id, Model, Session};

use crate::{
    health::{self, Level},
    overview::{Link, disk_name},
};

/// What does not work of a target that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How bad it is: [`Level::Well`] if nothing is; else `Degraded`, `Queueing` or `Down`.
    pub level: Level,
    /// The portals whose paths do not work, each with its interface if it has one (`192.0.2.21:3260 (eth1)`).
    pub portals: BTreeSet<String>,
    /// The portals that work.
    pub working: BTreeSet<String>,
    /// The disks that wait or are down, and those that are degraded without a path that says why.
    pub disks: BTreeMap<Id, Sick>,
    /// Whether the target has disks at all.
    has_disks: bool,
}

/// A disk that does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sick {
    /// How bad it is.
    pub level: Level,
    /// What it is called.
    pub name: String,
}

impl Default for Trouble {
    /// None.
    fn default() -> Self {
        let (portals, working, disks) = Default::default();
        Self { level: Level::Well, portals, working, disks, has_disks: false }
    }
}

impl Trouble {
    /// Whether there is none.
    pub fn is_none(&self) -> bool {
        self.portals.is_empty() && self.disks.is_empty()
    }

    /// Whether something does not work that works in `told`, or works worse.
    pub(super) fn exceeds(&self, told: &Self) -> bool {
        let is_new = |(id, disk): (&Id, &Sick)| told.disks.get(id).is_none_or(|was| disk.level > was.level);
        self.level > told.level || !self.portals.is_subset(&told.portals) || self.disks.iter().any(is_new)
    }

    /// Whether the same does not work, however much works besides.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.level, &self.portals, &self.disks) == (other.level, &other.portals, &other.disks)
    }

    /// Everything that does not work in one or the other.
    pub(super) fn add(&mut self, other: &Self) {
        self.level = self.level.max(other.level);
        self.portals.extend(other.portals.iter().cloned());
        self.working.extend(other.working.iter().cloned());
        self.working.retain(|portal| !self.portals.contains(portal));
        for (id, disk) in &other.disks {
            let known = self.disks.entry(id.clone()).or_insert_with(|| disk.clone());
            if disk.level > known.level {
                *known = disk.clone();
            }
        }
    }

    /// Judges it once more after portals were added or taken.
    pub(super) fn judge(&mut self) {
        let of_disks = self.disks.values().map(|disk| disk.level).max().unwrap_or(Level::Well);
        let of_portals = match (self.portals.is_empty(), self.working.is_empty()) {
            (true, _) => Level::Well,
            // Without a disk nothing says whether something waits.
            (_, true) if !self.has_disks => Level::Down,
            _ => Level::Degraded,
        };
        self.level = of_disks.max(of_portals);
    }
}

/// What to call a portal: where one is bound to an interface, that belongs to it.
fn place(session: &Session) -> String {
    match session.interface.as_str() {
        "" => session.portal.clone(),
        interface => format!("{} ({interface})", session.portal),
    }
}

/// Every target with a session or a disk, by name, and what does not work of it.
pub fn troubles(model: &Model) -> BTreeMap<String, Trouble> {
    let mut troubles: BTreeMap<String, Trouble> = BTreeMap::new();
    let mut places: BTreeMap<u32, String> = BTreeMap::new();
    for (_, session) in model.sessions().filter(|(_, session)| !session.target.is_empty()) {
        let trouble = troubles.entry(session.target.clone()).or_default();
        let place = place(session);
        match Link::of(session) {
            Link::Lost => trouble.portals.insert(place.clone()),
            Link::Up => trouble.working.insert(place.clone()),
            Link::Making | Link::Off => false,
        };
        places.insert(session.sid, place);
    }
    for (id, disk) in model.disks() {
        let level = Level::of_health(disk.health);
        let mut is_explained = false;
        for path in disk.paths.iter().filter(|path| health::path(path).is_cut) {
            is_explained = true;
            let place = places.get(&path.sid).unwrap_or(&path.portal);
            if !path.target.is_empty() {
                troubles.entry(path.target.clone()).or_default().portals.insert(place.clone());
            }
        }
        for target in &disk.targets {
            let trouble = troubles.entry(target.clone()).or_default();
            trouble.has_disks = true;
            if level >= Level::Queueing || (level == Level::Degraded && !is_explained) {
                let sick = Sick { level, name: disk_name(disk).to_owned() };
                trouble.disks.insert(id.clone(), sick);
            }
        }
    }
    for trouble in troubles.values_mut() {
        trouble.working.retain(|portal| !trouble.portals.contains(portal));
        trouble.judge();
    }
    troubles
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::{objects::Object, results::Health};

    use super::*;
    use crate::for_tests::{Machine, OTHER, TARGET, portal, put, session};

    fn of(machine: &Machine, target: &str) -> Trouble {
        troubles(&machine.model).remove(target).unwrap()
    }

    #[test]
    fn a_lost_cable_is_one_trouble_whatever_the_number_of_disks() {
        let mut machine = Machine::with(2, 20);
        assert!(of(&machine, TARGET).is_none());
        machine.cable(TARGET, 2, false);
        let trouble = of(&machine, TARGET);
        assert_eq!((trouble.level, trouble.disks.len()), (Level::Degraded, 0));
        assert_eq!(trouble.portals, BTreeSet::from([portal(2)]));
        assert_eq!(trouble.working, BTreeSet::from([portal(1)]));
        machine.cable(TARGET, 1, false);
        let trouble = of(&machine, TARGET);
        assert_eq!((trouble.level, trouble.disks.len(), trouble.working.len()), (Level::Queueing, 20, 0));
        machine.without(TARGET, Health::Down);
        assert!(of(&machine, TARGET).exceeds(&trouble) && !trouble.exceeds(&of(&machine, TARGET)));
    }

    #[test]
    fn the_trouble_of_one_target_is_not_that_of_another() {
        let mut machine = Machine::with(2, 1);
        machine.log_in(OTHER, 2, 1, false);
        machine.cable(OTHER, 1, false);
        assert!(of(&machine, TARGET).is_none());
        assert_eq!(of(&machine, OTHER).portals, BTreeSet::from([portal(1)]));
        machine.log_out(OTHER);
        assert!(!troubles(&machine.model).contains_key(OTHER), "what is not connected has none");
    }

    #[test]
    fn without_a_disk_the_sessions_say_it_all() {
        let mut machine = Machine::new();
        for (sid, state, level) in [(1, "FAILED", Level::Down), (2, "LOGGED_IN", Level::Degraded)] {
            let mut session = session(sid, state);
            (session.portal, session.interface) = (portal(sid), "eth1".to_owned());
            put(&mut machine.model, &Id::session(sid), &Object::Session(session));
            let trouble = of(&machine, TARGET);
            assert_eq!(trouble.level, level);
            assert_eq!(trouble.portals, BTreeSet::from([format!("{} (eth1)", portal(1))]));
        }
    }

    #[test]
    fn a_degraded_disk_whose_paths_all_work_is_a_trouble_of_its_own() {
        let mut machine = Machine::with(2, 1);
        let id = Machine::disk_id(TARGET, 1);
        let Some(Object::Disk(disk)) = machine.model.get(&id).cloned() else { panic!("no disk") };
        let mut odd = disk;
        odd.health = Health::Degraded;
        put(&mut machine.model, &id, &Object::Disk(odd));
        let trouble = of(&machine, TARGET);
        assert_eq!((trouble.level, trouble.portals.len()), (Level::Degraded, 0));
        assert_eq!(trouble.disks[&id].name, "mpath1");
    }
}
