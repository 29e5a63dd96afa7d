//! The entries of the fuzz targets: any bytes go in, and what must hold of the answer is asserted.
//! It may not be part of a program: it is compiled for tests and for `service/fuzz`, and panics by design.
//!
//! | room | what it is |
//! |---|---|
//! | `lists` | lists of targets |
//! | `login` | the login phase |
//! | `luns` | the survey of LUNs |
//! | `parsers` | headers, text, addresses |
//!
//! | entry | what the bytes are |
//! |---|---|
//! | [`header`] | a header of 48 bytes, then text for our own requests |
//! | [`text`] | `key=value` data, as any of the readers sees it |
//! | [`address`] | the value of a `TargetAddress`, or the text of a redirection |
//! | [`login`] | who asks, which algorithms, then all that a target sends until it hangs up |
//! | [`list`] | from where, then the text of a list of targets |
//! | [`exchange`] | from where, then all that a target sends in a discovery session until it hangs up |
//! | [`luns`] | all that a target sends when it is asked for its LUNs, until it hangs up |
//!
//! Each says whether the bytes were taken for what they claim to be; the fuzzer does not care, the replay of
//! the corpus does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what cannot be must stop the fuzzer"
)]

mod lists;
mod login;
mod luns;
mod parsers;

use std::net::SocketAddr;

pub use self::{
    lists::{exchange, list},
    login::login,
    luns::luns,
    parsers::{address, header, text},
};
use super::{
    address::may_lead,
    parameters::DECLARED_SEGMENT,
    pdu::{BHS, Response, decode, lengths},
    refusal::Refusal,
};
use iscsi_initiator_dbus::{Secret, portal::Host};

/// The portals from which a list or a redirection is looked at.
const SEATS: [&str; 4] = ["192.0.2.1:3260", "[fe80::9%2]:3260", "127.0.0.1:3260", "[2001:db8::1]:3260"];

fn seat(choice: u8) -> SocketAddr {
    SEATS[usize::from(choice) % SEATS.len()].parse().unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned()).unwrap()
}

/// What comes over a connection, until the target hangs up.
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    /// One PDU as `socket` receives it; `None` at the end, within a PDU too, or at one that is refused.
    fn receive(&mut self, limit: usize) -> Option<(Response, &'a [u8])> {
        let (bhs, rest) = self.0.split_first_chunk::<BHS>()?;
        let (length, padded) = lengths(bhs, limit).ok()?;
        let (data, rest) = rest.split_at_checked(padded)?;
        self.0 = rest;
        Some((decode(bhs), &data[..length]))
    }
}

/// Pings and notes that may come between two answers, as `socket` has it.
const MOST_ASIDES: usize = 16;

impl<'a> Wire<'a> {
    /// What answers a request in a session, after what `socket` passes over; `None` where it ends the session.
    fn answer(&mut self) -> Option<(Response, &'a [u8])> {
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

/// A host that a target named is one that a target may name.
fn check_host(host: &Host, here: SocketAddr) {
    assert!(may_lead(here, host), "{host} is nothing for {here}");
    match host {
        Host::Address(address, zone) => {
            assert_eq!(*zone, None, "a zone of another machine");
            // The socket layer takes a mapped address for the one that is in it.
            let address = address.to_canonical();
            let is_ours = address.is_loopback() || address.is_unspecified();
            assert!(!is_ours || here.ip().is_loopback(), "{address} is ourselves");
            assert!(!address.is_multicast(), "{address} is nobody's");
        }
        Host::Name(name) => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            assert!(!name.is_empty() && name.len() <= 253 && name.bytes().all(is_plain));
            assert!(!name.starts_with(['-', '.']) && !name.contains(".."));
        }
    }
}

/// A refusal goes to the log and to callers, whatever the target wrote.
fn check_refusal(refusal: &Refusal) {
    assert!(!refusal.to_string().chars().any(char::is_control));
    if let Refusal::Redirected { to, .. } = refusal {
        assert!(to.port() > 0 && to.zone().is_none());
        assert_eq!(to.to_string().parse().as_ref(), Ok(to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    /// Runs the corpus of one target; what is named `good-…` must be taken, all else must be survived.
    fn replay(target: &str, entry: fn(&[u8]) -> bool) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let mut seeds = 0;
        for file in fs::read_dir(folder).unwrap() {
            let file = file.unwrap();
            let name = file.file_name().into_string().unwrap();
            let is_taken = entry(&fs::read(file.path()).unwrap());
            assert!(is_taken || !name.starts_with("good-"), "{target}/{name} was refused");
            assert!(!is_taken || !name.starts_with("bad-"), "{target}/{name} was taken");
            seeds += 1;
        }
        assert!(seeds > 0, "{target} has no corpus");
    }

    #[test]
    fn the_corpus_of_headers_is_survived() {
        replay("header", header);
    }

    #[test]
    fn the_corpus_of_texts_is_survived() {
        replay("text", text);
    }

    #[test]
    fn the_corpus_of_addresses_is_survived() {
        replay("address", address);
    }

    #[test]
    fn the_corpus_of_logins_is_survived() {
        replay("login", login);
    }

    #[test]
    fn the_corpus_of_lists_is_survived() {
        replay("list", list);
    }

    #[test]
    fn the_corpus_of_exchanges_is_survived() {
        replay("exchange", exchange);
    }

    #[test]
    fn the_corpus_of_luns_is_survived() {
        replay("luns", luns);
    }
}
