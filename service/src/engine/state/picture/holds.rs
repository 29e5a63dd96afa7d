//! Who holds which target.

use std::collections::HashMap;

use crate::backend::{kernel::sysfs::Session, leases::Held};

/// The targets that are held, by their names in lower case.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Holds(HashMap<String, Held>);

impl Holds {
    pub(super) fn of(&self, session: &Session) -> Option<&Held> {
        // As a rule nothing is held.
        if self.0.is_empty() { None } else { self.0.get(&session.target.to_lowercase()) }
    }
}

impl From<Vec<Held>> for Holds {
    fn from(held: Vec<Held>) -> Self {
        let mut holds = HashMap::new();
        for held in held {
            holds.entry(held.target.canonical()).or_insert(held);
        }
        Self(holds)
    }
}
