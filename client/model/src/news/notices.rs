//! What to show and to withdraw, and when.

use std::{collections::BTreeMap, time::Instant};

use iscsi_initiator_dbus::objects::Model;

use super::{
    notice::{Notice, Turn, notice},
    pace::Pace,
    settle::Settling,
    trouble::{Trouble, troubles},
};
use crate::memory::Memory;

/// What to do about notifications.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Show this, in place of the one about the same target.
    Show(Notice),
    /// The one about this target is no longer true: take it away.
    Withdraw(String),
}

/// What is worth a notification, one for each target.
///
/// A target is told of as a whole, because a cable has the paths of all its disks. What was wrong at the beginning is
/// told like what happens later: someone who has just logged in has not seen it. What ends on purpose is not told: a
/// session that is gone is no trouble unless it was [given up](Memory::is_given_up), and while a client works on a target
/// ([`Memory::begin`]) nothing is told of it.
#[derive(Debug)]
pub struct Notices {
    pace: Pace,
    targets: BTreeMap<String, Known>,
}

#[derive(Debug)]
struct Known {
    settling: Settling,
    /// There is a notification of it.
    is_shown: bool,
    /// A client worked on it when it was last looked at.
    was_at_work: bool,
}

impl Default for Notices {
    /// With the default [`Pace`].
    fn default() -> Self {
        Self::new(Pace::default())
    }
}

impl Notices {
    /// Nothing is known, and nothing told.
    pub fn new(pace: Pace) -> Self {
        Self { pace, targets: BTreeMap::new() }
    }

    /// Takes over what is there: after every event or, better, after all that came together, and when it or
    /// [the memory](Memory::due) is [due](Self::due). What to do now.
    ///
    /// While the daemon [cannot be followed](Memory::is_stale) nothing is told or taken away, and no time counts: a trouble
    /// of before has to last once more.
    pub fn update(&mut self, model: &Model, memory: &Memory, now: Instant) -> Vec<Telling> {
        if memory.is_stale() {
            self.targets.values_mut().for_each(|known| known.settling.begin_anew());
            return Vec::new();
        }
        let current = troubles(model, memory);
        let mut tellings = Vec::new();
        self.targets.retain(|target, known| {
            let is_there = current.contains_key(target);
            if !is_there && known.is_shown {
                tellings.push(Telling::Withdraw(target.clone()));
            }
            is_there
        });
        for (target, trouble) in current {
            let known = self.targets.entry(target.clone()).or_insert_with(|| Known {
                settling: Settling::new(&self.pace),
                is_shown: false,
                was_at_work: false,
            });
            if memory.is_at_work(&target) {
                known.settling.see(trouble);
                known.was_at_work = true;
                continue;
            }
            if std::mem::take(&mut known.was_at_work) {
                let is_less = known.settling.accept(&trouble);
                if is_less && known.is_shown {
                    known.is_shown = !trouble.is_none();
                    tellings.push(match known.is_shown {
                        // What is left of it.
                        true => Telling::Show(notice(&target, &trouble, Turn::Worse)),
                        false => Telling::Withdraw(target.clone()),
                    });
                }
            }
            if let Some((what, turn)) = known.settling.update(trouble, now, &self.pace) {
                known.is_shown = true;
                tellings.push(Telling::Show(notice(&target, &what, turn)));
            }
        }
        tellings
    }

    /// When [`update`](Self::update) has to be called if nothing happens until then. Nothing while all is told.
    pub fn due(&self) -> Option<Instant> {
        self.targets.values().filter_map(|known| known.settling.due(&self.pace)).min()
    }

    /// What was told of a target and still stands: nothing, or a trouble.
    pub fn told(&self, target: &str) -> Option<&Trouble> {
        let told = self.targets.get(target)?.settling.told();
        (!told.is_none()).then_some(told)
    }
}

#[cfg(test)]
mod tests;
