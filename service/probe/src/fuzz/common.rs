//! What the entry points share: the data of a connection, and the assertions for any answer.

use std::net::SocketAddr;

use iscsi_initiator_dbus::{Secret, portal::Host};

use crate::{
    address::may_lead,
    parameters::DECLARED_SEGMENT,
    pdu::{BHS, Response, decode, lengths},
    refusal::Refusal,
};

/// The portals from whose view a list or a redirection is parsed.
pub(super) const SEATS: [&str; 4] =
    ["192.0.2.1:3260", "[fe80::9%2]:3260", "127.0.0.1:3260", "[2001:db8::1]:3260"];

pub(super) fn seat(choice: u8) -> SocketAddr {
    SEATS[usize::from(choice) % SEATS.len()].parse().unwrap()
}

pub(super) fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned()).unwrap()
}

/// The data of a connection, until the target closes it.
pub(super) struct Wire<'a>(pub(super) &'a [u8]);

impl<'a> Wire<'a> {
    /// One PDU as `socket` receives it; `None` at the end, within a PDU too, or at one that is
    /// rejected.
    pub(super) fn receive(&mut self, limit: usize) -> Option<(Response, &'a [u8])> {
        let (bhs, rest) = self.0.split_first_chunk::<BHS>()?;
        let (length, padded) = lengths(bhs, limit).ok()?;
        let (data, rest) = rest.split_at_checked(padded)?;
        self.0 = rest;
        Some((decode(bhs), &data[..length]))
    }
}

/// Pings and messages that may come between two answers, as in `socket`.
const MOST_ASIDES: usize = 16;

impl<'a> Wire<'a> {
    /// The answer to a request in a session, after what `socket` skips; `None` where it ends the
    /// session.
    pub(super) fn answer(&mut self) -> Option<(Response, &'a [u8])> {
        for _ in 0..MOST_ASIDES {
            match self.receive(DECLARED_SEGMENT)? {
                (Response::Reject { .. } | Response::Async { event: 1..=3 }, _) => return None,
                (Response::NopIn | Response::Async { .. }, _) => {}
                answer => return Some(answer),
            }
        }
        None
    }
}

/// Asserts that a target may name this host.
pub(super) fn check_host(host: &Host, here: SocketAddr) {
    assert!(may_lead(here, host), "{host} is nothing for {here}");
    match host {
        Host::Address(address, zone) => {
            assert_eq!(*zone, None, "a zone of another machine");
            // The socket layer treats a mapped address as the one that it contains.
            let address = address.to_canonical();
            let is_ours = address.is_loopback() || address.is_unspecified();
            assert!(!is_ours || here.ip().is_loopback(), "{address} is ourselves");
            assert!(!address.is_multicast(), "{address} is not a host's");
        }
        Host::Name(name) => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            assert!(!name.is_empty() && name.len() <= 253 && name.bytes().all(is_plain));
            assert!(!name.starts_with(['-', '.']) && !name.contains(".."));
        }
    }
}

/// A refusal goes to the log and to callers, whatever the target sent.
pub(super) fn check_refusal(refusal: &Refusal) {
    assert!(!refusal.to_string().chars().any(char::is_control));
    if let Refusal::Redirected { to, .. } = refusal {
        assert!(to.port() > 0 && to.zone().is_none());
        assert_eq!(to.to_string().parse().as_ref(), Ok(to));
    }
}
