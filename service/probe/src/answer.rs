//! What a portal answered: whether it accepted the login, and which targets and LUNs it offers.

use iscsi_initiator_dbus::{Iqn, Portal, portal::Host};

use super::algorithm::Algorithm;

/// Which side has authenticated itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// Neither: the target did not ask for it.
    None,
    /// This machine.
    OneWay(Algorithm),
    /// The target too.
    Mutual(Algorithm),
}

/// The target would accept the login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The target portal group that answered; discovery sessions have none.
    pub tpgt: Option<u16>,
    /// Which side has authenticated itself.
    pub authenticated: AuthKind,
    /// Where the reply came from, if the portal redirected us.
    pub redirected: Option<Redirect>,
}

/// A redirection to another portal (RFC 7143, section 11.13.5, class 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Where to.
    pub to: Portal,
    /// Whether it is permanent.
    pub permanent: bool,
}

/// The LUNs that a target offers this initiator; at most 64 are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Luns {
    /// Those that exist.
    pub present: usize,
    /// Those that are disks.
    pub disks: usize,
}

/// What a portal offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Each node once, in the target's order.
    pub nodes: Vec<Found>,
    /// How many malformed names and addresses were skipped.
    pub refused: usize,
    /// How the discovery session was authenticated.
    pub accepted: Accepted,
}

/// One target at one portal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// The target.
    pub target: Iqn,
    /// The portal. A link-local address has no zone here: it is in the zone of the portal that was
    /// contacted.
    pub host: Host,
    /// 1 to 65535.
    pub port: u16,
    /// The target portal group, if it was named.
    pub tpgt: Option<u16>,
}
