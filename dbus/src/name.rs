//! The name of an initiator or a target (RFC 7143, section 4.2.7).
//! Must not rewrite a name: the bytes stay as they were given.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use zbus::Type;

use crate::unseen::{is_plain, is_unseen};

/// A checked iSCSI name: `iqn.`, `eui.` or `naa.`, at most 223 bytes, and safe as a directory name,
/// as a line of a record, as an argument and in the text of a dialog: no blank, control or unseen
/// character, none of ``/ , < > & " ' ` $ \``, and beyond ASCII letters and digits only.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Type)]
#[serde(try_from = "String", into = "String")]
#[zbus(signature = "s")]
pub struct Iqn(String);

/// Why a text is not an iSCSI name. It never repeats the text: that may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing at all.
    #[error("missing iSCSI name")]
    Empty,
    /// Longer than RFC 7143 allows.
    #[error("an iSCSI name has at most 223 bytes")]
    TooLong,
    /// A character that a name must not contain.
    #[error(
        "an iSCSI name must not contain a blank, a control or invisible character, or one of / , < > & \" ' ` $ \\"
    )]
    BadCharacter,
    /// None of the three kinds.
    #[error("an iSCSI name begins with \"iqn.\", \"eui.\" or \"naa.\"")]
    BadType,
    /// Nothing after `iqn.`, where a date and a naming authority belong.
    #[error("an \"iqn.\" name has the form iqn.YYYY-MM.reversed.domain[:anything]")]
    BadIqn,
    /// Not 16 hexadecimal digits after `eui.`.
    #[error("an \"eui.\" name has 16 hexadecimal digits")]
    BadEui,
    /// Neither 16 nor 32 hexadecimal digits after `naa.`.
    #[error("an \"naa.\" name has 16 or 32 hexadecimal digits")]
    BadNaa,
}

impl Iqn {
    /// The most bytes a name may have (RFC 7143, section 4.2.7.1).
    pub const MAX: usize = 223;

    /// A name that this machine already has, in a record or as its own: it may also have characters
    /// that open-iscsi takes and that no caller or portal may send, as long as it is safe as a path
    /// and as a line.
    ///
    /// # Errors
    ///
    /// As for any other name.
    pub fn recorded(text: &str) -> Result<Self, NameError> {
        let is_safe =
            |c: char| !(c.is_control() || c.is_whitespace() || is_unseen(c) || matches!(c, '/' | ','));
        Self::check(text, is_safe).map(|()| Self(text.to_owned()))
    }

    /// The name as it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one spelling of all that mean the same name: the case does not count (RFC 3722).
    #[must_use]
    pub fn canonical(&self) -> String {
        self.0.to_lowercase()
    }

    fn check(text: &str, is_allowed: impl Fn(char) -> bool) -> Result<(), NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(NameError::TooLong);
        }
        if !text.chars().all(is_allowed) {
            return Err(NameError::BadCharacter);
        }
        // RFC 3722 folds case; a name may reach us before anything folded it.
        let (kind, rest) = text.split_at_checked(4).ok_or(NameError::BadType)?;
        let is_hex = |rest: &str| rest.bytes().all(|b| b.is_ascii_hexdigit());
        match kind.to_ascii_lowercase().as_str() {
            // The date and the domain are not insisted on: targets in use leave them out.
            "iqn." if rest.chars().any(char::is_alphanumeric) => Ok(()),
            "iqn." => Err(NameError::BadIqn),
            "eui." if rest.len() == 16 && is_hex(rest) => Ok(()),
            "eui." => Err(NameError::BadEui),
            "naa." if matches!(rest.len(), 16 | 32) && is_hex(rest) => Ok(()),
            "naa." => Err(NameError::BadNaa),
            _ => Err(NameError::BadType),
        }
    }
}

/// What a caller or a portal may have in a name: it becomes a path and a part of a list, too.
fn is_allowed(c: char) -> bool {
    !matches!(c, '/' | ',') && is_plain(c)
}

impl FromStr for Iqn {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::check(text, is_allowed).map(|()| Self(text.to_owned()))
    }
}

impl TryFrom<String> for Iqn {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::check(&text, is_allowed).map(|()| Self(text))
    }
}

impl From<Iqn> for String {
    fn from(name: Iqn) -> Self {
        name.0
    }
}

impl fmt::Display for Iqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Iqn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_names_are_kept_to_the_byte() {
        for good in [
            "iqn.1989-06.io.cloud-atlas:libvirt-client",
            "iqn.2001-04.com.example:storage.disk2.sys1.xyz",
            "iqn.2001-04.com.example",
            "IQN.2001-04.com.Example:Disk",
            "iqn.2003-01.org.linux-iscsi.host.x8664:sn.0123456789ab",
            "iqn.2001-04.com.example:under_score",
            "iqn.2001-04.com.example:größe",
            "iqn.2001-04.com.example:%s(a)@b=c",
            "eui.02004567A425678D",
            "naa.52004567BA64678D",
            "naa.62004567BA64678D0123456789ABCDEF",
        ] {
            assert_eq!(good.parse::<Iqn>().map(String::from), Ok(good.to_owned()));
        }
    }

    #[test]
    fn bad_names_are_refused_for_their_own_reason() {
        let long = format!("iqn.2001-04.com.example:{}", "x".repeat(200));
        for (bad, why) in [
            ("", NameError::Empty),
            ("nonsense", NameError::BadType),
            ("-iqn.2001-04.com.example", NameError::BadType),
            ("iqn", NameError::BadType),
            ("iqn.", NameError::BadIqn),
            ("iqn...", NameError::BadIqn),
            ("iqn.2001-04.com.example:a b", NameError::BadCharacter),
            ("iqn.2001-04.com.example:a\nnode.startup = automatic", NameError::BadCharacter),
            ("iqn.2001-04.com.example:../../etc/passwd", NameError::BadCharacter),
            ("../iqn.2001-04.com.example", NameError::BadCharacter),
            ("iqn.2001-04.com.example:a,3260", NameError::BadCharacter),
            ("iqn.2001-04.com.example:\u{7f}", NameError::BadCharacter),
            ("iqn.2001-04.com.example:\u{202e}gpj", NameError::BadCharacter),
            ("iqn.2001-04.com.example:\0", NameError::BadCharacter),
            ("iqn.a:<!--", NameError::BadCharacter),
            ("iqn.2001-04.com.example:a&lt;b", NameError::BadCharacter),
            ("iqn.2001-04.com.example:\"", NameError::BadCharacter),
            ("iqn.2001-04.com.example:$(portal)", NameError::BadCharacter),
            ("iqn.2001-04.com.example:a\u{ff1c}b", NameError::BadCharacter),
            ("iqn.2001-04.com.example:a\u{3164}b", NameError::BadCharacter),
            ("iqn.2001-04.com.example:a\u{115f}b", NameError::BadCharacter),
            ("iqn.2001-04.com.example:a\u{2800}b", NameError::BadCharacter),
            ("iqn.2001-04.com.example:a\u{e0041}b", NameError::BadCharacter),
            ("eui.123", NameError::BadEui),
            ("eui.02004567A425678G", NameError::BadEui),
            ("naa.52004567BA64678", NameError::BadNaa),
            (long.as_str(), NameError::TooLong),
        ] {
            assert_eq!(bad.parse::<Iqn>(), Err(why), "{bad:?}");
        }
    }

    #[test]
    fn what_is_recorded_may_have_more_than_what_is_sent_and_stays_a_safe_path() {
        for odd in
            ["iqn.2001-04.com.example:a<b>", "iqn.2001-04.com.example:\"a&b\"", "iqn.2001-04.com.example:a$b"]
        {
            assert_eq!(odd.parse::<Iqn>(), Err(NameError::BadCharacter));
            assert_eq!(Iqn::recorded(odd).map(String::from), Ok(odd.to_owned()));
        }
        for bad in ["", "nonsense", "iqn.a:../b", "iqn.a:a,1", "iqn.a:a b", "iqn.a:a\nb", "iqn.a:\u{202e}a"] {
            assert!(Iqn::recorded(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_name_has_one_spelling_whatever_its_case() {
        for (name, canonical) in [
            ("IQN.2001-04.com.Example:Disk", "iqn.2001-04.com.example:disk"),
            ("iqn.2001-04.com.example:GRÖSSE", "iqn.2001-04.com.example:grösse"),
            ("EUI.02004567A425678D", "eui.02004567a425678d"),
        ] {
            assert_eq!(name.parse::<Iqn>().unwrap().canonical(), canonical);
        }
    }

    #[test]
    fn the_longest_name_is_223_bytes() {
        let prefix = "iqn.2001-04.com.example:";
        let name = |bytes: usize| format!("{prefix}{}", "x".repeat(bytes - prefix.len()));
        assert!(name(223).parse::<Iqn>().is_ok());
        assert_eq!(name(224).parse::<Iqn>(), Err(NameError::TooLong));
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_is_a_safe_path_component_and_record_value(text in ".{0,300}") {
            for text in [text.clone(), format!("iqn.2001-04.com.example:{text}")] {
                if let Ok(name) = text.parse::<Iqn>() {
                    prop_assert!(name.as_str().len() <= 223);
                    prop_assert!(!name.as_str().contains(['/', ',', '\n', '\0', ' ', '<', '>', '&', '"', '$']));
                    prop_assert!(!name.as_str().starts_with(['-', '.']));
                    prop_assert_eq!(name.to_string(), text);
                }
            }
        }
    }
}
