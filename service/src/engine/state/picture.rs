//! The machine as the bus shows it, nodes, sessions and disks as objects; and what is other than before.
//!
//! | room | what it is |
//! |---|---|
//! | `health` | whether a disk can be used, and with which reserve |

mod health;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use iscsi_initiator_dbus::{
    Portal,
    fault::Result,
    objects::{self, Id, Object, Properties},
    results::{Health, NodeState},
};

pub(crate) use super::kept::Freshness;
use super::{
    listing::{node_of, path_of_disk, with_holds},
    same_disk::PathOf,
    snapshot::Snapshot,
    troubles::{self, Troubles},
};
use crate::{
    backend::{
        kernel::sysfs::Session,
        leases::Held,
        open_iscsi::database::{Node, NodeKey},
    },
    engine::Engine,
};

/// What a look reads again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// Sessions, disks and maps. The nodes are those of the look before.
    Devices,
    /// The records as well.
    Everything,
}

/// Every object at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Picture {
    objects: BTreeMap<Id, Object>,
    /// The records that the nodes were made of.
    records: Arc<Vec<Node>>,
    is_settled: bool,
}

/// One difference between two pictures.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    Added(Id, Box<Object>),
    /// The properties that are other than before.
    Changed(Id, Properties),
    Removed(Id),
}

impl Engine {
    /// Looks at the machine. `before` is what was shown until now.
    pub(crate) async fn picture(
        &self,
        before: Option<&Picture>,
        scope: Scope,
        freshness: &Freshness,
    ) -> Result<Picture> {
        let current = self.kept.current(freshness, None).await?;
        let nodes = match before {
            Some(before) if scope == Scope::Devices => Arc::clone(&before.records),
            _ => self.state.nodes().await?.into(),
        };
        let now = current.snapshot.with_nodes(nodes);
        let troubles = troubles::look(self, now.all_sessions()).await?;
        let is_any_stalled = disks(&now).values().any(|paths| health::is_stalled(paths, &now));
        let queueing = if is_any_stalled { self.state.queueing_maps().await } else { BTreeSet::new() };
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        // As in the list of paths: a logout that cannot read them is refused.
        let held = self.turns.leases.all().await.unwrap_or_default();
        let seen = Seen { troubles: &troubles, queueing: &queueing, held: &held, before, clock };
        Ok(Picture::of(&now, &seen))
    }
}

/// What a snapshot does not hold.
struct Seen<'a> {
    troubles: &'a Troubles,
    /// The maps that let I/O wait while no path works, by their names.
    queueing: &'a BTreeSet<String>,
    /// The targets that are held.
    held: &'a [Held],
    before: Option<&'a Picture>,
    /// Seconds since 1970.
    clock: u64,
}

impl Seen<'_> {
    fn held(&self, session: &Session) -> Option<&Held> {
        self.held.iter().find(|held| held.is_of(&session.target))
    }
}

/// How a record names a session.
type Place = (String, Option<Portal>, String);

impl Picture {
    /// Every object.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (&Id, &Object)> {
        self.objects.iter()
    }

    /// One object.
    pub(crate) fn object(&self, id: &Id) -> Option<&Object> {
        self.objects.get(id)
    }

    #[cfg(test)]
    pub(crate) fn of_objects(objects: impl IntoIterator<Item = (Id, Object)>) -> Self {
        Self { objects: objects.into_iter().collect(), ..Self::default() }
    }

    /// Whether every session and disk works, and nothing is on its way. If not, something may change
    /// without an event.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// What is other in a later picture. What an object refers to is added before it refers to it, and
    /// removed once it does not any more; only a session and a node that come or go together refer to
    /// each other.
    pub(crate) fn diff(&self, later: &Self) -> Vec<Change> {
        let (mut added, mut changed) = (Vec::new(), Vec::new());
        for (id, now) in &later.objects {
            match self.objects.get(id) {
                None => added.push(Change::Added(id.clone(), Box::new(now.clone()))),
                Some(before) if before != now => {
                    changed.push(Change::Changed(id.clone(), Object::changes(before, now)));
                }
                Some(_) => {}
            }
        }
        let is_gone = |id: &&Id| !later.objects.contains_key(*id);
        let removed = self.objects.keys().filter(is_gone).map(|id| Change::Removed(id.clone()));
        added.into_iter().rev().chain(changed).chain(removed).collect()
    }

    fn of(now: &Snapshot, seen: &Seen<'_>) -> Self {
        let mut objects = BTreeMap::new();
        // The node of a session, with its interface.
        let mut places: HashMap<Place, (Id, String)> = HashMap::new();
        for record in now.nodes() {
            let (id, node) = (id_of(&record.key), node(record, now));
            let key = &record.key;
            let place = (key.target.to_string(), Some(key.portal.clone()), key.iface.clone());
            places.entry(place).or_insert_with(|| (id.clone(), node.interface.clone()));
            objects.insert(id, Object::Node(node));
        }
        for session in now.all_sessions() {
            let place = (session.target.clone(), session.portal.clone(), session.iface.clone());
            let id = Id::session(session.sid);
            let session = self::session(session, places.get(&place), seen);
            objects.insert(id, Object::Session(session));
        }
        for (id, paths) in disks(now) {
            objects.insert(id, Object::Disk(disk(&paths, now, seen)));
        }
        let is_settled =
            objects.values().all(is_settled) && now.all_sessions().iter().map(Arc::as_ref).all(is_made_up);
        Self { objects, records: now.shared_nodes(), is_settled }
    }
}

/// Whether nothing about the object is expected to change by itself.
fn is_settled(object: &Object) -> bool {
    match object {
        Object::Node(_) => true,
        Object::Session(session) => session.state == "LOGGED_IN",
        Object::Disk(disk) => matches!(disk.health, Health::Optimal | Health::Single),
    }
}

/// Whether the kernel has found a session's LUNs, and named its disks.
fn is_made_up(session: &Session) -> bool {
    let is_named = session.disks.iter().all(|disk| !disk.is_disk || !disk.name.is_empty());
    session.is_made() && session.scanned != Some(false) && is_named
}

/// The tag of a portal group that goes without saying.
const USUAL_GROUP: u16 = 1;

/// A node's path, by its own record alone: of several for one portal, each has a path that no other can have or take
/// over, whichever of them come and go.
fn id_of(key: &NodeKey) -> Id {
    let plain = Id::node(key.target.as_str(), &key.portal.to_string(), &key.iface);
    let id = match (key.tpgt, &key.spelled) {
        (Some(USUAL_GROUP), None) => return plain,
        (Some(group), _) => plain.with_group(group),
        (None, _) => plain.without_group(),
    };
    match &key.spelled {
        Some(spelled) => id.with_spelling(spelled),
        None => id,
    }
}

fn node(record: &Node, now: &Snapshot) -> objects::Node {
    let entry = node_of(record, NodeState::Known, now);
    let mut node = objects::Node::default();
    node.session =
        now.session_of(&record.key).map(|session| Id::session(session.sid).path()).unwrap_or_default();
    node.target = entry.target;
    node.portal = entry.portal;
    node.tpgt = entry.tpgt;
    node.startup = entry.startup;
    node.chap = entry.chap;
    node.state = entry.state;
    node.logged_in = entry.logged_in;
    node.interface = entry.interface;
    node.message = entry.message;
    node.hint = entry.hint;
    node
}

fn session(session: &Session, node: Option<&(Id, String)>, seen: &Seen<'_>) -> objects::Session {
    // open-iscsi's name for "the routes decide".
    let iface = if session.iface == "default" { "" } else { &session.iface };
    let mut shown = objects::Session::default();
    shown.sid = session.sid;
    shown.target.clone_from(&session.target);
    shown.portal = session.portal.as_ref().map(ToString::to_string).unwrap_or_default();
    shown.interface = node.map_or_else(|| iface.to_owned(), |(_, interface)| interface.clone());
    shown.initiator_name.clone_from(&session.initiator);
    shown.state.clone_from(&session.state);
    shown.since = since(session, seen);
    shown.node = node.map(|(id, _)| id.path()).unwrap_or_default();
    let disks = session.disks.iter().filter(|disk| disk.is_disk);
    shown.disks = disks.map(|disk| Id::disk(&disk.wwid, session.sid, disk.lun).path()).collect();
    shown.holds = seen.held(session).map(Held::names).unwrap_or_default();
    shown
}

/// When the session came into its state, as far as that was seen.
fn since(session: &Session, seen: &Seen<'_>) -> u64 {
    let Some(before) = seen.before else { return 0 };
    match before.object(&Id::session(session.sid)) {
        Some(Object::Session(before)) if before.state == session.state => before.since,
        _ => seen.clock,
    }
}

/// The paths of each disk, in the order of their sessions.
fn disks(now: &Snapshot) -> BTreeMap<Id, Vec<PathOf<'_>>> {
    let mut disks = BTreeMap::<Id, Vec<PathOf<'_>>>::new();
    for session in now.all_sessions() {
        for disk in session.disks.iter().filter(|disk| disk.is_disk) {
            let id = Id::disk(&disk.wwid, session.sid, disk.lun);
            disks.entry(id).or_default().push(PathOf { session, disk });
        }
    }
    disks
}

fn disk(paths: &[PathOf<'_>], now: &Snapshot, seen: &Seen<'_>) -> objects::Disk {
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
    let is_queueing = map.is_some_and(|map| seen.queueing.contains(&map.name));
    shown.health = health::of(paths, now, is_queueing);
    let entry = |path: &PathOf<'_>| {
        let trouble = seen.troubles.of([path.disk]);
        let entry = path_of_disk(path.session, path.disk, now.path(&path.disk.name), trouble);
        with_holds(entry, seen.held(path.session))
    };
    shown.paths = paths.iter().map(entry).collect();
    shown
}

#[cfg(test)]
mod tests;
