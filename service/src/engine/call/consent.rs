//! Questions to polkit in the middle of a call, about what the call has found: a target that a portal
//! listed, a secret that is stored here. The door to the bus implements it; the engine only asks.

use std::{future::Future, pin::Pin};

use iscsi_initiator_dbus::{Iqn, Portal, fault::Result};
use iscsi_initiator_polkit::{Action, Details, Grant};

use crate::backend::host::limit::Limit;

/// The answer to a question.
pub(crate) type Asked<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Asks polkit about the caller of this call.
pub(crate) trait Consent: Send + Sync {
    /// polkit's approval. May prompt the user, if the call allows that.
    fn ask<'a>(&'a self, action: Action, details: Details<'a>) -> Asked<'a, Result<Grant>>;

    /// Whether polkit approves without a prompt.
    fn may<'a>(&'a self, action: Action, details: Details<'a>) -> Asked<'a, bool>;
}

/// Asks for each of these targets by its name, and fails with the first rejection. Returns what was
/// granted, and the limit for what follows.
pub(in crate::engine) async fn ask_each(
    consent: &dyn Consent,
    action: Action,
    targets: &[Iqn],
    (portal, interface): (Option<&Portal>, Option<&str>),
    limit: &Limit,
) -> Result<(Vec<Grant>, Limit)> {
    let asking = async {
        let mut grants = Vec::new();
        for target in targets {
            grants.push(consent.ask(action, Details { target: Some(target), portal, interface }).await?);
        }
        Ok(grants)
    };
    let Some((answer, later)) = limit.person(asking).await else { return Err(limit.fault("")) };
    answer.map(|grants| (grants, later))
}

/// Whether the caller may have stored secrets proven at a portal that they are not recorded for:
/// whoever may store secrets there may. No prompt: a call goes on without them.
pub(in crate::engine) async fn may_use_secrets(
    consent: &dyn Consent,
    portal: Option<&Portal>,
    interface: Option<&str>,
) -> bool {
    consent.may(Action::SetChap, Details { target: None, portal, interface }).await
}
