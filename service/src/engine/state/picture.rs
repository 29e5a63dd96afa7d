//! The machine as the bus shows it, nodes, sessions and disks as objects. A look makes those again that something is
//! other for, and compares no others.
//!
//! | room | what it is |
//! |---|---|
//! | `health` | whether a disk can be used, and with which reserve |
//! | `holds` | who holds which target |
//! | `links` | which paths have something to do with each other |
//! | `made` | one object, of what was seen |
//! | `records` | the records that nodes are made of |

mod health;
mod holds;
mod links;
mod made;
mod records;

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use iscsi_initiator_dbus::{
    fault::Result,
    objects::{self, Id, Object, Properties},
};

use self::{
    holds::Holds,
    links::{At, Link, Links, id_of, path, path_in},
    made::Around,
    records::{Place, Records, place_at, place_of},
};
pub(crate) use super::kept::Freshness;
use super::{
    diff::without_disks,
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

/// One difference between two pictures.
#[derive(Debug, PartialEq)]
pub(crate) enum Change {
    Added(Id, Box<Object>),
    /// The properties that are other than before.
    Changed(Id, Properties),
    Removed(Id),
}

/// Every object at one moment, with what they were made of.
#[derive(Debug, Default)]
pub(crate) struct Picture {
    objects: BTreeMap<Id, Object>,
    /// Whether they have been made at all.
    is_made: bool,
    /// The sessions, and the states of their paths.
    now: Snapshot,
    records: Records,
    /// The numbers of the sessions at each place.
    places: HashMap<Place, BTreeSet<u32>>,
    links: Links,
    holds: Holds,
    /// Why nodes wait for a session.
    waiting: BTreeMap<NodeKey, String>,
    /// The maps that let I/O wait while no path works, by their names, as far as that matters.
    queueing: BTreeSet<String>,
    /// The disks with a map, of which no path works, with its name.
    stalled: BTreeMap<Id, String>,
    /// The disks with something wrong for which files are read as well.
    of_files: BTreeSet<Id>,
    /// What is expected to change by itself.
    unsettled: BTreeSet<Id>,
    /// The sessions that are still being made up.
    unmade: BTreeSet<u32>,
    /// What is to be made again. It stays so until a look has got to its end.
    due: Due,
}

/// What a look finds out beside the snapshot.
#[cfg(any(test, feature = "measure"))]
#[derive(Clone, Debug, Default)]
pub(super) struct Found {
    /// `None`: files are not read.
    pub(super) held: Option<Vec<Held>>,
    pub(super) queueing: BTreeSet<String>,
    pub(super) accepted: super::same_disk::Accepted,
    pub(super) clock: u64,
}

/// Objects that something is other for.
#[derive(Debug, Default)]
struct Due {
    nodes: BTreeSet<Id>,
    sessions: BTreeSet<u32>,
    disks: BTreeSet<Id>,
    /// Disks, by one of their paths.
    paths: BTreeSet<At>,
}

impl Engine {
    /// Looks at the machine, and brings the picture up to date. Returns what is other than before; nothing of a picture
    /// that is made for the first time.
    pub(crate) async fn look_for(
        &self,
        picture: &mut Picture,
        scope: Scope,
        freshness: &Freshness,
    ) -> Result<Vec<Change>> {
        let current = self.kept.current(freshness, None).await?;
        let nodes = match scope {
            Scope::Devices if picture.is_made => picture.records.all(),
            _ => self.state.nodes().await?.into(),
        };
        picture.see(current.snapshot.with_nodes(nodes));
        picture.wait(self.turns.missing.sentences());
        // Files have no event. Those of leases are changed by acts, after which all is looked at.
        if !picture.is_made || *freshness != Freshness::Events {
            // As in the list of paths: a logout that cannot read them is refused.
            picture.see_files(self.turns.leases.all().await.unwrap_or_default());
        }
        let queueing =
            if picture.stalled.is_empty() { BTreeSet::new() } else { self.state.queueing_maps().await };
        picture.queue(queueing);
        let paths = picture.due_paths();
        let troubles = troubles::look_at(self, &picture.paths(&paths)).await?;
        let clock = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Ok(picture.make(&paths, &troubles, clock))
    }
}

impl Picture {
    /// Every object.
    pub(crate) fn objects(&self) -> impl Iterator<Item = (&Id, &Object)> {
        self.objects.iter()
    }

    /// One object.
    pub(crate) fn object(&self, id: &Id) -> Option<&Object> {
        self.objects.get(id)
    }

    /// Brings it up to date as `look_for` does, with what that would have found out.
    #[cfg(any(test, feature = "measure"))]
    pub(super) fn look_at(&mut self, now: Snapshot, found: Found) -> Vec<Change> {
        self.see(now);
        found.held.into_iter().for_each(|held| self.see_files(held));
        self.queue(if self.stalled.is_empty() { BTreeSet::new() } else { found.queueing });
        let paths = self.due_paths();
        let troubles = Troubles::of_paths(&self.paths(&paths), &found.accepted);
        self.make(&paths, &troubles, found.clock)
    }

    #[cfg(test)]
    pub(crate) fn of_objects(objects: impl IntoIterator<Item = (Id, Object)>) -> Self {
        Self { objects: objects.into_iter().collect(), ..Self::default() }
    }

    /// Whether every session and disk works, and nothing is on its way. If not, something may change
    /// without an event.
    pub(crate) fn is_settled(&self) -> bool {
        self.unsettled.is_empty() && self.unmade.is_empty()
    }

    /// Takes over what was seen, and finds out what it is other for.
    fn see(&mut self, now: Snapshot) {
        let before = std::mem::take(&mut self.now);
        let mut left = HashSet::new();
        for (old, new) in differences(before.all_sessions(), now.all_sessions()) {
            self.see_session(old.map(Arc::as_ref), new.map(Arc::as_ref), &mut left);
        }
        // Each once: a target may offer one disk as thousands of LUNs.
        self.due.paths.extend(left.iter().flat_map(|link| self.links.of(link)));
        for disk in before.paths().differences(now.paths()) {
            self.due.paths.extend(self.links.of(&Link::Name(disk.to_owned())));
        }
        let (nodes, places) = self.records.replace(now.shared_nodes());
        self.due.nodes.extend(nodes);
        self.due.sessions.extend(places.iter().filter_map(|place| self.places.get(place)).flatten());
        let ids = self.due.paths.iter().filter_map(|at| path(&now, *at)).map(id_of);
        self.due.disks.extend(ids.collect::<Vec<_>>());
        self.now = now;
        for id in &self.due.disks {
            match health::stalled(&paths_of(id, &self.links, &self.now), &self.now) {
                Some(map) => drop(self.stalled.insert(id.clone(), map.name.clone())),
                None => drop(self.stalled.remove(id)),
            }
        }
    }

    /// A session that is other than before, has come or is gone. `left` gets what its paths had in common with others.
    fn see_session(&mut self, old: Option<&Session>, new: Option<&Session>, left: &mut HashSet<Link>) {
        let Some(sid) = new.or(old).map(|session| session.sid) else { return };
        self.due.sessions.insert(sid);
        let (was_at, is_at) = (old.map(place_at), new.map(place_at));
        if was_at != is_at {
            for place in was_at.iter().chain(&is_at) {
                self.due.nodes.extend(self.records.at(place).iter().cloned());
            }
            if let Some(place) = was_at {
                let is_empty = self.places.get_mut(&place).is_none_or(|sids| {
                    sids.remove(&sid);
                    sids.is_empty()
                });
                if is_empty {
                    self.places.remove(&place);
                }
            }
            if let Some(place) = is_at {
                self.places.entry(place).or_default().insert(sid);
            }
        }
        match new.is_some_and(|session| !made::is_made_up(session)) {
            true => drop(self.unmade.insert(sid)),
            false => drop(self.unmade.remove(&sid)),
        }
        let is_alike = old.map(without_disks) == new.map(without_disks);
        let disks = |session: Option<&Session>| session.map_or(0, |session| session.disks.len());
        let pairs = (0..disks(old).max(disks(new))).map(|place| {
            let was = old.and_then(|old| path_in(old, place));
            ((sid, place), was, new.and_then(|new| path_in(new, place)))
        });
        let is_other = |(_, was, is): &(At, Option<PathOf<'_>>, Option<PathOf<'_>>)| {
            !is_alike || was.map(|path| path.disk) != is.map(|path| path.disk)
        };
        let others: Vec<_> = pairs.filter(is_other).collect();
        // The last first: no others have to be moved.
        for (at, was, _) in others.iter().rev() {
            if let Some(path) = *was {
                left.extend(self.links.remove(path, *at));
                self.due.disks.insert(id_of(path));
            }
        }
        for (at, _, is) in others {
            if let Some(path) = is {
                self.links.add(path, at);
                self.due.paths.insert(at);
            }
        }
    }

    /// Takes over what has no event: who holds which target, and what is said of disks by files.
    fn see_files(&mut self, held: Vec<Held>) {
        self.due.disks.extend(self.of_files.iter().cloned());
        self.hold(held);
    }

    /// Takes over who holds which target.
    fn hold(&mut self, held: Vec<Held>) {
        let before = std::mem::replace(&mut self.holds, held.into());
        if before == self.holds {
            return;
        }
        for session in self.now.all_sessions() {
            if before.of(session) != self.holds.of(session) {
                self.due.sessions.insert(session.sid);
                self.due.paths.extend((0..session.disks.len()).map(|place| (session.sid, place)));
            }
        }
    }

    /// Takes over why nodes wait for a session.
    fn wait(&mut self, waiting: BTreeMap<NodeKey, String>) {
        let before = std::mem::replace(&mut self.waiting, waiting);
        let nodes = before.keys().chain(self.waiting.keys());
        let others = nodes.filter(|node| before.get(node) != self.waiting.get(node));
        self.due.nodes.extend(others.map(records::id_of));
    }

    /// Takes over which maps let I/O wait.
    fn queue(&mut self, queueing: BTreeSet<String>) {
        let is_other = |map: &str| self.queueing.contains(map) != queueing.contains(map);
        let disks = self.stalled.iter().filter(|(_, map)| is_other(map)).map(|(id, _)| id.clone());
        self.due.disks.extend(disks);
        self.queueing = queueing;
    }

    /// The paths of what is due, and of all that has something to do with these.
    fn due_paths(&self) -> BTreeSet<At> {
        if !self.is_made {
            return self.due.paths.clone();
        }
        let of_disks =
            self.due.disks.iter().flat_map(|id| self.links.of(&Link::Disk(id.clone())).iter().copied());
        self.links.around(self.due.paths.iter().copied().chain(of_disks), &self.now)
    }

    fn paths(&self, at: &BTreeSet<At>) -> Vec<PathOf<'_>> {
        at.iter().filter_map(|at| path(&self.now, *at)).collect()
    }

    /// Makes what is due again, and says what is other than before. What an object refers to is added before it refers to
    /// it, and removed once it does not any more; only a session and a node that come or go together refer to each other.
    /// `paths` are those of what is due, and `troubles` what is wrong with them.
    fn make(&mut self, paths: &BTreeSet<At>, troubles: &Troubles, clock: u64) -> Vec<Change> {
        let due = std::mem::take(&mut self.due);
        let mut made = BTreeMap::new();
        for id in due.nodes {
            let node = self.records.get(&id).map(|record| Object::Node(self.node(record)));
            made.insert(id, node);
        }
        for sid in due.sessions {
            let session = self.now.session(sid).map(|session| Object::Session(self.session(session, clock)));
            made.insert(Id::session(sid), session);
        }
        let mut disks = due.disks;
        disks.extend(self.paths(paths).into_iter().map(id_of));
        for id in disks {
            let paths = paths_of(&id, &self.links, &self.now);
            match paths.iter().any(|path| troubles.is_of_files(path.disk)) {
                true => drop(self.of_files.insert(id.clone())),
                false => drop(self.of_files.remove(&id)),
            }
            let Self { now, queueing, holds, .. } = &*self;
            let around = Around { now, troubles, queueing, holds };
            let disk = (!paths.is_empty()).then(|| Object::Disk(made::disk(&paths, &around)));
            made.insert(id, disk);
        }
        self.show(made)
    }

    fn node(&self, record: &Node) -> objects::Node {
        let session = self.places.get(&place_of(&record.key)).and_then(|sids| sids.first());
        made::node(record, session.copied(), self.waiting.get(&record.key))
    }

    fn session(&self, session: &Session, clock: u64) -> objects::Session {
        // The first of several.
        let id = self.records.at(&place_at(session)).first();
        let node = id.and_then(|id| Some((id, self.records.get(id)?)));
        // When it came into its state, as far as that was seen.
        let since = match self.objects.get(&Id::session(session.sid)) {
            Some(Object::Session(before)) if before.state == session.state => before.since,
            _ if self.is_made => clock,
            _ => 0,
        };
        made::session(session, node, self.holds.of(session), since)
    }

    /// Puts these objects in the place of what was shown of them; `None` is not there any more.
    fn show(&mut self, made: BTreeMap<Id, Option<Object>>) -> Vec<Change> {
        let (mut added, mut changed, mut removed) = (Vec::new(), Vec::new(), Vec::new());
        for (id, object) in made {
            match object.as_ref().is_some_and(|object| !made::is_settled(object)) {
                true => drop(self.unsettled.insert(id.clone())),
                false => drop(self.unsettled.remove(&id)),
            }
            match (self.objects.get_mut(&id), object) {
                (Some(before), Some(now)) if *before == now => {}
                (Some(before), Some(now)) => {
                    changed.push(Change::Changed(id, Object::changes(before, &now)));
                    *before = now;
                }
                (Some(_), None) => {
                    self.objects.remove(&id);
                    removed.push(Change::Removed(id));
                }
                (None, Some(now)) => {
                    if self.is_made {
                        added.push(Change::Added(id.clone(), Box::new(now.clone())));
                    }
                    self.objects.insert(id, now);
                }
                (None, None) => {}
            }
        }
        self.is_made = true;
        added.into_iter().rev().chain(changed).chain(removed).collect()
    }
}

/// The paths of a disk, in the order of their sessions.
fn paths_of<'a>(id: &Id, links: &Links, now: &'a Snapshot) -> Vec<PathOf<'a>> {
    links.of(&Link::Disk(id.clone())).iter().filter_map(|at| path(now, *at)).collect()
}

/// A session as it was, and as it is.
type Pair<'a> = (Option<&'a Arc<Session>>, Option<&'a Arc<Session>>);

/// The sessions that are other in one list than in the other; both are sorted by number. What they share is not read.
fn differences<'a>(before: &'a [Arc<Session>], after: &'a [Arc<Session>]) -> Vec<Pair<'a>> {
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    let mut found = Vec::new();
    loop {
        let order = match (before.peek(), after.peek()) {
            (None, None) => return found,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) if Arc::ptr_eq(one, other) => Ordering::Equal,
            (Some(one), Some(other)) => one.sid.cmp(&other.sid),
        };
        let one = if order == Ordering::Greater { None } else { before.next() };
        let other = if order == Ordering::Less { None } else { after.next() };
        if one != other {
            found.push((one, other));
        }
    }
}

#[cfg(test)]
mod tests;
