//! Questions to polkit that a call turns out to need while it runs, about the sender of its message.
//! Must not decide anything: the gate asks, and polkit answers.

use std::sync::Arc;

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use iscsi_initiator_polkit::{Action, Details, Gate, Grant};
use zbus::{Message, message::Header};

use crate::{
    backend::host::cancel::Cancel,
    engine::call::consent::{Asked, Consent},
};

/// The sender of a message, at the gate.
struct Sender {
    gate: Gate,
    /// The sender and the flags of the message that is being answered. A header cannot outlive its
    /// message, and the work for a call can.
    like: Message,
    /// Ends the questions of a call that is cancelled.
    cancel: Cancel,
}

/// The sender of this message, for what the engine finds only while it works.
pub(super) fn sender(gate: &Gate, call: &Header<'_>, cancel: &Cancel) -> Result<Arc<dyn Consent>> {
    let failed = |error: zbus::Error| Fault::new(Kind::Failed, error.to_string());
    let sender = call.sender().ok_or_else(|| failed(zbus::Error::MissingField))?;
    let like = Message::method_call("/", "Ask").sender(sender).with_flags(call.primary().flags());
    let like = like.build(&()).map_err(failed)?;
    Ok(Arc::new(Sender { gate: gate.clone(), like, cancel: cancel.clone() }))
}

impl Consent for Sender {
    fn ask<'a>(&'a self, action: Action, details: Details<'a>) -> Asked<'a, Result<Grant>> {
        Box::pin(async move {
            let like = self.like.header();
            tokio::select! {
                biased;
                answer = self.gate.ask(&like, action, details) => answer,
                () = self.cancel.cancelled() => Err(Fault::new(Kind::Cancelled, "the call was cancelled")),
            }
        })
    }

    fn may<'a>(&'a self, action: Action, details: Details<'a>) -> Asked<'a, bool> {
        Box::pin(async move {
            let like = self.like.header();
            tokio::select! {
                biased;
                may = self.gate.may(&like, action, details) => may,
                () = self.cancel.cancelled() => false,
            }
        })
    }
}
