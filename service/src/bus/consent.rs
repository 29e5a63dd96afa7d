//! Questions to polkit that a call turns out to need while it runs, about the sender of its message.
//! Must not decide anything: the gate asks, and polkit answers.

use iscsi_initiator_dbus::fault::Result;
use iscsi_initiator_polkit::{Action, Details, Gate, Grant};
use zbus::message::Header;

use crate::engine::call::consent::{Asked, Consent};

/// The sender of a message, at the gate.
pub(super) struct Sender<'a> {
    pub(super) gate: &'a Gate,
    pub(super) call: &'a Header<'a>,
}

impl Consent for Sender<'_> {
    fn ask<'a>(&'a self, action: Action, details: Details<'a>) -> Asked<'a, Result<Grant>> {
        Box::pin(self.gate.ask(self.call, action, details))
    }

    fn may<'a>(&'a self, action: Action, details: Details<'a>) -> Asked<'a, bool> {
        Box::pin(self.gate.may(self.call, action, details))
    }
}
