//! `key=value` data (RFC 7143, section 6.1): parses and checks what is received, and writes ours.
//! Must not decide what a key means, or repeat a value in an error.

use zeroize::Zeroizing;

use super::refusal::Refusal;

/// Login has some 30 keys; the limit keeps the search for duplicates cheap.
const MOST_KEYS: usize = 128;
/// RFC 7143, section 6.1: a simple value is at most 255 bytes.
const LONGEST: usize = 255;
/// A host name of 253 bytes, a port and a portal group.
const LONGEST_ADDRESS: usize = 265;
/// The most bytes of a challenge or a proof (section 6.1, large-binary-value).
pub(super) const LONGEST_BINARY: usize = 1024;

/// Splits text into its keys and raw values. Zeros between pairs are skipped, as open-iscsi does.
pub(super) fn pairs(text: &[u8]) -> impl Iterator<Item = Result<(&str, &[u8]), Refusal>> {
    text.split(|byte| *byte == 0).filter(|pair| !pair.is_empty()).map(|pair| {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let (Some(key), Some(value)) = (halves.next(), halves.next()) else {
            return Err(Refusal::Protocol("a key without a value"));
        };
        let key = std::str::from_utf8(key).ok().filter(|key| is_key(key));
        key.map(|key| (key, value)).ok_or(Refusal::Protocol("a malformed key"))
    })
}

/// Section 6.1: a capital letter, then at most 62 more characters; section 13.24 has one key that
/// breaks this rule.
fn is_key(key: &str) -> bool {
    let is_tail = |byte: u8| byte.is_ascii_alphanumeric() || b".-+@_".contains(&byte);
    let is_head = key.starts_with(|first: char| first.is_ascii_uppercase()) || key == "iSCSIProtocolLevel";
    key.len() <= 63 && is_head && key.bytes().all(is_tail)
}

/// A value as text: UTF-8 without control characters, within its limit.
pub(super) fn value<'a>(key: &str, raw: &'a [u8]) -> Result<&'a str, Refusal> {
    let longest = match key {
        // Two characters of prefix, two for each byte.
        "CHAP_C" | "CHAP_R" => 2 + 2 * LONGEST_BINARY,
        "TargetAddress" => LONGEST_ADDRESS,
        _ => LONGEST,
    };
    if raw.len() > longest {
        return Err(Refusal::Protocol("a value that is too long"));
    }
    let text = std::str::from_utf8(raw).map_err(|_| Refusal::Protocol("a value that is not text"))?;
    if text.chars().any(char::is_control) {
        return Err(Refusal::Protocol("a control character in a value"));
    }
    Ok(text)
}

/// The text of one login sequence: each key at most once (section 6.3).
#[derive(Debug)]
pub(super) struct Keys<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Keys<'a> {
    pub(super) fn parse(text: &'a [u8]) -> Result<Self, Refusal> {
        let mut keys = Self(Vec::new());
        for pair in pairs(text) {
            let (key, raw) = pair?;
            if keys.get(key).is_some() {
                return Err(Refusal::Protocol("a duplicate key"));
            }
            if keys.0.len() == MOST_KEYS {
                return Err(Refusal::Protocol("too many keys"));
            }
            keys.0.push((key, value(key, raw)?));
        }
        Ok(keys)
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.0.iter().copied()
    }
}

/// Text to send. Its values come from us and are checked by their types or by [`mod@super::login`].
pub(super) struct Lines(Zeroizing<Vec<u8>>);

impl Lines {
    pub(super) fn new() -> Self {
        // A digest may be among the lines: no growing, no copies.
        Self(Zeroizing::new(Vec::with_capacity(4096)))
    }

    pub(super) fn with(mut self, key: &str, value: &str) -> Self {
        for part in [key.as_bytes(), b"=", value.as_bytes(), b"\0"] {
            self.0.extend_from_slice(part);
        }
        self
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A number, decimal or hexadecimal (section 6.1), without sign or blanks.
pub(super) fn number(text: &str) -> Option<u16> {
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_plain.then(|| u16::from_str_radix(digits, radix).ok()).flatten()
}

/// A binary value of 1 to 1024 bytes, hexadecimal or base64 (section 6.1).
pub(super) fn binary(text: &str) -> Option<Zeroizing<Vec<u8>>> {
    let (prefix, digits) = text.split_at_checked(2)?;
    let bytes = match prefix {
        "0x" | "0X" => from_hex(digits.as_bytes())?,
        "0b" | "0B" => from_base64(digits.as_bytes())?,
        _ => return None,
    };
    (1..=LONGEST_BINARY).contains(&bytes.len()).then_some(bytes)
}

fn from_hex(digits: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    for pair in digits.chunks(2) {
        // Targets disagree on an odd number of digits.
        let &[high, low] = pair else { return None };
        bytes.push(nibble(high)? << 4 | nibble(low)?);
    }
    Some(bytes)
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

/// RFC 4648, section 4, with its padding and without stray bits: each value has one encoding.
fn from_base64(digits: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len() / 4 * 3));
    let mut rest = digits;
    while let Some((group, after)) = rest.split_first_chunk::<4>() {
        rest = after;
        let padding = match group {
            [_, _, b'=', b'='] if rest.is_empty() => 2,
            [_, _, _, b'='] if rest.is_empty() => 1,
            _ => 0,
        };
        let mut bits = 0u32;
        for digit in group.iter().take(4 - padding) {
            bits = bits << 6 | u32::from(sextet(*digit)?);
        }
        let [_, decoded @ ..] = (bits << (6 * padding)).to_be_bytes();
        let (whole, stray) = decoded.split_at_checked(3 - padding)?;
        if stray.iter().any(|byte| *byte != 0) {
            return None;
        }
        bytes.extend_from_slice(whole);
    }
    rest.is_empty().then_some(bytes)
}

fn sextet(digit: u8) -> Option<u8> {
    match digit {
        b'A'..=b'Z' => Some(digit - b'A'),
        b'a'..=b'z' => Some(digit - b'a' + 26),
        b'0'..=b'9' => Some(digit - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// `0x` and two digits for each byte, as every target reads it.
pub(super) fn hex(bytes: &[u8]) -> Zeroizing<String> {
    let mut text = Zeroizing::new(String::with_capacity(2 + 2 * bytes.len()));
    text.push_str("0x");
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    for byte in bytes {
        text.push(digit(byte >> 4));
        text.push(digit(byte & 15));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(text: &[u8]) -> Option<Refusal> {
        Keys::parse(text).err()
    }

    #[test]
    fn keys_are_read() {
        let keys =
            Keys::parse(b"AuthMethod=CHAP\0TargetPortalGroupTag=1\0\0X-com.example.a-b+c@d_e=a=b\0Empty=")
                .unwrap();
        assert_eq!(keys.get("AuthMethod"), Some("CHAP"));
        assert_eq!(keys.get("X-com.example.a-b+c@d_e"), Some("a=b"));
        assert_eq!(keys.get("Empty"), Some(""));
        assert_eq!(keys.get("authMethod"), None);
        assert_eq!(keys.iter().count(), 4);
    }

    #[test]
    fn bad_text_is_refused_for_its_own_reason() {
        let long_key = format!("{}=1", "K".repeat(64));
        let long_value = format!("TargetAlias={}", "x".repeat(256));
        let long_binary = format!("CHAP_C=0x{}", "0".repeat(2049));
        for (text, why) in [
            (&b"AuthMethod"[..], "a key without a value"),
            (b"=CHAP", "a malformed key"),
            (b"authMethod=CHAP", "a malformed key"),
            (b"Auth Method=CHAP", "a malformed key"),
            (b"Auth\xff=CHAP", "a malformed key"),
            (long_key.as_bytes(), "a malformed key"),
            (b"A=1\0A=1\0", "a duplicate key"),
            (b"A=\xff\0", "a value that is not text"),
            (b"A=a\nb\0", "a control character in a value"),
            (b"A=a\x1b[2J\0", "a control character in a value"),
            (b"A=a\xc2\x85\0", "a control character in a value"),
            (long_value.as_bytes(), "a value that is too long"),
            (long_binary.as_bytes(), "a value that is too long"),
        ] {
            assert_eq!(fault(text), Some(Refusal::Protocol(why)), "{:?}", String::from_utf8_lossy(text));
        }
        let many: String = (0..=MOST_KEYS).map(|n| format!("A{n}=\0")).collect();
        assert_eq!(fault(many.as_bytes()), Some(Refusal::Protocol("too many keys")));
        assert_eq!(fault(format!("CHAP_C=0x{}", "0".repeat(2048)).as_bytes()), None);
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        for (text, number_) in [
            ("0", Some(0)),
            ("255", Some(255)),
            ("0xff", Some(255)),
            ("0X10", Some(16)),
            ("65535", Some(65535)),
        ] {
            assert_eq!(number(text), number_, "{text}");
        }
        for text in ["", "-1", "+1", " 1", "1 ", "65536", "0x", "0x+1", "0x10000", "ff", "1e1", "0b1"] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn binary_values_are_hex_or_base64() {
        for (text, bytes) in [
            ("0x00fF", &[0, 255][..]),
            ("0X61", b"a"),
            ("0bZg==", b"f"),
            ("0bZm8=", b"fo"),
            ("0BZm9v", b"foo"),
            ("0bZm9vYmFy", b"foobar"),
            ("0b+/+/", &[0xfb, 0xff, 0xbf]),
        ] {
            assert_eq!(binary(text).as_deref().map(Vec::as_slice), Some(bytes), "{text}");
        }
        for text in [
            "",
            "0",
            "0x",
            "0b",
            "61",
            "0x0",
            "0x123",
            "0x1g",
            "0bZ",
            "0bZg",
            "0bZg=",
            "0bZg==Zg==",
            "0bZh==",
            "0bZm9=",
            "0bZ===",
            "0b====",
            "0bZm 9",
            "0b-_-_",
            "é1",
            "0é",
        ] {
            assert_eq!(binary(text), None, "{text}");
        }
        assert_eq!(binary(&format!("0x{}", "00".repeat(1024))).map(|b| b.len()), Some(1024));
        assert_eq!(binary(&format!("0x{}", "00".repeat(1025))), None);
        assert_eq!(binary(&format!("0b{}", "AAAA".repeat(342))), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_text_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            if let Ok(keys) = Keys::parse(&bytes) {
                for (key, value) in keys.iter() {
                    prop_assert!(is_key(key) && !value.contains(char::is_control) && value.len() <= 2050);
                }
            }
        }

        #[test]
        fn what_is_written_reads_back(key in "[A-Z][A-Za-z0-9.+@_-]{0,62}", value in "[^\\p{Cc}]{0,60}") {
            let lines = Lines::new().with(&key, &value).with("0", "");
            let own = &lines.bytes()[..lines.bytes().len() - 3];
            prop_assert_eq!(Keys::parse(own).unwrap().get(&key), Some(value.as_str()));
            prop_assert!(Keys::parse(lines.bytes()).is_err());
        }

        #[test]
        fn hex_reads_back(bytes in proptest::collection::vec(any::<u8>(), 1..1025)) {
            prop_assert_eq!(&*binary(&hex(&bytes)).unwrap(), &bytes);
        }

        #[test]
        fn any_text_is_a_binary_value_or_none(text in "0[xXbB][A-Za-z0-9+/=]{0,80}|\\PC{0,20}") {
            if let Some(bytes) = binary(&text) {
                prop_assert!((1..=LONGEST_BINARY).contains(&bytes.len()));
            }
            let _ = number(&text);
        }
    }
}
