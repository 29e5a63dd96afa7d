//! The login probe: asks a portal, over its own connection, whether it would let us in and what it offers.
//! It may not touch the kernel's sessions, open-iscsi or the disk, nor repeat a target's text in an error.
//!
//! | module | holds |
//! |---|---|
//! | `address` | where a target says it is |
//! | `pdu` | the 48 byte headers |
//! | `text` | `key=value` data and its limits |
//! | `chap` | digests and the check of a target's answer |
//! | `login` | the login phase, without a socket |
//! | `parameters` | what a discovery session agrees on |
//! | `sendtargets` | the text phase, without a socket, and its records |
//! | `luns` | what a normal session asks a target for |
//! | `socket` | the one place with a connection and a clock |
//! | `refusal` | every way to be turned away |
//! | `fuzz` | what the fuzz targets call |

mod address;
mod chap;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod login;
mod luns;
mod parameters;
mod pdu;
mod refusal;
mod sendtargets;
mod socket;
mod text;

use iscsi_initiator_dbus::{Iqn, Portal, Secret, portal::Host};

pub use self::refusal::{MutualFault, Refusal, Stage};
pub use self::socket::{login, luns, send_targets};

/// What to ask, and as whom.
pub struct Question<'a> {
    /// Our own name.
    pub initiator: &'a Iqn,
    /// The target to log in to; `None` is a discovery session.
    pub target: Option<&'a Iqn>,
    /// The credentials, if any are configured.
    pub chap: Option<ChapAnswer<'a>>,
    /// What to offer, the best first: [`Algorithm::DEFAULT`] unless somebody configured more.
    pub algorithms: &'a [Algorithm],
    /// The network card to ask through; `None` leaves it to the routes.
    pub card: Option<&'a str>,
}

impl Question<'_> {
    /// Refuses a question that must not reach the wire.
    fn check(&self) -> Result<(), Refusal> {
        let Some(chap) = &self.chap else { return Ok(()) };
        let is_name =
            |name: &str| (1..=Secret::MAX).contains(&name.len()) && !name.chars().any(char::is_control);
        if !is_name(chap.username) || chap.target.is_some_and(|(name, _)| !is_name(name)) {
            return Err(Refusal::Question("a user name is empty, too long or holds a control character"));
        }
        if self.algorithms.is_empty() {
            return Err(Refusal::Question("no CHAP algorithm is allowed"));
        }
        if chap.target.is_some_and(|(_, secret)| chap::same(chap.secret, secret)) {
            return Err(Refusal::MutualFailed(MutualFault::SameSecret));
        }
        Ok(())
    }
}

/// What we prove and, for mutual CHAP, what the target must prove.
pub struct ChapAnswer<'a> {
    /// Our user name.
    pub username: &'a str,
    /// Our secret.
    pub secret: &'a Secret,
    /// The target's user name and secret.
    pub target: Option<(&'a str, &'a Secret)>,
}

/// A CHAP digest (RFC 7143, section 12.1.3; 7 and 8 are registered with IANA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// 5, the only one that every target has.
    Md5,
    /// 6.
    Sha1,
    /// 7.
    Sha256,
    /// 8.
    Sha3,
}

impl Algorithm {
    /// Every one, the one that every target has first.
    pub const ALL: [Self; 4] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha3];
    /// MD5 alone, as open-iscsi does: tgt 1.0.85 picks SHA-256 when it is offered and then fails.
    pub const DEFAULT: &'static [Self] = &[Self::Md5];

    /// What open-iscsi calls it in `chap_algs` (etc/iscsid.conf).
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha3 => "SHA3-256",
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl std::str::FromStr for Algorithm {
    type Err = ();
    /// From open-iscsi's name, which it compares without regard to case (usr/idbm.c, `idbm_recinfo_node`).
    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name)).ok_or(())
    }
}

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
