//! What a flow keeps, and what can be seen of it.
//! Must not keep what was typed once the window is closed.

use std::{collections::VecDeque, time::Instant};

use iscsi_initiator_dbus::{Iqn, Portal};

use super::step::{Damaged, Step};
use crate::{
    connect::{form::Form, jobs::Jobs, outcome::Outcome, state::State},
    text::Phrase,
};

/// The way from an address to usable disks.
#[derive(Debug)]
pub struct Flow {
    pub(super) state: State,
    pub(super) form: Form,
    /// What was chosen, or is the portal's only one.
    pub(super) targets: Vec<Iqn>,
    /// The call that is running, or that failed last.
    pub(super) step: Step,
    /// The calls that follow it.
    pub(super) next: VecDeque<Step>,
    /// What is known to be damaged.
    pub(super) damaged: Vec<Damaged>,
    /// The nodes that were forgotten here, and have still to be connected at startup again.
    pub(super) owed: Vec<Damaged>,
    /// What was connected, while the rest of that is done.
    pub(super) reached: Option<Outcome>,
    /// The target whose changed disks were accepted: for the next connection alone.
    pub(super) accepts_changed_luns: Option<Iqn>,
    /// It has been tried once more by itself.
    pub(super) has_waited: bool,
    /// The portal that asks for CHAP before it lists anything.
    pub(super) asks_at: Option<Portal>,
    /// The portal that what was typed for discoveries is stored for.
    pub(super) stored_at: Option<Portal>,
    pub(super) jobs: Jobs,
    /// What was done on the way since the person last began, and stays though the way was not gone to its end.
    pub(super) done: Vec<Phrase>,
    pub(super) initiator: String,
    pub(super) features: Vec<String>,
}

impl Flow {
    /// Begins with a form, which may be filled in already: with a target, that target is connected, and no other is
    /// looked for. `initiator` is this machine's name, empty if it has none; `features` are the daemon's.
    pub fn new(form: Form, initiator: impl Into<String>, features: Vec<String>, jobs: Jobs) -> Self {
        Self {
            state: State::asking(None),
            targets: Vec::new(),
            form,
            step: Step::discover(),
            next: VecDeque::new(),
            damaged: Vec::new(),
            owed: Vec::new(),
            reached: None,
            accepts_changed_luns: None,
            has_waited: false,
            asks_at: None,
            stored_at: None,
            jobs,
            done: Vec::new(),
            initiator: initiator.into(),
            features,
        }
    }

    /// What was changed on the way, for who has gone back, or is stuck: it stays.
    pub fn done(&self) -> &[Phrase] {
        &self.done
    }

    /// What is shown.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was typed last.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The targets that the running or last connection is about: what the client begins to change
    /// ([`Memory::begin`](crate::memory::Memory::begin)).
    pub fn targets(&self) -> &[Iqn] {
        &self.targets
    }

    /// This machine's initiator name, as it is known.
    pub fn initiator(&self) -> &str {
        &self.initiator
    }

    /// This machine's initiator name is another by now: what the daemon fixes may have set it.
    pub fn knows_initiator(&mut self, name: impl Into<String>) {
        self.initiator = name.into();
    }

    /// The nodes whose records are damaged, as the objects show them; before an answer is taken over. Only these are
    /// ever forgotten.
    pub fn knows_damaged(&mut self, damaged: Vec<Damaged>) {
        self.damaged = damaged;
    }

    /// When [`Input::Tick`](crate::connect::Input::Tick) is wanted.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until, .. } => Some(until),
            _ => None,
        }
    }
}
