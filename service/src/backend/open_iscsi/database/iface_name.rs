//! Validates the name of an iface.

/// A name that open-iscsi gives an iface: it becomes an argument and a path.
pub(super) fn is_iface(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':'))
        && !name.starts_with(['.', '-'])
}

/// For a name read from disk, which becomes a path.
pub(super) fn deserialize<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = <String as serde::Deserialize>::deserialize(deserializer)?;
    if is_iface(&name) {
        return Ok(name);
    }
    Err(serde::de::Error::custom("not an iface name"))
}
