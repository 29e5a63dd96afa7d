//! The connections that were lost, and given up since.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::objects::{Id, Model, Object, Session};

use super::intents::Intents;
use crate::overview::Link;

/// The sessions as they were last seen, and the nodes whose sessions were given up.
#[derive(Debug, Default)]
pub(super) struct Losses {
    sessions: BTreeMap<Id, Seen>,
    /// The disks that had a map.
    mapped: BTreeSet<Id>,
    /// The nodes, with their targets.
    given_up: BTreeMap<Id, String>,
}

#[derive(Debug)]
struct Seen {
    target: String,
    node: Option<Id>,
    /// It has lost its connection, and not got it again.
    is_lost: bool,
    /// It works.
    is_up: bool,
    /// Someone is ending it: a map over its disks was removed before its paths were.
    is_wanted: bool,
}

impl Losses {
    pub(super) fn is_given_up(&self, node: &Id) -> bool {
        self.given_up.contains_key(node)
    }

    pub(super) fn is_lost(&self, id: &Id, session: &Session) -> bool {
        self.sessions.get(id).is_some_and(|seen| seen.is_lost)
            || Id::at(session.node.as_str()).is_some_and(|node| self.is_given_up(&node))
    }

    pub(super) fn dismiss(&mut self, target: &str) {
        self.given_up.retain(|_, of| !of.eq_ignore_ascii_case(target));
    }

    /// What comes is not compared with what was.
    pub(super) fn forget_seen(&mut self) {
        self.sessions.clear();
        self.mapped.clear();
    }

    pub(super) fn update(&mut self, model: &Model, intents: &Intents) {
        let maps = self.follow_maps(model);
        let before = std::mem::take(&mut self.sessions);
        for (id, session) in model.sessions().filter(|(_, session)| !session.target.is_empty()) {
            let was = before.get(id).filter(|was| was.target == session.target);
            self.sessions.insert(id.clone(), Seen::of(session, was, &maps));
        }
        let mut ended: BTreeSet<&str> = BTreeSet::new();
        for (id, was) in &before {
            if self.sessions.get(id).is_some_and(|now| now.target == was.target) {
                continue;
            }
            match &was.node {
                _ if !was.is_lost || was.is_wanted || intents.explains(&was.target) => {
                    ended.insert(&was.target);
                }
                Some(node) => {
                    self.given_up.insert(node.clone(), was.target.clone());
                }
                // Another program's, of which nothing is known.
                None => {}
            }
        }
        let connected: BTreeSet<&str> = self.sessions.values().map(|seen| seen.target.as_str()).collect();
        let works = |node: &Id| {
            let mut of_node = self.sessions.values().filter(|seen| seen.node.as_ref() == Some(node));
            of_node.any(|seen| seen.is_up)
        };
        self.given_up.retain(|node, target| {
            let is_recorded = matches!(model.get(node), Some(Object::Node(_)));
            let is_ended = intents.disconnects(target) || ended.contains(target.as_str());
            is_recorded && !works(node) && (connected.contains(target.as_str()) || !is_ended)
        });
    }

    /// The sessions of disks whose map was removed, or made, while their paths were there.
    fn follow_maps(&mut self, model: &Model) -> Maps {
        let before = std::mem::take(&mut self.mapped);
        let mut maps = Maps::default();
        for (id, disk) in model.disks() {
            let sessions = disk.paths.iter().map(|path| path.sid);
            match (before.contains(id), !disk.map.is_empty()) {
                (true, false) => maps.removed.extend(sessions),
                (false, true) => maps.made.extend(sessions),
                _ => {}
            }
            if !disk.map.is_empty() {
                self.mapped.insert(id.clone());
            }
        }
        maps
    }
}

#[derive(Debug, Default)]
struct Maps {
    removed: BTreeSet<u32>,
    made: BTreeSet<u32>,
}

impl Seen {
    fn of(session: &Session, was: Option<&Self>, maps: &Maps) -> Self {
        let is_lost = match session.state.as_str() {
            "LOGGED_IN" => false,
            "FAILED" => true,
            // It is being ended, or made; or the kernel waits no longer for one that was lost.
            _ => was.map_or(Link::of(session) == Link::Lost, |was| was.is_lost),
        };
        // A map that went before the connection was lost says nothing about it.
        let was_wanted = was.is_some_and(|was| was.is_lost && was.is_wanted);
        let is_removed = maps.removed.contains(&session.sid);
        Self {
            target: session.target.clone(),
            node: Id::at(session.node.as_str()),
            is_lost,
            is_up: Link::of(session) == Link::Up,
            is_wanted: is_lost && (is_removed || (was_wanted && !maps.made.contains(&session.sid))),
        }
    }
}
