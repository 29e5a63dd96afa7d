//! What this daemon has written into a record, so that it takes back only what nobody has changed since.
//! Must not hold a secret: of the text only its length and a hash are kept, also because there may be thousands.

use std::{
    hash::{BuildHasher, RandomState},
    sync::LazyLock,
};

/// Keys that no program knows, for as long as the daemon runs.
static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);

/// The content of a record when it was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    length: usize,
    hash: u64,
}

impl Written {
    pub(super) fn of(content: &[u8]) -> Self {
        Self { length: content.len(), hash: KEYS.hash_one(content) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_text_is_another_one() {
        let written = Written::of(b"node.startup = manual\n");
        assert_eq!(written, Written::of(b"node.startup = manual\n"));
        assert_ne!(written, Written::of(b"node.startup = onboot\n"));
        assert_ne!(written, Written::of(b""));
    }
}
