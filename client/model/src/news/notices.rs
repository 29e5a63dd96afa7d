//! What to show and to withdraw, and when.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use iscsi_initiator_dbus::objects::Model;

use super::{
    notice::{Notice, Turn, notice},
    pace::Pace,
    settle::Settling,
    trouble::{Trouble, troubles},
};

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
/// session that is gone is no trouble, and while the client itself works on a target ([`begin`](Self::begin)) nothing
/// is told of it. The one exception is a session that iscsid has given up: where the connection was lost before and the
/// record is still there, its path counts as lost for as long as the target has other sessions.
#[derive(Debug)]
pub struct Notices {
    pace: Pace,
    targets: BTreeMap<String, Known>,
    /// Targets that the client itself works on, with how many calls.
    own: BTreeMap<String, u32>,
}

#[derive(Debug)]
struct Known {
    settling: Settling,
    /// There is a notification of it.
    is_shown: bool,
    /// The client itself worked on it when it was last looked at.
    was_own: bool,
    /// Portals whose sessions were given up.
    given_up: BTreeSet<String>,
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
        Self { pace, targets: BTreeMap::new(), own: BTreeMap::new() }
    }

    /// A call of the client's own begins to change this target.
    pub fn begin(&mut self, target: &str) {
        *self.own.entry(target.to_owned()).or_default() += 1;
    }

    /// It has ended. [`update`](Self::update) has to follow.
    pub fn end(&mut self, target: &str) {
        let Some(count) = self.own.get_mut(target) else { return };
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.own.remove(target);
        }
    }

    /// Takes over what is there: after every event or, better, after all that came together, and when it is
    /// [`due`](Self::due). What to do now.
    pub fn update(&mut self, model: &Model, now: Instant) -> Vec<Telling> {
        let mut current = troubles(model);
        let mut tellings = Vec::new();
        let own = &self.own;
        self.targets.retain(|target, known| {
            let is_there = current.contains_key(target);
            if !is_there && known.is_shown {
                tellings.push(Telling::Withdraw(target.clone()));
            }
            is_there
        });
        for (target, trouble) in &mut current {
            let known = self.targets.entry(target.clone()).or_insert_with(|| Known {
                settling: Settling::new(&self.pace),
                is_shown: false,
                was_own: false,
                given_up: BTreeSet::new(),
            });
            let is_own = own.contains_key(target);
            let explains = is_own || known.was_own;
            known.add_given_up(target, trouble, model, explains);
            if is_own {
                known.settling.see(trouble.clone());
                known.was_own = true;
                continue;
            }
            if std::mem::take(&mut known.was_own) {
                let is_less = known.settling.accept(trouble);
                if is_less && known.is_shown {
                    known.is_shown = !trouble.is_none();
                    tellings.push(match known.is_shown {
                        // What is left of it.
                        true => Telling::Show(notice(target, trouble, Turn::Worse)),
                        false => Telling::Withdraw(target.clone()),
                    });
                }
            }
            if let Some((what, turn)) = known.settling.update(trouble.clone(), now, &self.pace) {
                known.is_shown = true;
                tellings.push(Telling::Show(notice(target, &what, turn)));
            }
        }
        tellings
    }

    /// When [`update`](Self::update) has to be called if nothing happens until then. Nothing while all is told.
    pub fn due(&self) -> Option<Instant> {
        let waiting = self.targets.iter().filter(|(target, _)| !self.own.contains_key(*target));
        waiting.filter_map(|(_, known)| known.settling.due(&self.pace)).min()
    }

    /// What was told of a target and still stands: nothing, or a trouble.
    pub fn told(&self, target: &str) -> Option<&Trouble> {
        let told = self.targets.get(target)?.settling.told();
        (!told.is_none()).then_some(told)
    }
}

impl Known {
    fn add_given_up(&mut self, target: &str, trouble: &mut Trouble, model: &Model, is_own: bool) {
        let before = std::mem::take(&mut self.given_up);
        // What the client itself did ends sessions on purpose.
        if is_own {
            return;
        }
        let is_there = |place: &String| trouble.portals.contains(place) || trouble.working.contains(place);
        let gone = self.settling.now().portals.iter().cloned().chain(before);
        let gone: BTreeSet<String> = gone.filter(|place| !is_there(place)).collect();
        if gone.is_empty() {
            return;
        }
        let nodes = model.nodes().filter(|(_, node)| node.target == target);
        let recorded: Vec<&str> = nodes.map(|(_, node)| node.portal.as_str()).collect();
        let is_recorded = |place: &String| {
            let is_at = |rest: &str| rest.is_empty() || rest.starts_with(" (");
            recorded.iter().any(|portal| place.strip_prefix(portal).is_some_and(is_at))
        };
        self.given_up = gone.into_iter().filter(is_recorded).collect();
        trouble.portals.extend(self.given_up.iter().cloned());
        trouble.judge();
    }
}

#[cfg(test)]
mod tests;
