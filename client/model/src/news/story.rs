//! Every event in words: what is other than before, as a person calls it.
//! Must not tell what a person cannot see, such as which object path changed.

use std::collections::BTreeMap;

use iscsi_initiator_dbus::{
    objects::{Disk, Event, Id, Model, Node, Object, Session},
    results::Path,
};

use crate::{
    health::{self, Mood, PathHealth},
    mirror::Scope,
    overview::disk_name,
    text::{Message, Phrase, states, story, units},
};

/// Something that happened, in words. They may have been chosen by a target: escape them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happening {
    /// Whether that is good.
    pub mood: Mood,
    /// What it is, with what was before.
    pub what: Phrase,
    /// What is so now, for who has no room: without what was before, and why a path does not work.
    pub brief: Phrase,
}

impl Happening {
    /// One that is no shorter in brief.
    pub fn new(mood: Mood, what: impl Into<Phrase>) -> Self {
        let what = what.into();
        Self { mood, brief: what.clone(), what }
    }

    /// The same with another text in brief.
    fn in_brief(self, brief: impl Into<Phrase>) -> Self {
        Self { brief: brief.into(), ..self }
    }

    /// The same of what was something else before, which is left out in brief.
    fn changed(mood: Mood, now: Phrase, was: Phrase) -> Self {
        Self::new(mood, was).in_brief(now)
    }
}

/// The objects as they were last told of.
#[derive(Debug)]
pub struct Story {
    scope: Scope,
    known: BTreeMap<Id, Object>,
}

impl Story {
    /// Begins with what is there, which is not told again.
    pub fn new(scope: Scope, model: &Model) -> Self {
        let known = model.objects().map(|(id, object)| (id.clone(), object.clone())).collect();
        Self { scope, known }
    }

    /// The sessions and disks that are there. What is recorded only is not among them.
    pub fn present(&self) -> Vec<Happening> {
        let shown = self.known.values().filter(|object| self.scope.has(object));
        shown.filter(|object| !matches!(object, Object::Node(_))).map(told_whole).collect()
    }

    /// What an event says, in the order in which it is told: nothing that a person sees may be other than before.
    /// `None` if it is not about what is wanted, neither before it nor after it.
    pub fn tell(&mut self, event: &Event, model: &Model) -> Option<Vec<Happening>> {
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
            Event::Restarted => Some(vec![Happening::new(Mood::Neutral, story::RESTARTED)]),
            // A newer kind.
            _ => None,
        }
    }
}

/// A thing that is there now.
fn told_whole(object: &Object) -> Happening {
    match object {
        Object::Node(node) => Happening::new(Mood::Neutral, of_node(story::NODE_RECORDED, node)),
        Object::Session(session) => session_whole(session),
        Object::Disk(disk) => {
            let is = [
                disk.health.to_string(),
                units::size(disk.size),
                disk.vendor.clone(),
                disk.model.clone(),
                disk.wwid.clone(),
            ];
            let is: Vec<String> = is.into_iter().filter(|word| !word.is_empty()).collect();
            let what = of_disk(story::DISK_WHOLE.of(disk.paths.len()), disk).with("what", is.join(" "));
            Happening::new(Mood::of_health(disk.health), what)
        }
    }
}

fn session_whole(session: &Session) -> Happening {
    let mood = Mood::of_state(&session.state);
    if session.target.is_empty() {
        return Happening::new(mood, story::SESSION_MAKING.with("sid", session.sid.to_string()));
    }
    Happening::new(mood, of_session(story::SESSION_STATE, session).with("now", &session.state))
}

fn told_gone(object: &Object) -> Happening {
    let what = match object {
        Object::Node(node) => of_node(story::NODE_NOT_RECORDED, node),
        Object::Session(session) => of_session(story::SESSION_ENDED, session),
        Object::Disk(disk) => of_disk(story::DISK_GONE, disk),
    };
    Happening::new(Mood::Neutral, what)
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
    let mut changed = |brief, whole, was: String, is: String| {
        let said = |message| of_node(message, now).with("now", is.as_str()).with("before", was.as_str());
        told.push(Happening::changed(Mood::Neutral, said(brief), said(whole)));
    };
    if before.startup != now.startup {
        let (was, is) = (before.startup.to_string(), now.startup.to_string());
        changed(story::NODE_STARTUP, story::NODE_STARTUP_WAS, was, is);
    }
    if before.chap != now.chap {
        let (was, is) = (before.chap.to_string(), now.chap.to_string());
        changed(story::NODE_CHAP, story::NODE_CHAP_WAS, was, is);
    }
    if before.message != now.message {
        told.push(match now.message.as_str() {
            "" => Happening::new(Mood::Good, of_node(story::NODE_USABLE, now)),
            message => Happening::new(Mood::Bad, of_node(story::NODE_MESSAGE, now).with("message", message)),
        });
    }
    told
}

fn of_sessions(before: &Session, now: &Session) -> Vec<Happening> {
    if before.target != now.target {
        return vec![session_whole(now)];
    }
    let mut told = Vec::new();
    if before.state != now.state {
        let said = |message| of_session(message, now).with("now", &now.state).with("before", &before.state);
        let mood = Mood::of_state(&now.state);
        told.push(Happening::changed(mood, said(story::SESSION_STATE), said(story::SESSION_STATE_WAS)));
    }
    let mut tell = |what: Phrase| told.push(Happening::new(Mood::Neutral, what));
    if before.portal != now.portal {
        tell(of_session(story::SESSION_MOVED, now).with("before", &before.portal));
    }
    if before.holds != now.holds {
        tell(match now.holds.is_empty() {
            true => of_session(story::SESSION_NOT_HELD, now),
            false => of_session(story::SESSION_HELD, now).with("holders", units::list(&now.holds)),
        });
    }
    told
}

fn of_disks(before: &Disk, now: &Disk) -> Vec<Happening> {
    let mut told = Vec::new();
    if before.map != now.map {
        let what = match now.map.as_str() {
            "" => of_disk(story::DISK_MAP_GONE, now).with("map", &before.map),
            map => of_disk(story::DISK_MAP, now).with("map", map),
        };
        told.push(Happening::new(Mood::Neutral, what));
    }
    let changed = |mood: Mood, was: Phrase, is: Phrase| {
        let said = |message| of_disk(message, now).with("now", is.clone()).with("before", was.clone());
        Happening::changed(mood, said(story::DISK_NOW), said(story::DISK_WAS))
    };
    if before.size != now.size {
        told.push(changed(Mood::Neutral, known(before.size), known(now.size)));
    }
    let of = |path: &Path, paths: &[Path]| paths.iter().position(|other| is_same(path, other));
    for path in &now.paths {
        let was = of(path, &before.paths).and_then(|place| before.paths.get(place));
        let (is, was) = (health::path(path), was.map(health::path));
        let said = |message, state: Phrase| of_path(message, now, path).with("now", state);
        match was {
            None => {
                let whole = said(story::PATH_NEW, is.phrase());
                told.push(Happening::new(is.mood(), whole).in_brief(said(story::PATH_NEW, brief(&is))));
            }
            Some(was) if was.phrase() != is.phrase() => {
                let whole = said(story::PATH_WAS, is.phrase()).with("before", was.phrase());
                told.push(Happening::changed(is.mood(), said(story::PATH_NOW, brief(&is)), whole));
            }
            Some(_) => {}
        }
    }
    for path in before.paths.iter().filter(|path| of(path, &now.paths).is_none()) {
        told.push(Happening::new(Mood::Neutral, of_path(story::PATH_GONE, now, path)));
    }
    // Last: what the paths are makes it so.
    if before.health != now.health {
        let (was, is) = (before.health.to_string(), now.health.to_string());
        told.push(changed(Mood::of_health(now.health), was.into(), is.into()));
    }
    told
}

/// Without the reasons; what works in spite of one keeps it.
fn brief(path: &PathHealth) -> Phrase {
    match path.verdict {
        health::Verdict::WorksBut => path.phrase(),
        _ => path.brief().into(),
    }
}

fn known(size: u64) -> Phrase {
    if size == 0 { units::UNKNOWN_SIZE.into() } else { units::size(size).into() }
}

/// A path is a LUN of a session.
fn is_same(one: &Path, other: &Path) -> bool {
    (one.sid, one.lun, &one.device) == (other.sid, other.lun, &other.device)
}

/// A sentence about a node.
fn of_node(message: Message, node: &Node) -> Phrase {
    message.with("target", &node.target).with("portal", &node.portal)
}

/// A sentence about a session.
fn of_session(message: Message, session: &Session) -> Phrase {
    let sid = message.with("sid", session.sid.to_string());
    sid.with("target", &session.target).with("portal", &session.portal)
}

/// A sentence about a disk.
fn of_disk(message: impl Into<Phrase>, disk: &Disk) -> Phrase {
    let name: Phrase = match disk_name(disk) {
        "" => story::NO_NAME.into(),
        name => name.into(),
    };
    message.into().with("disk", name)
}

/// A sentence about a path of a disk.
fn of_path(message: Message, disk: &Disk, path: &Path) -> Phrase {
    let device: Phrase = match path.device.as_str() {
        "" => states::LUN.with("number", path.lun.to_string()),
        device => device.into(),
    };
    of_disk(message, disk).with("device", device).with("portal", &path.portal)
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::{ChapMode, Health, Startup};

    use super::*;
    use crate::for_tests::{self, PORTAL, TARGET, put, take};

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
        told.into_iter().map(|happening| (happening.mood, happening.what.to_string())).collect()
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
        assert_eq!(told_gone(&up).what.to_string(), format!("{at}: ended"));
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
        let brief = |before: Option<Object>, now: Object| {
            let mut model = Model::default();
            let id = if matches!(now, Object::Disk(_)) { Id::disk("naa.1", 1, 0) } else { Id::session(1) };
            if let Some(before) = before {
                put(&mut model, &id, &before);
            }
            let mut story = Story::new(Scope::default(), &model);
            let event = put(&mut model, &id, &now).unwrap();
            story.tell(&event, &model).unwrap()[0].brief.to_string()
        };
        let whole = |state: &str| Object::Disk(disk(&[("sda", state)], Health::Optimal));
        let at = "disk mpatha: path sda at 192.0.2.21:3260";
        assert_eq!(brief(Some(whole("active")), whole("odd")), format!("{at} waiting"));
        assert_eq!(brief(Some(whole("failed")), whole("active")), format!("{at} ok"));
        let without = Object::Disk(disk(&[], Health::Optimal));
        assert_eq!(brief(Some(without), whole("failed")), format!("{at} is new: FAILED"));
        let up = Object::Session(session("LOGGED_IN"));
        let said = format!("session 1 ({TARGET} at {PORTAL}): FAILED");
        assert_eq!(brief(Some(up), Object::Session(session("FAILED"))), said);
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
        let event = take(&mut model, &id).unwrap();
        assert_eq!(story.tell(&event, &model), None);
        let restarted = story.tell(&Event::Restarted, &model).unwrap();
        assert_eq!(restarted[0].what.to_string(), "the daemon was restarted; everything was read again");
    }
}
