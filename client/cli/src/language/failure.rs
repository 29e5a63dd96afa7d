//! An error of the contract, to a person who does not read English.

use iscsi_initiator_dbus::Fault;
use iscsi_initiator_model::remedy::{Place, remedy};

use super::{is_english, say, spoken};

/// What failed, where it is not said in English: the error's own sentence, and the daemon's words behind it.
pub(crate) fn failure(fault: &Fault, words: &str) -> String {
    if is_english() {
        return words.to_owned();
    }
    // Without a name in it: the daemon's words have those.
    let place = Place { has_chap: true, initiator: "?".to_owned(), ..Place::default() };
    let sentence = spoken(&remedy(fault, &place).sentence);
    if words.is_empty() { sentence } else { say!("{sentence} ({words})", sentence, words) }
}
