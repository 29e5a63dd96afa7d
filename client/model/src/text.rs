//! Every text that is shown to people: English, and the keys of its translations.
//! Must not decide when a text is shown.
//!
//! | room | what it is |
//! |---|---|
//! | [`actions`] | the buttons |
//! | [`checks`] | the checks of `Diagnose` and the findings of `Examine`, by their names |
//! | [`errors`] | what went wrong, and what to do about it |
//! | `escape` | [`escape()`]: text from elsewhere, made fit to be shown |
//! | [`forms`] | what is wrong with what was typed |
//! | [`holders`] | what uses a disk |
//! | `messages` | how the texts are declared |
//! | [`news`] | what changed, in a notification |
//! | `phrase` | [`Message`] and [`Phrase`]: a text, and a text with its values |
//! | [`questions`] | what is asked before something is done |
//! | [`states`] | how a path, a disk, a target or this machine is |
//! | [`steps`] | the steps of a call |
//! | [`story`] | what changed, event by event |
//! | [`units`] | sizes, and lists of words |
//!
//! `xgettext --from-code=UTF-8 --language=C --keyword=message --keyword=plural:1,2` finds all of them, in every file here
//! but `phrase.rs`, which has none.

pub mod actions;
pub mod checks;
pub mod errors;
mod escape;
pub mod forms;
pub mod holders;
mod messages;
pub mod news;
mod phrase;
pub mod questions;
pub mod states;
pub mod steps;
pub mod story;
pub mod units;

pub use self::{
    escape::{escape, is_unsafe},
    phrase::{Message, Phrase, filled},
};

/// Every text, for tests that hold a catalogue of translations against them.
pub fn all() -> impl Iterator<Item = Message> {
    [
        actions::ALL,
        checks::ALL,
        errors::ALL,
        forms::ALL,
        holders::ALL,
        news::ALL,
        questions::ALL,
        states::ALL,
        steps::ALL,
        story::ALL,
        units::ALL,
    ]
    .into_iter()
    .flatten()
    .copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn names(text: &str) -> BTreeSet<&str> {
        text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name).collect()
    }

    #[test]
    fn every_text_can_be_translated() {
        let mut seen = BTreeSet::new();
        for message in all() {
            let text = message.id();
            assert!(!text.is_empty() && text.trim() == text && !text.contains('\n'), "{text:?}");
            assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
            assert_eq!(text.matches('{').count(), names(text).len(), "a name that is not closed: {text}");
            if let Some(many) = message.plural_id() {
                assert_eq!(names(text), names(many), "{text}");
                assert!(names(many).contains("n"), "a plural without its number: {many}");
            }
            assert!(seen.insert(text), "twice, so that one translation has to do for both: {text}");
        }
    }
}
