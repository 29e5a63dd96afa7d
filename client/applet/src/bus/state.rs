//! What is known.

use std::sync::Arc;

use iscsi_initiator_dbus::objects::Model;
use iscsi_initiator_model::{
    memory::Memory,
    mirror::Trouble,
    overview::{Overview, overview},
};

use super::facts::Facts;

/// What is known: one page of the window each.
#[derive(Clone, Debug)]
pub(crate) enum State {
    /// What is there, or was there last.
    Known(Arc<Snapshot>),
    /// Nothing, and why.
    Trouble(Trouble),
}

/// What is there, at one moment.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// The objects.
    pub(crate) model: Model,
    /// The same as people see them.
    pub(crate) overview: Overview,
    /// What the daemon says of itself.
    pub(crate) facts: Facts,
    /// Why this may be out of date.
    pub(crate) lost: Option<Trouble>,
}

impl Snapshot {
    pub(crate) fn new(model: &Model, memory: &Memory, facts: &Facts, lost: Option<&Trouble>) -> Self {
        let overview = overview(model, memory);
        Self { overview, model: model.clone(), facts: facts.clone(), lost: lost.cloned() }
    }
}
