//! Every target, and the worst of them.

use iscsi_initiator_dbus::objects::Model;

use super::{
    sentence,
    target::{Target, targets},
};
use crate::{
    health::Level,
    memory::Memory,
    text::{Phrase, states},
};

/// This machine as people see it: what a list shows, and what the icon of a tray says.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// By name.
    pub targets: Vec<Target>,
    /// The worst of them.
    pub level: Level,
    /// The same in one sentence.
    pub sentence: Phrase,
    /// Whether this is how it was when the daemon could be followed last: shown as such, and judged by no one.
    pub is_stale: bool,
}

/// Makes it of the objects. Takes time in proportion to their number, and nothing else.
pub fn overview(model: &Model, memory: &Memory) -> Overview {
    let targets = targets(model, memory);
    let level = targets.iter().map(|target| target.level).max().unwrap_or_default();
    let connected = targets.iter().filter(|target| target.is_connected()).count();
    let troubled = targets.iter().filter(|target| target.level.is_trouble()).count();
    let sentence = sentence::of_machine(targets.len(), connected, troubled);
    match memory.is_stale() {
        false => Overview { targets, level, sentence, is_stale: false },
        true => Overview { targets, level: Level::Unknown, sentence: states::STALE.into(), is_stale: true },
    }
}

impl Overview {
    /// A target by its name.
    pub fn target(&self, name: &str) -> Option<&Target> {
        self.targets.iter().find(|target| target.name == name)
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::{
        objects::{Id, Node, Object, Session},
        results::{Health, Startup},
    };

    use super::*;
    use crate::{
        for_tests::{Machine, OTHER, PORTAL, TARGET, portal, put, session},
        overview::Link,
    };

    fn sentences(model: &Model) -> (String, Vec<String>) {
        let seen = overview(model, &Memory::new());
        (seen.sentence.to_string(), seen.targets.iter().map(|target| target.sentence.to_string()).collect())
    }

    #[test]
    fn a_target_is_as_good_as_the_worst_of_its_parts() {
        let mut machine = Machine::new();
        assert_eq!(sentences(&machine.model), ("No targets".to_owned(), vec![]));
        machine.log_in(TARGET, 2, 2, true);
        let said = |text: &str| text.to_owned();
        let all = (said("1 target, everything works"), vec![said("2 disks, all paths work")]);
        assert_eq!(sentences(&machine.model), all);
        assert_eq!(overview(&machine.model, &Memory::new()).level, Level::Well);
        machine.cable(TARGET, 2, false);
        let some = (said("1 target needs attention"), vec![said("2 disks, 2 of 4 paths work")]);
        assert_eq!(sentences(&machine.model), some);
        assert_eq!(overview(&machine.model, &Memory::new()).level, Level::Degraded);
        machine.cable(TARGET, 1, false);
        assert_eq!(sentences(&machine.model).1, ["2 disks wait for a path"]);
        machine.without(TARGET, Health::Down);
        assert_eq!(sentences(&machine.model).1, ["2 disks are down"]);
        machine.log_out(TARGET);
        let seen = overview(&machine.model, &Memory::new());
        assert_eq!((seen.level, seen.targets[0].level), (Level::Idle, Level::Idle));
        assert_eq!(seen.sentence.to_string(), "1 target, not connected");
        assert!(!seen.targets[0].is_connected() && seen.targets[0].places.len() == 2);
    }

    #[test]
    fn a_portal_has_its_record_its_session_or_both() {
        let mut machine = Machine::with(2, 1);
        let mut other = session(7, "FAILED");
        (other.target, other.interface, other.holds) =
            (OTHER.to_owned(), "eth1".to_owned(), vec!["vm".to_owned(); 2]);
        put(&mut machine.model, &Id::session(7), &Object::Session(other));
        let mut node = Node::default();
        (node.target, node.portal, node.startup) = (OTHER.to_owned(), portal(2), Startup::Automatic);
        node.message = "it is damaged".to_owned();
        let id = Id::node(OTHER, &portal(2), "default");
        put(&mut machine.model, &id, &Object::Node(node));
        put(&mut machine.model, &Id::session(9), &Object::Session(Session::default()));
        let seen = overview(&machine.model, &Memory::new());
        assert_eq!(seen.targets.len(), 2, "what is being made is not shown yet");
        let disks = seen.target(TARGET).unwrap();
        assert!(disks.places.iter().all(|place| place.node.is_some() && place.link == Link::Up));
        assert_eq!((disks.title.as_str(), disks.disks.len(), disks.paths), ("disks", 1, (2, 2)));
        let other = seen.target(OTHER).unwrap();
        let [lost, off] = other.places.as_slice() else { panic!("{:?}", other.places) };
        assert_eq!((lost.portal.as_str(), lost.link, &lost.node), (PORTAL, Link::Lost, &None));
        assert_eq!((lost.interface.as_str(), &lost.session), ("eth1", &Some(Id::session(7))));
        assert_eq!((off.link, &off.session, &off.node), (Link::Off, &None, &Some(id)));
        assert!(other.is_automatic() && other.is_damaged() && !other.is_of_boot());
        assert_eq!((other.level, other.holds.as_slice()), (Level::Down, ["vm".to_owned()].as_slice()));
        assert_eq!(other.sentence.to_string(), "The connection is lost");
    }

    #[test]
    fn targets_of_one_short_name_have_the_whole_one() {
        let mut machine = Machine::new();
        for name in ["iqn.2003-01.com.example:a", "iqn.2003-01.org.example:a", "iqn.2003-01.org.example:b"] {
            machine.log_in(name, 1, 0, true);
        }
        let titles: Vec<String> =
            overview(&machine.model, &Memory::new()).targets.into_iter().map(|target| target.title).collect();
        assert_eq!(titles, ["iqn.2003-01.com.example:a", "iqn.2003-01.org.example:a", "b"]);
    }

    #[test]
    fn a_session_that_is_being_made_is_not_lost() {
        let mut model = Model::default();
        put(&mut model, &Id::session(1), &Object::Session(session(1, "FREE")));
        let seen = overview(&model, &Memory::new());
        assert_eq!((seen.targets[0].places[0].link, seen.level), (Link::Making, Level::Well));
        assert_eq!(seen.targets[0].sentence.to_string(), "Connecting");
        assert!(crate::news::troubles(&model, &Memory::new())[TARGET].is_none());
    }

    #[test]
    fn what_is_out_of_date_is_not_judged() {
        let (mut machine, mut memory) = (Machine::with(2, 1), Memory::new());
        machine.cable(TARGET, 1, false);
        memory.lost();
        let seen = overview(&machine.model, &memory);
        assert!(seen.is_stale && seen.level == Level::Unknown && seen.targets.len() == 1);
        assert_eq!(seen.sentence.to_string(), "The iSCSI service cannot be reached; this is how it was");
    }

    #[test]
    fn a_session_without_a_disk_says_so() {
        let mut machine = Machine::with(2, 0);
        assert_eq!(sentences(&machine.model).1, ["Connected, without a disk"]);
        machine.cable(TARGET, 1, false);
        assert_eq!(sentences(&machine.model).1, ["1 of 2 connections work"]);
    }
}
