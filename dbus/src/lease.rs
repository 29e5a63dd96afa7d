//! The name that a lease on a target is taken with.
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

#[cfg(test)]
mod tests {
    use super::*;

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
