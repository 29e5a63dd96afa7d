//! The bytes of a file that may hold secrets: wiped from memory, never shown, and written to disk
//! in hex.
//!
//! Hex needs no escapes, so that serde_json reads it in place, without a copy that is never wiped.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use zeroize::Zeroizing;

/// How many bytes are converted to hex at a time.
const CHUNK: usize = 256;

/// See the module.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl From<Zeroizing<Vec<u8>>> for SecretBytes {
    fn from(bytes: Zeroizing<Vec<u8>>) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// Written to a serializer piece by piece, and to nothing else.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
        for chunk in self.0.chunks(CHUNK) {
            let mut text = Zeroizing::new(String::with_capacity(CHUNK * 2));
            for byte in chunk {
                text.push(digit(byte >> 4));
                text.push(digit(byte & 0xf));
            }
            f.write_str(&text)?;
        }
        Ok(())
    }
}

impl Serialize for SecretBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Hex(&self.0))
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = SecretBytes;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes in hex")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SecretBytes, E> {
        // The error does not repeat the input.
        let bad = || E::custom("not hex");
        let mut bytes = Zeroizing::new(Vec::with_capacity(text.len() / 2));
        for pair in text.as_bytes().chunks(2) {
            let &[high, low] = pair else { return Err(bad()) };
            let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
            bytes.push(digit(high).ok_or_else(bad)? << 4 | digit(low).ok_or_else(bad)?);
        }
        Ok(SecretBytes(bytes))
    }
}

impl<'de> Deserialize<'de> for SecretBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_hex_is_refused_and_not_repeated() {
        for bad in ["\"0\"", "\"0g\"", "\"mypassword12\"", "1", "\"é0\""] {
            let error = serde_json::from_str::<SecretBytes>(bad).unwrap_err();
            assert!(!error.to_string().contains("mypassword"), "{error}");
        }
        let bytes = SecretBytes::from(Zeroizing::new(b"mypassword12".to_vec()));
        assert_eq!(format!("{bytes:?}"), "12 bytes");
    }

    proptest! {
        #[test]
        fn every_byte_comes_back(bytes: Vec<u8>) {
            let bytes = SecretBytes::from(Zeroizing::new(bytes));
            let text = serde_json::to_string(&bytes).unwrap();
            prop_assert_eq!(serde_json::from_str::<SecretBytes>(&text).unwrap(), bytes);
        }
    }
}
