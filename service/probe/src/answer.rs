//! What a portal answered: whether it accepted the login, and which targets and LUNs it offers.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use iscsi_initiator_dbus::{Iqn, Portal, portal::Host};
use tokio::sync::SemaphorePermit;

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
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    /// Each node once, in the target's order.
    pub nodes: Vec<Found>,
    /// What it listed and cannot be used.
    pub left_out: LeftOut,
    /// How the discovery session was authenticated.
    pub accepted: Accepted,
    /// The place of a long list: to be kept for as long as anything is made of it.
    pub place: Option<LongList>,
}

/// One of the two places for lists of more than 1024 nodes: a node takes some KiB until it is
/// answered, and a hostile portal is not to take all memory.
#[derive(Debug)]
pub struct LongList(
    #[expect(dead_code, reason = "held until it is dropped")] pub(super) SemaphorePermit<'static>,
);

/// A place says nothing about a list.
impl PartialEq for LongList {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for LongList {}

/// What was left out of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// How many names are not iSCSI names.
    pub names: usize,
    /// How many addresses lead nowhere from here.
    pub addresses: usize,
    /// The targets that they belong to, each record once, with its first such address.
    pub unusable: Vec<Unusable>,
}

/// A target that is listed at an address which cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unusable {
    /// The target.
    pub target: Iqn,
    /// The address.
    pub place: Place,
}

/// An address that cannot be used, and why. Text that is not an address is not repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// No machine has it: it is unspecified, multicast or broadcast.
    Nobody(SocketAddr),
    /// This machine itself; the portal is another one.
    Loopback(SocketAddr),
    /// A link-local address, which names no network interface of this machine.
    LinkLocal(SocketAddr),
    /// A host name that cannot be resolved, or leads to this machine only.
    Name(String, u16),
    /// Not an address.
    Malformed,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody(address) => write!(f, "{address}, an address that no machine has"),
            Self::Loopback(address) => write!(f, "{address}, which is this machine itself"),
            Self::LinkLocal(address) => write!(f, "{address}, which is valid on its own link only"),
            Self::Name(name, port) => write!(f, "{name}:{port}, a host name without a usable address"),
            Self::Malformed => f.write_str("a malformed address"),
        }
    }
}

impl Place {
    pub(super) fn of(address: IpAddr, port: u16) -> Self {
        let canonical = address.to_canonical();
        let at = SocketAddr::new(canonical, port);
        let is_broadcast = matches!(canonical, IpAddr::V4(v4) if v4.is_broadcast());
        let is_link_local = matches!(canonical, IpAddr::V6(v6) if v6.is_unicast_link_local());
        match port {
            0 => Self::Malformed,
            _ if canonical.is_unspecified() || canonical.is_multicast() || is_broadcast => Self::Nobody(at),
            _ if canonical.is_loopback() => Self::Loopback(at),
            _ if is_link_local => Self::LinkLocal(at),
            _ => Self::Malformed,
        }
    }
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
