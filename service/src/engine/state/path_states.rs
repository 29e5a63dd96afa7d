//! What multipathd says of each path. A copy shares everything with its original but what is changed in it, so that
//! a change of a few paths costs what these are, and is found by comparing as little.
//! Must not ask multipathd.

use std::{
    collections::{BTreeSet, HashMap, hash_map::DefaultHasher},
    hash::{Hash as _, Hasher as _},
    sync::Arc,
};

use crate::backend::multipath::daemon::PathState;

/// The states are kept in so many parts: of 10,000, forty are copied for a change of one.
const PARTS: usize = 256;

type Part = HashMap<String, PathState>;

/// The states of paths, by the kernel names of their disks.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct PathStates(Arc<Vec<Arc<Part>>>);

impl PathStates {
    pub(in crate::engine) fn get(&self, disk: &str) -> Option<&PathState> {
        self.0.get(part_of(disk))?.get(disk)
    }

    pub(in crate::engine) fn iter(&self) -> impl Iterator<Item = (&String, &PathState)> {
        self.0.iter().flat_map(|part| part.iter())
    }

    /// Puts what was said in the place of what is known of these disks.
    pub(super) fn replace(&mut self, disks: &BTreeSet<String>, said: HashMap<String, PathState>) {
        let gone = disks.iter().filter(|disk| !said.contains_key(*disk));
        let gone: Vec<&String> = gone.filter(|disk| self.get(disk).is_some()).collect();
        let mut new: Vec<(String, PathState)> = said.into_iter().collect();
        new.retain(|(disk, state)| self.get(disk) != Some(state));
        if gone.is_empty() && new.is_empty() {
            return;
        }
        let parts = Arc::make_mut(&mut self.0);
        parts.resize_with(PARTS, Arc::default);
        for disk in gone {
            if let Some(part) = parts.get_mut(part_of(disk)) {
                Arc::make_mut(part).remove(disk);
            }
        }
        for (disk, state) in new {
            if let Some(part) = parts.get_mut(part_of(&disk)) {
                Arc::make_mut(part).insert(disk, state);
            }
        }
    }

    /// The disks whose paths have another state in one of two than in the other.
    pub(super) fn differences<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        if Arc::ptr_eq(&self.0, &other.0) {
            return Vec::new();
        }
        let is_shared = |at: usize| match (self.0.get(at), other.0.get(at)) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        let mut found = Vec::new();
        for at in (0..PARTS).filter(|at| !is_shared(*at)) {
            found.extend(self.not_in(other, at));
            found.extend(other.not_in(self, at).filter(|disk| self.get(disk).is_none()));
        }
        found
    }

    /// The disks in a part of which the other does not say the same.
    fn not_in<'a>(&'a self, other: &Self, at: usize) -> impl Iterator<Item = &'a str> {
        let other = other.0.get(at);
        let is_other = move |(disk, state): &(&String, &PathState)| {
            other.and_then(|other| other.get(*disk)) != Some(*state)
        };
        self.0
            .get(at)
            .into_iter()
            .flat_map(|part| part.iter())
            .filter(is_other)
            .map(|(disk, _)| disk.as_str())
    }
}

impl From<HashMap<String, PathState>> for PathStates {
    fn from(states: HashMap<String, PathState>) -> Self {
        if states.is_empty() {
            return Self::default();
        }
        let mut parts = vec![Part::new(); PARTS];
        for (disk, state) in states {
            if let Some(part) = parts.get_mut(part_of(&disk)) {
                part.insert(disk, state);
            }
        }
        Self(Arc::new(parts.into_iter().map(Arc::new).collect()))
    }
}

/// The part that a disk is in.
fn part_of(disk: &str) -> usize {
    // The same each time: it is made without a key.
    let mut hasher = DefaultHasher::new();
    disk.hash(&mut hasher);
    usize::try_from(hasher.finish() % PARTS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn state(group: u32) -> PathState {
        PathState { dm_state: "active".into(), checker_state: "ready".into(), group, priority: 1 }
    }

    fn said(of: &[(u8, u32)]) -> HashMap<String, PathState> {
        of.iter().map(|(disk, group)| (format!("sd{disk}"), state(*group))).collect()
    }

    fn whole(states: &PathStates) -> HashMap<String, PathState> {
        states.iter().map(|(disk, state)| (disk.clone(), state.clone())).collect()
    }

    proptest! {
        #[test]
        fn a_change_is_that_of_a_map_and_is_found(
            before in proptest::collection::vec((any::<u8>(), 0_u32..3), 0..40),
            disks in proptest::collection::btree_set(any::<u8>(), 0..8),
            new in proptest::collection::vec((any::<u8>(), 0_u32..3), 0..8),
        ) {
            let mut expected = said(&before);
            let before = PathStates::from(expected.clone());
            prop_assert_eq!(whole(&before), expected.clone());
            let disks: BTreeSet<String> = disks.into_iter().map(|disk| format!("sd{disk}")).collect();
            let mut after = before.clone();
            after.replace(&disks, said(&new));
            expected.retain(|disk, _| !disks.contains(disk));
            expected.extend(said(&new));
            prop_assert_eq!(whole(&after), expected.clone());
            let known = whole(&before);
            let all: BTreeSet<&String> = known.keys().chain(expected.keys()).collect();
            let changed: BTreeSet<&str> = all
                .into_iter()
                .filter(|disk| known.get(*disk) != expected.get(*disk))
                .map(String::as_str)
                .collect();
            for (one, other) in [(&before, &after), (&after, &before)] {
                let found = one.differences(other);
                prop_assert_eq!(found.len(), changed.len());
                prop_assert_eq!(&found.into_iter().collect::<BTreeSet<_>>(), &changed);
            }
            let anew = PathStates::from(expected);
            prop_assert!(after.differences(&anew).is_empty());
        }
    }

    #[test]
    fn what_is_not_changed_is_shared() {
        let before = PathStates::from(said(&(0..200).map(|disk| (disk, 1)).collect::<Vec<_>>()));
        let mut after = before.clone();
        after.replace(&["sd7".to_owned()].into(), said(&[(7, 1)]));
        assert!(Arc::ptr_eq(&before.0, &after.0), "nothing is other than before");
        after.replace(&["sd7".to_owned()].into(), said(&[(7, 2)]));
        let other = before.0.iter().zip(after.0.iter()).filter(|(one, other)| !Arc::ptr_eq(one, other));
        assert_eq!((other.count(), before.differences(&after)), (1, vec!["sd7"]));
    }
}
