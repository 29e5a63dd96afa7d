//! The entry points of the fuzz targets: any bytes go in, and the assertions check the result.
//! Must not be part of a program: it is compiled for tests and for `service/probe/fuzz` only, and
//! panics by design.
//!
//! | room | what it is |
//! |---|---|
//! | `common` | the data of a connection, and the assertions for any answer |
//! | `lists` | lists of targets |
//! | `login` | the login phase |
//! | `luns` | the survey of LUNs |
//! | `parsers` | headers, text, addresses |
//!
//! | entry | what the bytes are |
//! |---|---|
//! | [`header`] | a header of 48 bytes, then text for our own requests |
//! | [`text`] | `key=value` data, as any of its parsers sees it |
//! | [`address`] | the value of a `TargetAddress`, or the text of a redirection |
//! | [`login`] | the configuration, then all that a target sends until it closes the connection |
//! | [`list`] | the portal contacted, then the text of a list of targets |
//! | [`exchange`] | the portal contacted, then all that a target sends in a discovery session |
//! | [`luns`] | all that a target sends when it is asked for its LUNs |
//!
//! Each returns whether the bytes were accepted as what they claim to be. The fuzzer ignores that;
//! the replay of the corpus does not.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "what cannot be must stop the fuzzer"
)]

mod common;
mod lists;
mod login;
mod luns;
mod parsers;

pub use self::{
    lists::{exchange, list},
    login::login,
    luns::luns,
    parsers::{address, header, text},
};

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs, path::Path};

    /// Runs the corpus of one target. Inputs named `good-…` must be accepted, all others must not
    /// crash it.
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
