//! What does not work of a target, without what was before.

use std::collections::{BTreeMap, BTreeSet, btree_map::Entry};

use iscsi_initiator_dbus::objects::{Id, Model};

use crate::{
    health::{self, Level},
    memory::Memory,
    overview::{Link, disk_name},
};

/// What does not work of a target that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How bad it is: [`Level::Well`] if nothing is; else `Degraded`, `Queueing` or `Down`.
    pub level: Level,
    /// The portals with paths that do not work, each with its interface if it has one (`192.0.2.21:3260 (eth1)`), and
    /// how much of it is lost.
    pub portals: BTreeMap<String, Loss>,
    /// The portals that are connected and have lost no more than some paths.
    pub working: BTreeSet<String>,
    /// The disks that wait or are down, and those that are degraded without a path that says why.
    pub disks: BTreeMap<Id, Sick>,
    /// Whether the target has disks at all.
    has_disks: bool,
}

/// How much of a portal is lost. The worse is the greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// Paths of some disks; others work.
    Some,
    /// The connection, or every path.
    Whole,
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
        let is_lost =
            |(portal, loss): (&String, &Loss)| told.portals.get(portal).is_none_or(|was| loss > was);
        self.level > told.level || self.portals.iter().any(is_lost) || self.disks.iter().any(is_new)
    }

    /// Whether the same does not work, however much works besides.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.level, &self.portals, &self.disks) == (other.level, &other.portals, &other.disks)
    }

    /// The portals that have lost so much.
    pub fn lost(&self, loss: Loss) -> impl Iterator<Item = &str> {
        self.portals.iter().filter(move |(_, of)| **of == loss).map(|(portal, _)| portal.as_str())
    }

    /// At least so much of this portal is lost.
    pub(super) fn lose(&mut self, portal: String, loss: Loss) {
        if loss == Loss::Whole {
            self.working.remove(&portal);
        }
        match self.portals.entry(portal) {
            Entry::Vacant(free) => {
                free.insert(loss);
            }
            Entry::Occupied(mut known) => *known.get_mut() = loss.max(*known.get()),
        }
    }

    /// Everything that does not work in one or the other.
    pub(super) fn add(&mut self, other: &Self) {
        self.level = self.level.max(other.level);
        self.working.extend(other.working.iter().cloned());
        let all = self.portals.iter().chain(&other.portals);
        let all: Vec<(String, Loss)> = all.map(|(portal, loss)| (portal.clone(), *loss)).collect();
        for (portal, loss) in all {
            self.lose(portal, loss);
        }
        for (id, disk) in &other.disks {
            let known = self.disks.entry(id.clone()).or_insert_with(|| disk.clone());
            if disk.level > known.level {
                *known = disk.clone();
            }
        }
    }

    fn judge(&mut self) {
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
fn place(portal: &str, interface: &str) -> String {
    match interface {
        "" => portal.to_owned(),
        interface => format!("{portal} ({interface})"),
    }
}

/// Every target with a session or a disk, or whose connection was lost and given up, by name, and what does not work of
/// it.
pub fn troubles(model: &Model, memory: &Memory) -> BTreeMap<String, Trouble> {
    let mut troubles: BTreeMap<String, Trouble> = BTreeMap::new();
    let mut places: BTreeMap<u32, String> = BTreeMap::new();
    for (id, session) in model.sessions().filter(|(_, session)| !session.target.is_empty()) {
        let trouble = troubles.entry(session.target.clone()).or_default();
        let place = place(&session.portal, &session.interface);
        match memory.link(id, session) {
            Link::Lost => trouble.lose(place.clone(), Loss::Whole),
            Link::Up => {
                trouble.working.insert(place.clone());
            }
            Link::Making | Link::Off => {}
        }
        places.insert(session.sid, place);
    }
    for (_, node) in model.nodes().filter(|(id, _)| memory.is_given_up(id)) {
        let trouble = troubles.entry(node.target.clone()).or_default();
        trouble.lose(place(&node.portal, &node.interface), Loss::Whole);
    }
    // How many of a portal's paths there are, and how many do not work.
    let mut paths: BTreeMap<(&str, &str), (usize, usize)> = BTreeMap::new();
    for (id, disk) in model.disks() {
        let level = Level::of_health(disk.health);
        let mut is_explained = false;
        for path in disk.paths.iter().filter(|path| !path.target.is_empty()) {
            let place = places.get(&path.sid).unwrap_or(&path.portal);
            let (all, cut) = paths.entry((path.target.as_str(), place.as_str())).or_default();
            *all += 1;
            if health::path(path).is_cut {
                *cut += 1;
                is_explained = true;
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
    for ((target, place), (all, cut)) in paths.into_iter().filter(|(_, (_, cut))| *cut > 0) {
        let loss = if cut == all { Loss::Whole } else { Loss::Some };
        troubles.entry(target.to_owned()).or_default().lose(place.to_owned(), loss);
    }
    for trouble in troubles.values_mut() {
        // Of two connections to one portal, one is lost.
        let lost: Vec<String> = trouble.lost(Loss::Whole).map(str::to_owned).collect();
        trouble.working.retain(|portal| !lost.contains(portal));
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
        let mut memory = Memory::new();
        memory.update(&machine.model, std::time::Instant::now());
        troubles(&machine.model, &memory).remove(target).unwrap()
    }

    #[test]
    fn a_lost_cable_is_one_trouble_whatever_the_number_of_disks() {
        let mut machine = Machine::with(2, 20);
        assert!(of(&machine, TARGET).is_none());
        machine.cable(TARGET, 2, false);
        let trouble = of(&machine, TARGET);
        assert_eq!((trouble.level, trouble.disks.len()), (Level::Degraded, 0));
        assert_eq!(trouble.portals, BTreeMap::from([(portal(2), Loss::Whole)]));
        assert_eq!(trouble.working, BTreeSet::from([portal(1)]));
        machine.cable(TARGET, 1, false);
        let trouble = of(&machine, TARGET);
        assert_eq!((trouble.level, trouble.disks.len(), trouble.working.len()), (Level::Queueing, 20, 0));
        machine.without(TARGET, Health::Down);
        assert!(of(&machine, TARGET).exceeds(&trouble) && !trouble.exceeds(&of(&machine, TARGET)));
    }

    #[test]
    fn a_path_of_one_disk_is_less_than_the_portal_and_the_portal_less_than_the_target() {
        let mut machine = Machine::with(2, 3);
        machine.path(TARGET, 2, 1, false);
        let some = of(&machine, TARGET);
        assert_eq!(some.portals, BTreeMap::from([(portal(1), Loss::Some)]));
        assert_eq!((some.level, some.working.len()), (Level::Degraded, 2), "the connection works");
        machine.cable(TARGET, 1, false);
        let whole = of(&machine, TARGET);
        assert_eq!(whole.portals, BTreeMap::from([(portal(1), Loss::Whole)]));
        assert!(whole.exceeds(&some) && !some.exceeds(&whole) && !whole.is_same(&some));
        machine.cable(TARGET, 2, false);
        assert!(of(&machine, TARGET).exceeds(&whole));
        let mut both = some.clone();
        both.add(&whole);
        assert!(both.is_same(&whole) && both.working == whole.working);
    }

    #[test]
    fn the_trouble_of_one_target_is_not_that_of_another() {
        let mut machine = Machine::with(2, 1);
        machine.log_in(OTHER, 2, 1, false);
        machine.cable(OTHER, 1, false);
        assert!(of(&machine, TARGET).is_none());
        assert_eq!(of(&machine, OTHER).portals, BTreeMap::from([(portal(1), Loss::Whole)]));
        machine.log_out(OTHER);
        assert!(
            !troubles(&machine.model, &Memory::new()).contains_key(OTHER),
            "what is not connected has none"
        );
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
            assert_eq!(trouble.portals, BTreeMap::from([(format!("{} (eth1)", portal(1)), Loss::Whole)]));
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
