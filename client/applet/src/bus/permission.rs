//! What polkit says of the person: a hint, by which a button is left out. The daemon decides.
//! Must not make polkit ask a person.

use std::{collections::HashMap, time::Duration};

use tokio::time::timeout;
use zbus::{Connection, Variant};

/// polkit answers at once where it does not ask a person.
const LONGEST: Duration = Duration::from_secs(2);

/// Whether a person may do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Permission {
    /// They may, with or without a password; or polkit cannot be asked, and the daemon has to be.
    #[default]
    Perhaps,
    /// They may not, whatever they enter.
    No,
}

impl Permission {
    /// Whether it is worth a try.
    pub(crate) fn is_possible(self) -> bool {
        self == Self::Perhaps
    }
}

/// What polkit says of an action of whoever this connection belongs to.
pub(super) async fn of(bus: &Connection, action: &str) -> Permission {
    match timeout(LONGEST, ask(bus, action)).await {
        Ok(Ok((false, false))) => Permission::No,
        _ => Permission::Perhaps,
    }
}

/// Whether it is allowed, and whether it is after a person was asked. The subject is the name on the bus, which is right also
/// where this process and polkit's do not see each other.
async fn ask(bus: &Connection, action: &str) -> zbus::Result<(bool, bool)> {
    let name = bus.unique_name().map(|name| name.to_string()).unwrap_or_default();
    let subject = ("system-bus-name", HashMap::from([("name", Variant::from(name))]));
    let details: HashMap<&str, &str> = HashMap::new();
    let body = (subject, action, details, 0_u32, "");
    let reply = bus
        .call_method(
            Some("org.freedesktop.PolicyKit1"),
            "/org/freedesktop/PolicyKit1/Authority",
            Some("org.freedesktop.PolicyKit1.Authority"),
            "CheckAuthorization",
            &body,
        )
        .await?;
    let body = reply.body();
    let (is_allowed, is_challenge, _): (bool, bool, HashMap<String, String>) = body.deserialize()?;
    Ok((is_allowed, is_challenge))
}
