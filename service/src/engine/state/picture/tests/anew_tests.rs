//! A picture made at once of all that there is, without anything of what was there before: what one that is brought up
//! to date is held against.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use iscsi_initiator_dbus::objects::{Id, Object};

use super::super::{
    Change, Found,
    holds::Holds,
    id_of,
    made::{self, Around},
    records::{Records, place_at, place_of},
};
use crate::engine::state::{
    same_disk::{PathOf, paths_of},
    snapshot::Snapshot,
    troubles::Troubles,
};

pub(super) struct Anew {
    pub(super) objects: BTreeMap<Id, Object>,
    pub(super) is_settled: bool,
}

impl Anew {
    pub(super) fn of(now: &Snapshot, found: &Found, before: Option<&Self>) -> Self {
        let troubles = Troubles::of_paths(&paths_of(now.all_sessions()), &found.accepted);
        let holds = Holds::from(found.held.clone().unwrap_or_default());
        let mut objects = BTreeMap::new();
        let mut places = HashMap::new();
        for record in now.nodes() {
            let mut records = Records::default();
            let id = records.replace(vec![record.clone()].into()).0.pop_first().unwrap();
            let node = made::node(record, now.session_of(&record.key).map(|session| session.sid), None);
            objects.insert(id.clone(), Object::Node(node));
            places.entry(place_of(&record.key)).or_insert((id, record));
        }
        for session in now.all_sessions() {
            let id = Id::session(session.sid);
            let node = places.get(&place_at(session)).map(|(id, record)| (id, *record));
            let since = match before.map(|before| before.objects.get(&id)) {
                None => 0,
                Some(Some(Object::Session(before))) if before.state == session.state => before.since,
                Some(_) => found.clock,
            };
            objects.insert(id, Object::Session(made::session(session, node, holds.of(session), since)));
        }
        let mut disks = BTreeMap::<Id, Vec<PathOf<'_>>>::new();
        for path in paths_of(now.all_sessions()) {
            disks.entry(id_of(path)).or_default().push(path);
        }
        let around = Around { now, troubles: &troubles, queueing: &found.queueing, holds: &holds };
        for (id, paths) in disks {
            objects.insert(id, Object::Disk(made::disk(&paths, &around)));
        }
        let is_settled = objects.values().all(made::is_settled)
            && now.all_sessions().iter().all(|session| made::is_made_up(session));
        Self { objects, is_settled }
    }

    pub(super) fn diff(&self, later: &Self) -> Vec<Change> {
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
        let gone: BTreeSet<&Id> = self.objects.keys().filter(|id| !later.objects.contains_key(*id)).collect();
        let removed = gone.into_iter().map(|id| Change::Removed(id.clone()));
        added.into_iter().rev().chain(changed).chain(removed).collect()
    }
}
