//! The entries of the fuzz targets: any bytes go in, and what must hold of the answer is asserted.
//! Must not be part of a program: it is compiled for tests and for `service/probe/fuzz`, and panics by design.
//!
//! | room | what it is |
//! |---|---|
//! | `common` | what comes over a connection, and what must hold of any answer |
//! | `lists` | lists of targets |
//! | `login` | the login phase |
//! | `luns` | the survey of LUNs |
//! | `parsers` | headers, text, addresses |
//!
//! | entry | what the bytes are |
//! |---|---|
//! | [`header`] | a header of 48 bytes, then text for our own requests |
//! | [`text`] | `key=value` data, as any of the readers sees it |
//! | [`address`] | the value of a `TargetAddress`, or the text of a redirection |
//! | [`login`] | who asks, which algorithms, then all that a target sends until it hangs up |
//! | [`list`] | from where, then the text of a list of targets |
//! | [`exchange`] | from where, then all that a target sends in a discovery session until it hangs up |
//! | [`luns`] | all that a target sends when it is asked for its LUNs, until it hangs up |
//!
//! Each says whether the bytes were taken for what they claim to be; the fuzzer does not care, the replay of
//! the corpus does.

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

    /// Runs the corpus of one target; what is named `good-…` must be taken, all else must be survived.
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
