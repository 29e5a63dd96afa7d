//! CHAP credentials, and what `SetChap` takes.
//! Must not show a secret.

use std::{fmt, os::fd::AsFd};

use zbus::{Fd, OwnedFd, Variant};

use super::{
    bag::Bag,
    dict::Dict,
    entries::{Entries, argument},
    keys::{self, Side},
};
use crate::{Fault, Secret, fault::Result};

/// A secret on its way to the daemon. Its `Debug` shows only which of the two it is.
pub enum SecretSource {
    /// As text in the message: it stays in the memory of the bus and of both ends for a while. Prefer a
    /// pipe.
    Text(Secret),
    /// Behind a descriptor: pipe, socket or regular file; one newline at the end is dropped. The daemon
    /// reads it to its end, 255 bytes and a newline at most, within 5 s.
    Fd(OwnedFd),
}

impl fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(..)",
            Self::Fd(_) => "Fd(..)",
        })
    }
}

/// One side's credentials: a user name and its secret.
#[derive(Debug)]
#[non_exhaustive]
pub struct Credentials {
    /// At most 255 bytes, no control character, no blank at the ends.
    pub username: String,
    /// The secret that goes with it.
    pub secret: SecretSource,
}

impl Credentials {
    /// A user name and its secret; the daemon checks the name.
    pub fn new(username: impl Into<String>, secret: SecretSource) -> Self {
        Self { username: username.into(), secret }
    }

    fn entries<'a>(&'a self, entries: Entries<'a>, side: &Side) -> Entries<'a> {
        let entries = entries.add(side.username, Some(self.username.as_str()));
        match &self.secret {
            SecretSource::Text(secret) => entries.add(side.secret, Some(secret.expose())),
            SecretSource::Fd(fd) => entries.add(side.secret_fd, Some(Variant::Fd(Fd::Borrowed(fd.as_fd())))),
        }
    }

    fn read(bag: &mut Bag, side: &Side) -> Result<Option<Self>> {
        let username = bag.text(side.username)?;
        let text = bag.text(side.secret)?;
        let fd = bag.descriptor(side.secret_fd)?;
        let secret = match (text, fd) {
            (Some(_), Some(_)) => {
                return Err(bag.wrong(side.secret_fd, format_args!("cannot be used with {}", side.secret)));
            }
            (Some(text), None) => {
                Some(SecretSource::Text(Secret::new(text).map_err(|why| bag.wrong(side.secret, why))?))
            }
            (None, Some(fd)) => Some(SecretSource::Fd(fd)),
            (None, None) => None,
        };
        match (username, secret) {
            (None, None) => Ok(None),
            (None, Some(_)) => Err(bag.wrong(side.username, "missing")),
            (Some(_), None) => Err(bag.wrong(side.secret, "missing")),
            (Some(username), Some(secret)) => {
                check_username(&username).map_err(|why| bag.wrong(side.username, why))?;
                Ok(Some(Self { username, secret }))
            }
        }
    }
}

/// What a record's line can carry as a user name.
fn check_username(name: &str) -> std::result::Result<(), &'static str> {
    if name.is_empty() {
        Err("the user name is empty")
    } else if name.len() > Secret::MAX {
        Err("the user name has more than 255 bytes")
    } else if name.chars().any(char::is_control) {
        Err("the user name contains a control character")
    } else if name.trim() != name {
        Err("the user name begins or ends with a blank, which open-iscsi would drop")
    } else {
        Ok(())
    }
}

/// CHAP: what the initiator proves and, for mutual CHAP, what the target must prove.
#[derive(Debug)]
#[non_exhaustive]
pub struct Chap {
    /// What this initiator proves.
    pub initiator: Credentials,
    /// What the target must prove; one-way CHAP if absent.
    pub target: Option<Credentials>,
}

impl Chap {
    /// One-way CHAP.
    pub fn new(initiator: Credentials) -> Self {
        Self { initiator, target: None }
    }

    /// Mutual CHAP; the target's secret must differ from the initiator's.
    #[must_use]
    pub fn mutual(self, target: Credentials) -> Self {
        Self { target: Some(target), ..self }
    }

    pub(super) fn entries<'a>(&'a self, entries: Entries<'a>) -> Entries<'a> {
        let entries = self.initiator.entries(entries, &keys::INITIATOR_SIDE);
        match &self.target {
            Some(target) => target.entries(entries, &keys::TARGET_SIDE),
            None => entries,
        }
    }

    pub(super) fn read(bag: &mut Bag) -> Result<Option<Self>> {
        let initiator = Credentials::read(bag, &keys::INITIATOR_SIDE)?;
        let target = Credentials::read(bag, &keys::TARGET_SIDE)?;
        match (initiator, target) {
            (None, None) => Ok(None),
            // RFC 7143, section 12.1.3: the target answers only an initiator that proved itself.
            (None, Some(_)) => {
                Err(bag.wrong(keys::INITIATOR_SIDE.username, "missing: mutual CHAP needs both sides"))
            }
            (Some(initiator), target) => Ok(Some(Self { initiator, target })),
        }
    }
}

/// What `SetChap` stores.
#[derive(Debug)]
pub enum ChapChange {
    /// These credentials.
    Set(Chap),
    /// That no CHAP is wanted.
    Clear,
}

argument!(ChapChange);

impl ChapChange {
    fn entries(&self) -> Entries<'_> {
        match self {
            Self::Set(chap) => chap.entries(Entries::new()),
            Self::Clear => Entries::new().flag(keys::CLEAR, true, false),
        }
    }

    /// Reads the argument `chap` of `SetChap`.
    ///
    /// # Errors
    ///
    /// `InvalidArgs`, which names the key: unknown, of a wrong type, missing or not to be combined.
    pub fn parse(dict: impl Into<Dict>) -> Result<Self> {
        let mut bag = Bag::new("chap", dict)?;
        let clear = bag.flag(keys::CLEAR)?.unwrap_or(false);
        let change = match (Chap::read(&mut bag)?, clear) {
            (Some(_), true) => return Err(bag.wrong(keys::CLEAR, "cannot be used with another key")),
            (Some(chap), false) => Self::Set(chap),
            (None, true) => Self::Clear,
            (None, false) => {
                return Err(Fault::invalid("chap.username", "missing"));
            }
        };
        bag.finish(change)
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::bag::tests::{dict, text},
        *,
    };

    #[test]
    fn chap_is_whole_or_refused() {
        let user = || ("username", "libvirtd".into());
        let secret = || ("secret", "mypassword12".into());
        assert!(ChapChange::parse(dict([user(), secret()])).is_ok());
        for (entries, expected) in [
            (dict([]), "chap.username: missing"),
            (dict([user()]), "chap.secret: missing"),
            (dict([secret()]), "chap.username: missing"),
            (dict([user(), secret(), ("clear", true.into())]), "chap.clear: cannot be used with another key"),
            (dict([user(), secret(), ("target-username", "gw".into())]), "chap.target-secret: missing"),
            (
                dict([("target-username", "gw".into()), ("target-secret", "othersecret1".into())]),
                "chap.username: missing: mutual CHAP needs both sides",
            ),
            (
                dict([("username", "a\nb".into()), secret()]),
                "chap.username: the user name contains a control character",
            ),
            (
                dict([user(), ("secret", "a\nb".into())]),
                "chap.secret: the secret has more than one line (a line break, or an empty line after it)",
            ),
        ] {
            assert_eq!(text(ChapChange::parse(entries)), expected);
        }
    }

    #[test]
    fn no_fault_repeats_a_secret() {
        let long = "s3cr3t".repeat(60);
        let fault =
            text(ChapChange::parse(dict([("username", "u".into()), ("secret", Variant::from(long))])));
        assert!(fault.contains("chap.secret") && !fault.contains("s3cr3t"), "{fault}");
    }

    #[test]
    fn what_is_shown_for_debugging_has_no_secret() {
        let secret = || SecretSource::Text(Secret::new("s3cr3t-s3cr3t".into()).unwrap());
        let chap = Chap::new(Credentials::new("libvirtd", secret())).mutual(Credentials::new("gw", secret()));
        let shown = format!("{:?}", ChapChange::Set(chap));
        assert!(shown.contains("libvirtd") && !shown.contains("s3cr3t"), "{shown}");
    }
}
