//! The name that a lease on a target is taken with, and that of a virtual machine of libvirt's.
//! Must not rewrite a name: the bytes stay as they were given.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use zbus::Type;

use crate::unseen::is_plain;

/// A checked name of a holder, as `libvirt:web`: 1 to 128 bytes, safe as a line, as a word of a command
/// and in a table. ASCII that can be seen but none of ``< > & " ' ` $ \``, letters and digits of any
/// script, and single blanks within; it does not begin with `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Type)]
#[serde(try_from = "String", into = "String")]
#[zbus(signature = "s")]
pub struct LeaseHolder(String);

/// Why a text is not the name of a holder. It never repeats the text: that may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LeaseHolderError {
    /// Nothing at all.
    #[error("missing name of a holder")]
    Empty,
    /// More than [`LeaseHolder::MAX`] bytes.
    #[error("the name of a holder has at most 128 bytes")]
    TooLong,
    /// A character that a name must not contain, or a blank where none may be.
    #[error(
        "the name of a holder must not contain a control or invisible character, one of < > & \" ' ` $ \\, or a \
         blank at its ends or beside another"
    )]
    BadCharacter,
    /// It would be taken for an option.
    #[error("the name of a holder must not begin with \"-\"")]
    BadStart,
}

impl LeaseHolder {
    /// The most bytes a name may have.
    pub const MAX: usize = 128;

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn check(text: &str) -> Result<(), LeaseHolderError> {
        if text.is_empty() {
            return Err(LeaseHolderError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(LeaseHolderError::TooLong);
        }
        let is_spaced = text.starts_with(' ') || text.ends_with(' ') || text.contains("  ");
        if is_spaced || !text.chars().all(|c| c == ' ' || is_plain(c)) {
            return Err(LeaseHolderError::BadCharacter);
        }
        if text.starts_with('-') {
            return Err(LeaseHolderError::BadStart);
        }
        Ok(())
    }
}

impl FromStr for LeaseHolder {
    type Err = LeaseHolderError;
    fn from_str(text: &str) -> Result<Self, LeaseHolderError> {
        Self::check(text).map(|()| Self(text.to_owned()))
    }
}

impl TryFrom<String> for LeaseHolder {
    type Error = LeaseHolderError;
    fn try_from(text: String) -> Result<Self, LeaseHolderError> {
        Self::check(&text).map(|()| Self(text))
    }
}

impl From<LeaseHolder> for String {
    fn from(name: LeaseHolder) -> Self {
        name.0
    }
}

impl fmt::Display for LeaseHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LeaseHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What libvirt knows a virtual machine by: 32 hexadecimal digits in five groups, in lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GuestUuid(String);

/// It is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the UUID of a virtual machine")]
pub struct GuestUuidError;

impl GuestUuid {
    /// What the leases of virtual machines begin with.
    const HOLDER: &str = "libvirt:";

    /// The name that libvirt's hook takes the leases of this virtual machine with.
    pub fn holder(&self) -> LeaseHolder {
        LeaseHolder(format!("{}{}", Self::HOLDER, self.0))
    }

    /// The virtual machine that a lease was taken for by libvirt's hook.
    pub fn of_holder(holder: &LeaseHolder) -> Option<Self> {
        holder.as_str().strip_prefix(Self::HOLDER)?.parse().ok()
    }
}

impl FromStr for GuestUuid {
    type Err = GuestUuidError;
    fn from_str(text: &str) -> Result<Self, GuestUuidError> {
        let is_one = text.len() == 36
            && text.bytes().enumerate().all(|(place, byte)| match place {
                8 | 13 | 18 | 23 => byte == b'-',
                _ => byte.is_ascii_hexdigit(),
            });
        if is_one { Ok(Self(text.to_ascii_lowercase())) } else { Err(GuestUuidError) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_is_of_a_virtual_machine_by_its_uuid_alone() {
        let text = "C7A5FDBD-edaf-9455-926a-d65c16db1809";
        let uuid: GuestUuid = text.parse().unwrap();
        let holder = uuid.holder();
        assert_eq!(holder.as_str(), format!("libvirt:{}", text.to_ascii_lowercase()));
        assert_eq!(
            (holder.as_str().parse(), GuestUuid::of_holder(&holder)),
            (Ok(holder.clone()), Some(uuid.clone()))
        );
        assert_eq!(GuestUuid::of_holder(&format!("libvirt:{text}").parse().unwrap()), Some(uuid));
        for other in ["libvirt:web", "backup", text, &format!("libvirt:{text}0"), &format!("qemu:{text}")] {
            assert_eq!(GuestUuid::of_holder(&other.parse().unwrap()), None, "{other}");
        }
        for bad in [
            "",
            "c7a5fdbdedaf9455926ad65c16db1809",
            "../../etc",
            &text.replace('7', "g"),
            &text.replace('-', "0"),
        ] {
            assert_eq!(bad.parse::<GuestUuid>(), Err(GuestUuidError), "{bad}");
        }
    }

    #[test]
    fn good_names_are_kept_to_the_byte() {
        let longest = "x".repeat(LeaseHolder::MAX);
        for good in ["libvirt:web", "a", "backup of Monday", "größe/1,2;3~#!", "x-y", longest.as_str()] {
            assert_eq!(good.parse::<LeaseHolder>().map(String::from), Ok(good.to_owned()));
        }
    }

    #[test]
    fn bad_names_are_refused_for_their_own_reason() {
        let long = "x".repeat(LeaseHolder::MAX + 1);
        for (bad, why) in [
            ("", LeaseHolderError::Empty),
            (long.as_str(), LeaseHolderError::TooLong),
            (" a", LeaseHolderError::BadCharacter),
            ("a ", LeaseHolderError::BadCharacter),
            ("a  b", LeaseHolderError::BadCharacter),
            ("a\nb", LeaseHolderError::BadCharacter),
            ("a\u{a0}b", LeaseHolderError::BadCharacter),
            ("a\u{202e}b", LeaseHolderError::BadCharacter),
            ("a\u{3164}b", LeaseHolderError::BadCharacter),
            ("<b>", LeaseHolderError::BadCharacter),
            ("$(id)", LeaseHolderError::BadCharacter),
            ("it's", LeaseHolderError::BadCharacter),
            ("--force", LeaseHolderError::BadStart),
        ] {
            assert_eq!(bad.parse::<LeaseHolder>(), Err(why), "{bad:?}");
        }
    }
}
