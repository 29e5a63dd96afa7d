//! A CHAP secret that can be carried but not shown.
//! Must not be printed, copied, compared or serialized.

use zeroize::Zeroizing;

/// A CHAP secret or user name part that must stay out of arguments, logs, errors and properties.
///
/// There is one way to read it, [`Secret::expose`], and the memory is wiped when it is dropped.
///
/// ```compile_fail
/// println!("{}", iscsi_initiator_dbus::Secret::new("mypassword12".into()).unwrap());
/// ```
/// ```compile_fail
/// println!("{:?}", iscsi_initiator_dbus::Secret::new("mypassword12".into()).unwrap());
/// ```
/// ```compile_fail
/// let copy = iscsi_initiator_dbus::Secret::new("mypassword12".into()).unwrap().clone();
/// ```
pub struct Secret(Zeroizing<String>);

/// Why a text cannot be a CHAP secret. It says nothing of the text but what is wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// CHAP needs a secret.
    #[error("the secret is empty")]
    Empty,
    /// open-iscsi keeps 255 bytes (usr/auth.h, `AUTH_STR_MAX_LEN`).
    #[error("the secret has more than 255 bytes")]
    TooLong,
    /// A record holds one secret on one line.
    #[error("the secret contains a control character")]
    ControlCharacter,
    /// More than one line.
    #[error("the secret has more than one line (a line break, or an empty line after it)")]
    LineBreak,
    /// A line that ends as on Windows, and not at the end of the text.
    #[error("the secret contains a carriage return, as files from Windows do")]
    CarriageReturn,
    /// A tabulator.
    #[error("the secret contains a tab")]
    Tab,
    /// As files in UTF-16 have them.
    #[error("the secret contains a NUL byte, as text in UTF-16 does")]
    Nul,
    /// As files from Windows begin.
    #[error("the secret begins with a byte order mark, as files from Windows do")]
    ByteOrderMark,
    /// open-iscsi strips blanks from both ends of a record's line, so that such a secret never arrives whole.
    #[error("the secret begins or ends with a blank, which open-iscsi would drop")]
    OuterBlank,
    /// Bytes that are not text.
    #[error("the secret is not valid UTF-8")]
    NotText,
}

impl Secret {
    /// The most bytes that open-iscsi keeps.
    pub const MAX: usize = 255;

    /// Takes the text over and checks it; a refused text is wiped.
    ///
    /// # Errors
    ///
    /// If it is empty, longer than 255 bytes, contains a control character, or begins or ends with a blank.
    pub fn new(text: String) -> Result<Self, SecretError> {
        let text = Zeroizing::new(text);
        if text.is_empty() {
            return Err(SecretError::Empty);
        }
        if text.len() > Self::MAX {
            return Err(SecretError::TooLong);
        }
        if text.starts_with('\u{feff}') {
            return Err(SecretError::ByteOrderMark);
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            return Err(match control {
                '\n' => SecretError::LineBreak,
                '\r' => SecretError::CarriageReturn,
                '\t' => SecretError::Tab,
                '\0' => SecretError::Nul,
                _ => SecretError::ControlCharacter,
            });
        }
        if text.trim() != text.as_str() {
            return Err(SecretError::OuterBlank);
        }
        Ok(Self(text))
    }

    /// Takes bytes over, as they came from a file, and drops one end of line at their end: a newline,
    /// or a carriage return and a newline.
    ///
    /// # Errors
    ///
    /// Those of [`Secret::new`], or if the bytes are not UTF-8.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, SecretError> {
        let mut bytes = Zeroizing::new(bytes);
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
            if bytes.last() == Some(&b'\r') {
                bytes.pop();
            }
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| SecretError::NotText)?;
        Self::new(text.to_owned())
    }

    /// The secret itself: for a record, for a digest, and for nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_secrets_come_out_as_they_went_in() {
        for good in ["mypassword12", "with space", "# = \"quotes\" %", "ünï", &"x".repeat(255)] {
            assert_eq!(Secret::new(good.to_owned()).unwrap().expose(), good);
        }
    }

    #[test]
    fn bad_secrets_are_refused_without_being_repeated() {
        for (bad, why) in [
            ("", SecretError::Empty),
            ("line\nbreak", SecretError::LineBreak),
            ("line\r\nbreak", SecretError::CarriageReturn),
            ("a\ttab", SecretError::Tab),
            ("nul\0", SecretError::Nul),
            ("bell\x07", SecretError::ControlCharacter),
            ("\u{feff}marked", SecretError::ByteOrderMark),
            (" leading", SecretError::OuterBlank),
            ("trailing ", SecretError::OuterBlank),
            (&"x".repeat(256), SecretError::TooLong),
        ] {
            let error = Secret::new(bad.to_owned()).err().unwrap();
            assert_eq!(error, why);
            assert!(bad.is_empty() || !error.to_string().contains(bad));
        }
    }

    #[test]
    fn one_end_of_line_at_the_end_of_a_file_is_dropped() {
        for text in ["mypassword12", "mypassword12\n", "mypassword12\r\n"] {
            assert_eq!(Secret::from_bytes(text.into()).unwrap().expose(), "mypassword12");
        }
        for (text, why) in [
            ("two\r\n\r\n", SecretError::CarriageReturn),
            ("two\n\r\n", SecretError::LineBreak),
            ("mac\r", SecretError::CarriageReturn),
        ] {
            assert_eq!(Secret::from_bytes(text.into()).err(), Some(why), "{text:?}");
        }
        assert_eq!(Secret::from_bytes(b"two\n\n".to_vec()).err(), Some(SecretError::LineBreak));
        assert_eq!(Secret::from_bytes(vec![0xff, 0xfe]).err(), Some(SecretError::NotText));
    }
}
