//! A target with its portals and disks.

use std::collections::BTreeMap;

use iscsi_initiator_dbus::{
    objects::{Disk, Id, Model, Node, Session},
    results::{ChapMode, Path, Startup},
};

use super::{link::Link, names, sentence};
use crate::{
    health::{self, Level},
    memory::Memory,
    text::Phrase,
};

/// A portal of a target: recorded, connected, or both. A node with several sessions is several of these.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Numeric, `address:port`.
    pub portal: String,
    /// The network interface; empty if the routes decide.
    pub interface: String,
    /// Its record; nothing if another program has connected it without one.
    pub node: Option<Id>,
    /// Its session; nothing while it is not connected, or once the session that was lost has been given up.
    pub session: Option<Id>,
    /// Whether it is connected.
    pub link: Link,
    /// When it is connected by itself; nothing without a record.
    pub startup: Option<Startup>,
    /// What its record asks for; nothing without a record.
    pub chap: Option<ChapMode>,
    /// Why its record cannot be used; usually empty.
    pub message: String,
    /// What to do about that, in the daemon's words.
    pub hint: String,
}

impl Place {
    fn of(node: Option<(&Id, &Node)>, session: Option<(&Id, &Session)>, memory: &Memory) -> Self {
        let record = node.map(|(_, node)| node);
        let first = |of_session: fn(&Session) -> &String, of_node: fn(&Node) -> &String| {
            session.map(|(_, session)| of_session(session)).or(record.map(of_node)).cloned()
        };
        Self {
            portal: first(|session| &session.portal, |node| &node.portal).unwrap_or_default(),
            interface: first(|session| &session.interface, |node| &node.interface).unwrap_or_default(),
            node: node.map(|(id, _)| id.clone()),
            session: session.map(|(id, _)| id.clone()),
            link: match (session, node) {
                (Some((id, session)), _) => memory.link(id, session),
                (None, Some((id, _))) if memory.is_given_up(id) => Link::Lost,
                _ => Link::Off,
            },
            startup: record.map(|node| node.startup),
            chap: record.map(|node| node.chap),
            message: record.map(|node| node.message.clone()).unwrap_or_default(),
            hint: record.map(|node| node.hint.clone()).unwrap_or_default(),
        }
    }
}

/// A target as people see it.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Its whole name.
    pub name: String,
    /// What it is called in a list: the [short](names::short) name, or the whole one if another target has the same.
    pub title: String,
    /// Its portals, by address and interface.
    pub places: Vec<Place>,
    /// Its disks, by their LUNs.
    pub disks: Vec<Id>,
    /// Who holds it, by the holders' names; each once.
    pub holds: Vec<String>,
    /// How well it works: the worst of its sessions and disks.
    pub level: Level,
    /// The same in one sentence.
    pub sentence: Phrase,
    /// How many of the paths of its disks work, and how many there are.
    pub paths: (usize, usize),
}

impl Target {
    /// Whether there is a session.
    pub fn is_connected(&self) -> bool {
        self.places.iter().any(|place| place.session.is_some())
    }

    /// Whether it is connected at startup: the switch. On where any of its records says so, as open-iscsi takes it.
    pub fn is_automatic(&self) -> bool {
        self.places.iter().any(|place| place.startup == Some(Startup::Automatic))
    }

    /// Whether this machine boots with it, so that it cannot be disconnected, and the switch does not count.
    pub fn is_of_boot(&self) -> bool {
        self.places.iter().any(|place| place.startup == Some(Startup::Onboot))
    }

    /// Whether a record of it is damaged.
    pub fn is_damaged(&self) -> bool {
        self.places.iter().any(|place| !place.message.is_empty())
    }
}

/// What belongs to one target, while the objects are gone through.
#[derive(Default)]
struct Parts<'a> {
    nodes: Vec<(&'a Id, &'a Node)>,
    sessions: Vec<(&'a Id, &'a Session)>,
    disks: BTreeMap<&'a Id, &'a Disk>,
}

/// Every target with a record, a session or a disk, by its name.
pub(super) fn targets(model: &Model, memory: &Memory) -> Vec<Target> {
    let mut parts: BTreeMap<&str, Parts<'_>> = BTreeMap::new();
    for (id, node) in model.nodes() {
        parts.entry(&node.target).or_default().nodes.push((id, node));
    }
    for (id, session) in model.sessions() {
        parts.entry(&session.target).or_default().sessions.push((id, session));
    }
    for (id, disk) in model.disks() {
        for target in &disk.targets {
            parts.entry(target).or_default().disks.insert(id, disk);
        }
    }
    // A session without a name is one that iscsid is making.
    parts.remove("");
    let mut targets: Vec<Target> =
        parts.into_iter().map(|(name, parts)| target(name, parts, memory)).collect();
    let mut titles: BTreeMap<String, usize> = BTreeMap::new();
    for target in &targets {
        *titles.entry(target.title.clone()).or_default() += 1;
    }
    for target in &mut targets {
        if titles.get(&target.title).is_some_and(|count| *count > 1) {
            target.title.clone_from(&target.name);
        }
    }
    targets
}

fn target(name: &str, parts: Parts<'_>, memory: &Memory) -> Target {
    let Parts { nodes, sessions, disks } = parts;
    let node_of =
        |session: &Session| nodes.iter().find(|(id, _)| session.node.as_str() == id.to_string()).copied();
    let of_session = |(id, session): &(&_, &_)| Place::of(node_of(session), Some((*id, *session)), memory);
    let mut places: Vec<Place> = sessions.iter().map(of_session).collect();
    let has_session = |id: &Id| places.iter().any(|place| place.node.as_ref() == Some(id));
    let idle: Vec<Place> = nodes
        .iter()
        .filter(|(id, _)| !has_session(id))
        .map(|node| Place::of(Some(*node), None, memory))
        .collect();
    places.extend(idle);
    places.sort_by(|a, b| (&a.portal, &a.interface, &a.session).cmp(&(&b.portal, &b.interface, &b.session)));
    let mut holds: Vec<String> = Vec::new();
    for holder in sessions.iter().flat_map(|(_, session)| &session.holds) {
        if !holds.contains(holder) {
            holds.push(holder.clone());
        }
    }
    let mut disks: Vec<(&Id, &Disk)> = disks.into_iter().collect();
    let lun = |disk: &Disk| disk.paths.iter().find(|path| path.target == name).map(|path| path.lun);
    disks.sort_by_key(|(id, disk)| (lun(disk), *id));
    let own: Vec<&Disk> = disks.iter().map(|(_, disk)| *disk).collect();
    let paths = own.iter().flat_map(|disk| &disk.paths).filter(|path| path.target == name);
    let works = |path: &Path| !health::path(path).is_cut;
    let paths: Vec<bool> = paths.map(works).collect();
    let paths = (paths.iter().filter(|works| **works).count(), paths.len());
    let links: Vec<Link> = places.iter().map(|place| place.link).filter(|link| *link != Link::Off).collect();
    let is_damaged = places.iter().any(|place| !place.message.is_empty());
    let level = level(&links, &own).max(if is_damaged { Level::Attention } else { Level::Idle });
    let sentence = sentence::of_target(level, &links, &own, paths, is_damaged);
    let disks = disks.into_iter().map(|(id, _)| id.clone()).collect();
    let (name, title) = (name.to_owned(), names::short(name).to_owned());
    Target { name, title, places, disks, holds, level, sentence, paths }
}

fn level(links: &[Link], disks: &[&Disk]) -> Level {
    let lost = links.iter().filter(|link| **link == Link::Lost).count();
    let of_links = match links.len() {
        0 => Level::Idle,
        _ if lost == 0 => Level::Well,
        // With a disk, that says whether anything waits or fails.
        all if lost == all && disks.is_empty() => Level::Down,
        _ => Level::Degraded,
    };
    disks.iter().map(|disk| Level::of_disk(disk)).fold(of_links, Level::max)
}
