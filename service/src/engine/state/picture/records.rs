//! The records that nodes are made of, by their objects and by the sessions that they are about.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use iscsi_initiator_dbus::{Portal, objects::Id};

use crate::backend::{
    kernel::sysfs::Session,
    open_iscsi::database::{Node, NodeKey},
};

/// How a record names a session: target, portal and iface.
pub(super) type Place = (String, Option<Portal>, String);

/// The place that a record is about.
pub(super) fn place_of(key: &NodeKey) -> Place {
    (key.target.to_string(), Some(key.portal.clone()), key.iface.clone())
}

/// The place that a session is at.
pub(super) fn place_at(session: &Session) -> Place {
    (session.target.clone(), session.portal.clone(), session.iface.clone())
}

/// Every record.
#[derive(Debug, Default)]
pub(super) struct Records {
    all: Arc<Vec<Node>>,
    by_id: HashMap<Id, usize>,
    /// In their order.
    by_place: HashMap<Place, Vec<Id>>,
}

impl Records {
    /// All of them, to be shown again.
    pub(super) fn all(&self) -> Arc<Vec<Node>> {
        Arc::clone(&self.all)
    }

    pub(super) fn get(&self, id: &Id) -> Option<&Node> {
        self.all.get(*self.by_id.get(id)?)
    }

    /// Those that are about a place.
    pub(super) fn at(&self, place: &Place) -> &[Id] {
        self.by_place.get(place).map(Vec::as_slice).unwrap_or_default()
    }

    /// Takes these in place of those that were known. Returns which are other than before, and the places that those
    /// are and were about.
    pub(super) fn replace(&mut self, all: Arc<Vec<Node>>) -> (BTreeSet<Id>, Vec<Place>) {
        if Arc::ptr_eq(&self.all, &all) || self.all == all {
            return (BTreeSet::new(), Vec::new());
        }
        let before = std::mem::take(self);
        let mut by_place = HashMap::<Place, Vec<Id>>::new();
        for (at, record) in all.iter().enumerate() {
            let id = id_of(&record.key);
            by_place.entry(place_of(&record.key)).or_default().push(id.clone());
            self.by_id.insert(id, at);
        }
        (self.all, self.by_place) = (all, by_place);
        let is_other = |id: &&Id| self.get(id) != before.get(id);
        let ids: BTreeSet<Id> =
            self.by_id.keys().chain(before.by_id.keys()).filter(is_other).cloned().collect();
        let records = ids.iter().flat_map(|id| [self.get(id), before.get(id)]).flatten();
        let places = records.map(|record| place_of(&record.key)).collect();
        (ids, places)
    }
}

/// The tag of a portal group that goes without saying.
const USUAL_GROUP: u16 = 1;

/// A node's path, by its own record alone: of several for one portal, each has a path that no other can have or take
/// over, whichever of them come and go.
pub(super) fn id_of(key: &NodeKey) -> Id {
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
