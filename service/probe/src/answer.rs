//! What a portal answered: whether it accepted the login, and which targets and LUNs it offers.

use iscsi_initiator_dbus::{Iqn, Portal, portal::Host};

use super::algorithm::Algorithm;

/// How far the two sides know each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthKind {
    /// Not at all: the target asked for nothing.
    None,
    /// We proved ourselves.
    OneWay(Algorithm),
    /// The target proved itself too.
    Mutual(Algorithm),
}

/// The target would let us in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The target portal group that answered; discovery sessions have none.
    pub tpgt: Option<u16>,
    /// What was proved.
    pub authenticated: AuthKind,
    /// Where the answer came from, if the portal we asked sent us on.
    pub redirected: Option<Redirect>,
}

/// A portal sent us to another one (RFC 7143, section 11.13.5, class 1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// Where to.
    pub to: Portal,
    /// For good, or for now.
    pub permanent: bool,
}

/// The LUNs that a target shows this initiator; at most 64 are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Luns {
    /// Those that are there.
    pub present: usize,
    /// Those of them that are disks.
    pub disks: usize,
}

/// What a portal offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Each node once, in the target's order.
    pub nodes: Vec<Found>,
    /// How many names and addresses were skipped because they are no iSCSI name or no address of a target.
    pub refused: usize,
    /// How the discovery session was let in.
    pub accepted: Accepted,
}

/// One target at one portal.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Found {
    /// The target.
    pub target: Iqn,
    /// Where; a link-local address comes without a zone: it is in the zone of the portal that was asked.
    pub host: Host,
    /// 1 to 65535.
    pub port: u16,
    /// The target portal group, if it was named.
    pub tpgt: Option<u16>,
}
