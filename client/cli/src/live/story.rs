//! An event in words: what is other than before, as a person calls it.
//! Must not tell what a person cannot see, such as which object path changed.

use std::collections::BTreeMap;

use iscsi_initiator_dbus::{
    objects::{Disk, Event, Id, Model, Node, Object, Session},
    results::{Health, Path},
};

use super::scope::Scope;
use crate::{exit::Exit, problem::Problem, show};

/// What a happening says at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Neutral,
    Good,
    Bad,
}

/// Something that happened, in words. They may have been chosen by a target: escape them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Happening {
    pub(crate) mood: Mood,
    pub(crate) what: String,
}

impl Happening {
    pub(crate) fn new(mood: Mood, what: impl Into<String>) -> Self {
        Self { mood, what: what.into() }
    }

    /// What is so now, for who has no room: without what was before, and why a path does not work.
    pub(crate) fn in_brief(&self) -> &str {
        let now = self.what.rsplit_once(" (was ").map_or(self.what.as_str(), |(now, _)| now);
        let whys = ["FAILED: ", "waiting: "].into_iter();
        let state = whys.filter_map(|why| now.find(why).map(|place| place + why.len() - ": ".len())).min();
        state.and_then(|end| now.get(..end)).unwrap_or(now)
    }

    /// The daemon has ended and could not be started again yet, or does not let anyone watch for now.
    pub(crate) fn lost(problem: &Problem) -> Self {
        let why = &problem.message;
        if problem.exit != Exit::NoDaemon {
            return Self::refused(why);
        }
        Self::new(Mood::Bad, format!("the daemon is gone, and is tried again: {why}"))
    }

    /// The daemon does not answer for now.
    pub(crate) fn refused(why: &str) -> Self {
        Self::new(Mood::Bad, format!("out of date, the daemon is asked again: {why}"))
    }
}

/// The objects as they were last told of.
#[derive(Debug)]
pub(crate) struct Story {
    scope: Scope,
    known: BTreeMap<Id, Object>,
}

impl Story {
    pub(crate) fn new(scope: Scope, model: &Model) -> Self {
        let known = model.objects().map(|(id, object)| (id.clone(), object.clone())).collect();
        Self { scope, known }
    }

    /// The sessions and disks that are there. What is recorded only, another command lists.
    pub(crate) fn present(&self) -> Vec<Happening> {
        let shown = self.known.values().filter(|object| self.scope.has(object));
        shown.filter(|object| !matches!(object, Object::Node(_))).map(told_whole).collect()
    }

    /// Whether an event is about what is wanted, before it or after it. Takes it over.
    pub(crate) fn tell(&mut self, event: &Event, model: &Model) -> Option<Vec<Happening>> {
        match event {
            Event::Added(id) | Event::Changed(id, _) => {
                let now = model.get(id)?;
                let before = self.known.insert(id.clone(), now.clone());
                let is_wanted = self.scope.has(now) || before.as_ref().is_some_and(|was| self.scope.has(was));
                is_wanted.then(|| before.map_or_else(|| vec![told_whole(now)], |was| changes(&was, now)))
            }
            Event::Removed(id, was) => {
                self.known.remove(id);
                self.scope.has(was).then(|| vec![told_gone(was)])
            }
            Event::Restarted => {
                let what = "the daemon was restarted; everything was read again";
                Some(vec![Happening::new(Mood::Neutral, what)])
            }
            // A newer kind.
            _ => None,
        }
    }
}

/// A thing that is there now.
fn told_whole(object: &Object) -> Happening {
    match object {
        Object::Node(node) => Happening::new(Mood::Neutral, format!("{}: recorded", of_node(node))),
        Object::Session(session) => session_whole(session),
        Object::Disk(disk) => {
            let is = [
                disk.health.to_string(),
                show::size(disk.size),
                disk.vendor.clone(),
                disk.model.clone(),
                disk.wwid.clone(),
            ];
            let is: Vec<String> = is.into_iter().filter(|word| !word.is_empty()).collect();
            let paths = match disk.paths.len() {
                1 => "1 path".to_owned(),
                count => format!("{count} paths"),
            };
            let what = format!("{}: {}, {paths}", of_disk(disk), is.join(" "));
            Happening::new(mood_of(disk.health), what)
        }
    }
}

fn session_whole(session: &Session) -> Happening {
    let what = if session.target.is_empty() {
        format!("session {}: iscsid is making it", session.sid)
    } else {
        format!("{}: {}", of_session(session), session.state)
    };
    Happening::new(mood_of_state(&session.state), what)
}

fn told_gone(object: &Object) -> Happening {
    let (mood, what) = match object {
        Object::Node(node) => (Mood::Neutral, format!("{}: not recorded any more", of_node(node))),
        Object::Session(session) => (Mood::Neutral, format!("{}: ended", of_session(session))),
        Object::Disk(disk) => (Mood::Neutral, format!("{}: gone", of_disk(disk))),
    };
    Happening::new(mood, what)
}

fn changes(before: &Object, now: &Object) -> Vec<Happening> {
    match (before, now) {
        (Object::Node(before), Object::Node(now)) => of_nodes(before, now),
        (Object::Session(before), Object::Session(now)) => of_sessions(before, now),
        (Object::Disk(before), Object::Disk(now)) => of_disks(before, now),
        _ => vec![told_whole(now)],
    }
}

/// Whether it is logged in to, its session says.
fn of_nodes(before: &Node, now: &Node) -> Vec<Happening> {
    let mut told = Vec::new();
    let mut tell = |mood, what: String| told.push(Happening::new(mood, format!("{}: {what}", of_node(now))));
    if before.startup != now.startup {
        tell(Mood::Neutral, format!("startup {} (was {})", now.startup, before.startup));
    }
    if before.chap != now.chap {
        tell(Mood::Neutral, format!("CHAP {} (was {})", now.chap, before.chap));
    }
    if before.message != now.message {
        match now.message.as_str() {
            "" => tell(Mood::Good, "its record can be used again".to_owned()),
            message => tell(Mood::Bad, message.to_owned()),
        }
    }
    told
}

fn of_sessions(before: &Session, now: &Session) -> Vec<Happening> {
    if before.target != now.target {
        return vec![session_whole(now)];
    }
    let mut told = Vec::new();
    let mut tell =
        |mood, what: String| told.push(Happening::new(mood, format!("{}: {what}", of_session(now))));
    if before.state != now.state {
        tell(mood_of_state(&now.state), format!("{} (was {})", now.state, before.state));
    }
    if before.portal != now.portal {
        tell(Mood::Neutral, format!("was at {} before", before.portal));
    }
    if before.holds != now.holds {
        let what = match now.holds.join(", ") {
            holders if holders.is_empty() => "not held any more".to_owned(),
            holders => format!("held by {holders}"),
        };
        tell(Mood::Neutral, what);
    }
    told
}

fn of_disks(before: &Disk, now: &Disk) -> Vec<Happening> {
    let mut told = Vec::new();
    let mut tell = |mood, what: String| told.push(Happening::new(mood, format!("{}: {what}", of_disk(now))));
    if before.map != now.map {
        let what = match now.map.as_str() {
            "" => format!("its map {} is gone", before.map),
            map => format!("its map is {map}"),
        };
        tell(Mood::Neutral, what);
    }
    if before.size != now.size {
        tell(Mood::Neutral, format!("{} (was {})", known(now.size), known(before.size)));
    }
    let of = |path: &Path, paths: &[Path]| paths.iter().position(|other| is_same(path, other));
    for path in &now.paths {
        let was = of(path, &before.paths).and_then(|place| before.paths.get(place));
        let (state, mood) = state_of(path);
        match was.map(state_of) {
            None => tell(mood, format!("{} is new: {state}", of_path(path))),
            Some((was, _)) if was != state => tell(mood, format!("{} {state} (was {was})", of_path(path))),
            Some(_) => {}
        }
    }
    for path in before.paths.iter().filter(|path| of(path, &now.paths).is_none()) {
        tell(Mood::Neutral, format!("{} is gone", of_path(path)));
    }
    // Last: what the paths are makes it so.
    if before.health != now.health {
        tell(mood_of(now.health), format!("{} (was {})", now.health, before.health));
    }
    told
}

fn known(size: u64) -> String {
    if size == 0 { "unknown size".to_owned() } else { show::size(size) }
}

/// A path is a LUN of a session.
fn is_same(one: &Path, other: &Path) -> bool {
    (one.sid, one.lun, &one.device) == (other.sid, other.lun, &other.device)
}

fn state_of(path: &Path) -> (String, Mood) {
    let (state, _) = show::path_state(path);
    let mood = if state == "ok" { Mood::Good } else { Mood::Bad };
    (state, mood)
}

pub(super) fn mood_of(health: Health) -> Mood {
    match health {
        Health::Optimal | Health::Single => Mood::Good,
        Health::Degraded | Health::Queueing | Health::Down => Mood::Bad,
        // A newer word.
        _ => Mood::Neutral,
    }
}

pub(super) fn mood_of_state(state: &str) -> Mood {
    match state {
        "LOGGED_IN" => Mood::Good,
        "FAILED" | "FREE" => Mood::Bad,
        _ => Mood::Neutral,
    }
}

fn of_node(node: &Node) -> String {
    format!("node {} at {}", node.target, node.portal)
}

fn of_session(session: &Session) -> String {
    format!("session {} ({} at {})", session.sid, session.target, session.portal)
}

/// A disk is called by its map; without one, by its device or else by its identifier.
fn of_disk(disk: &Disk) -> String {
    let device = disk.paths.iter().map(|path| path.device.as_str()).find(|device| !device.is_empty());
    let name = [disk.map.as_str(), device.unwrap_or_default(), &disk.wwid];
    let name = name.into_iter().find(|name| !name.is_empty());
    name.map_or_else(|| "a disk".to_owned(), |name| format!("disk {name}"))
}

fn of_path(path: &Path) -> String {
    let device = if path.device.is_empty() { format!("LUN {}", path.lun) } else { path.device.clone() };
    format!("path {device} at {}", path.portal)
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::{ChapMode, Startup};

    use super::*;
    use crate::live::for_tests::{self, PORTAL, TARGET, put};

    fn session(state: &str) -> Session {
        for_tests::session(1, state)
    }

    fn disk(states: &[(&str, &str)], health: Health) -> Disk {
        for_tests::disk("mpatha", states, health)
    }

    /// Tells of an object that becomes another.
    fn told(before: Option<Object>, now: &Object) -> Vec<(Mood, String)> {
        let id = match now {
            Object::Node(_) => Id::node("a", "b", "c"),
            Object::Session(_) => Id::session(1),
            Object::Disk(_) => Id::disk("naa.1", 1, 0),
        };
        let mut model = Model::default();
        if let Some(before) = before {
            put(&mut model, &id, &before);
        }
        let mut story = Story::new(Scope { with_nodes: true, ..Scope::default() }, &model);
        let event = put(&mut model, &id, now).unwrap();
        let told = story.tell(&event, &model).unwrap();
        told.into_iter().map(|happening| (happening.mood, happening.what)).collect()
    }

    #[test]
    fn a_session_is_told_of_from_its_beginning_to_its_end() {
        let at = format!("session 1 ({TARGET} at 192.0.2.21:3260)");
        let up = Object::Session(session("LOGGED_IN"));
        assert_eq!(told(None, &up), [(Mood::Good, format!("{at}: LOGGED_IN"))]);
        let failed = Object::Session(session("FAILED"));
        let said = [(Mood::Bad, format!("{at}: FAILED (was LOGGED_IN)"))];
        assert_eq!(told(Some(up.clone()), &failed), said);
        let mut held = session("LOGGED_IN");
        held.holds = vec!["libvirt:web".to_owned(), "backup".to_owned()];
        let held = Object::Session(held);
        let said = [(Mood::Neutral, format!("{at}: held by libvirt:web, backup"))];
        assert_eq!(told(Some(up.clone()), &held), said);
        assert_eq!(told(Some(held), &up), [(Mood::Neutral, format!("{at}: not held any more"))]);
        let mut begun = session("LOGGED_IN");
        begun.target = String::new();
        let begun = Object::Session(begun);
        assert_eq!(told(None, &begun), [(Mood::Good, "session 1: iscsid is making it".to_owned())]);
        assert_eq!(told(Some(begun), &up), [(Mood::Good, format!("{at}: LOGGED_IN"))]);
        let mut later = session("LOGGED_IN");
        later.since = 7;
        assert!(told(Some(up.clone()), &Object::Session(later)).is_empty(), "no one sees that");
        assert_eq!(told_gone(&up).what, format!("{at}: ended"));
    }

    #[test]
    fn a_disk_is_told_of_path_by_path_and_then_as_a_whole() {
        let fine = Object::Disk(disk(&[("sda", "active"), ("sdb", "active")], Health::Optimal));
        assert_eq!(
            told(None, &fine),
            [(Mood::Good, "disk mpatha: optimal 64 MiB LIO-ORG, 2 paths".to_owned())]
        );
        let worse = Object::Disk(disk(&[("sda", "failed"), ("sdb", "active")], Health::Degraded));
        assert_eq!(
            told(Some(fine.clone()), &worse),
            [
                (
                    Mood::Bad,
                    "disk mpatha: path sda at 192.0.2.21:3260 FAILED: path failed (was ok)".to_owned()
                ),
                (Mood::Bad, "disk mpatha: degraded (was optimal)".to_owned()),
            ]
        );
        let mut other = disk(&[("sda", "active"), ("sdb", "active"), ("sdc", "active")], Health::Optimal);
        other.paths.remove(0);
        let other = Object::Disk(other);
        assert_eq!(
            told(Some(fine.clone()), &other),
            [
                (Mood::Good, "disk mpatha: path sdc at 192.0.2.21:3260 is new: ok".to_owned()),
                (Mood::Neutral, "disk mpatha: path sda at 192.0.2.21:3260 is gone".to_owned()),
            ]
        );
        let mut bare = disk(&[("sda", "")], Health::Single);
        (bare.map, bare.size) = (String::new(), 128 << 20);
        let said = told(Some(fine), &Object::Disk(bare));
        let words: Vec<&str> = said.iter().map(|(_, what)| what.as_str()).collect();
        assert_eq!(
            words,
            [
                "disk sda: its map mpatha is gone",
                "disk sda: 128 MiB (was 64 MiB)",
                "disk sda: path sdb at 192.0.2.21:3260 is gone",
                "disk sda: single (was optimal)",
            ]
        );
    }

    #[test]
    fn in_brief_it_is_what_is_so_now() {
        let at = "path sda at 192.0.2.21:3260";
        for (what, brief) in [
            (format!("{at} waiting: session FAILED (was ok)"), format!("{at} waiting")),
            (format!("{at} ok (was FAILED: path failed)"), format!("{at} ok")),
            (format!("{at} is new: FAILED: path failed"), format!("{at} is new: FAILED")),
            ("session 1: FAILED (was LOGGED_IN)".to_owned(), "session 1: FAILED".to_owned()),
            ("session 1: ended".to_owned(), "session 1: ended".to_owned()),
        ] {
            assert_eq!(Happening::new(Mood::Neutral, what).in_brief(), brief);
        }
    }

    #[test]
    fn a_record_is_told_of_where_it_is_other_than_before() {
        let mut node = Node::default();
        (node.target, node.portal) = (TARGET.to_owned(), PORTAL.to_owned());
        (node.startup, node.chap) = (Startup::Manual, ChapMode::None);
        let mut changed = node.clone();
        (changed.startup, changed.chap) = (Startup::Automatic, ChapMode::OneWay);
        changed.message = "it is damaged".to_owned();
        let at = format!("node {TARGET} at 192.0.2.21:3260");
        let said = told(Some(Object::Node(node.clone())), &Object::Node(changed));
        let words: Vec<&str> = said.iter().map(|(_, what)| what.as_str()).collect();
        assert_eq!(
            words,
            [
                format!("{at}: startup automatic (was manual)"),
                format!("{at}: CHAP one-way (was none)"),
                format!("{at}: it is damaged"),
            ]
        );
        let mut used = node.clone();
        used.logged_in = true;
        assert!(told(Some(Object::Node(node)), &Object::Node(used)).is_empty(), "its session says so");
    }

    #[test]
    fn what_is_not_wanted_is_not_told_of() {
        let id = Id::session(1);
        let mut model = Model::default();
        let scope = Scope { target: "iqn.2003-01.com.example:other".parse().ok(), ..Scope::default() };
        let mut story = Story::new(scope, &model);
        let object = Object::Session(session("LOGGED_IN"));
        let event = put(&mut model, &id, &object).unwrap();
        assert_eq!(story.tell(&event, &model), None);
        assert!(story.present().is_empty());
        let event = model.remove(&id.to_string(), &[id.class().interface()]).unwrap();
        assert_eq!(story.tell(&event, &model), None);
        let restarted = story.tell(&Event::Restarted, &model).unwrap();
        assert_eq!(restarted[0].what, "the daemon was restarted; everything was read again");
    }
}
