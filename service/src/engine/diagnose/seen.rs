//! Everything that was seen of a target at a portal.

use iscsi_initiator_dbus::{Fault, Iqn};
use iscsi_initiator_probe::{Accepted, Luns, Refusal};

use crate::backend::{kernel::sysfs::Session, open_iscsi::database::Node};

/// A reply to the probe, or its refusal with the fault that it means.
pub(super) type Answer<T> = std::result::Result<T, (Refusal, Fault)>;

/// Everything that was seen of the target at the portal.
pub(super) struct Seen {
    pub(super) target: Iqn,
    /// The name under which it was asked.
    pub(super) initiator: Iqn,
    /// Its record, if there is one, and whether it is damaged.
    pub(super) record: Option<Node>,
    /// Every session there: a record may ask for several, and a person may make more.
    pub(super) sessions: Vec<Session>,
    /// The CHAP user; empty without CHAP.
    pub(super) user: String,
    pub(super) login: Answer<Accepted>,
    /// Requested only where the login succeeded and no session is up.
    pub(super) luns: Option<Answer<Luns>>,
    /// The fault if the portal does not list the target.
    pub(super) not_listed: Fault,
}
