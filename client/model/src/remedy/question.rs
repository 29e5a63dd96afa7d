//! What is asked before something is done.

use crate::text::{Message, Phrase, questions};

/// What is asked before something is done: a dialog of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The question.
    pub title: Phrase,
    /// What will be so afterwards, or is lost.
    pub body: Phrase,
    /// The button that does it: a verb.
    pub button: Message,
    /// Whether data or access may be lost: the button is marked, and is not the one that Return presses.
    pub is_destructive: bool,
}

impl Question {
    /// Whether to disconnect targets that nothing uses; named as in a list.
    pub fn disconnect(targets: &Phrase) -> Self {
        Self::harmless(questions::DISCONNECT, questions::DISCONNECT_BODY, questions::DISCONNECT_BUTTON)
            .about(targets)
    }

    /// The same of targets that are in use: not to be done now.
    pub fn in_use(targets: &Phrase) -> Self {
        Self::harmless(questions::IN_USE, questions::IN_USE_BODY, questions::DISCONNECT_BUTTON).about(targets)
    }

    /// Whether to disconnect targets although these things use them.
    pub fn force(targets: &Phrase, uses: Phrase) -> Self {
        let mut question =
            Self::destructive(questions::FORCE, questions::FORCE_BODY, questions::FORCE_BUTTON)
                .about(targets);
        question.body = question.body.with("uses", uses);
        question
    }

    /// Whether to give up a lease.
    pub fn release(target: &Phrase, lease: &str) -> Self {
        let mut question =
            Self::destructive(questions::RELEASE, questions::RELEASE_BODY, questions::RELEASE_BUTTON)
                .about(target);
        question.title = question.title.with("holder", lease);
        question.body = question.body.with("holder", lease);
        question
    }

    /// Whether to forget a target, with its user name and secret.
    pub fn forget(target: &Phrase) -> Self {
        Self::destructive(questions::FORGET, questions::FORGET_BODY, questions::FORGET_BUTTON).about(target)
    }

    /// Whether to write the configuration of multipath whose difference is shown beside the question.
    pub fn set_up_multipath() -> Self {
        Self::harmless(questions::MULTIPATH, questions::MULTIPATH_BODY, questions::MULTIPATH_BUTTON)
    }

    fn harmless(title: Message, body: Message, button: Message) -> Self {
        Self { title: title.into(), body: body.into(), button, is_destructive: false }
    }

    fn destructive(title: Message, body: Message, button: Message) -> Self {
        Self { is_destructive: true, ..Self::harmless(title, body, button) }
    }

    fn about(self, target: &Phrase) -> Self {
        let of = |phrase: Phrase| phrase.with("target", target.clone());
        Self { title: of(self.title), body: of(self.body), ..self }
    }
}
