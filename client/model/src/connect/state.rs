//! What is shown.

use std::time::Instant;

use iscsi_initiator_dbus::{Kind, results::Step};

use super::{
    form::{Field, Mistake},
    outcome::{Offer, Outcome},
};
use crate::{
    remedy::{Action, Details, Remedy},
    text::{Phrase, steps},
};

/// Where the way from an address to usable disks has got to.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// The form is shown.
    Asking {
        /// What is wrong with it.
        mistakes: Vec<Mistake>,
        /// Where the next key goes; the first mistake, else the field that a button led to.
        focus: Option<Field>,
        /// What a cancelled call said: also if something of it could not be put back.
        note: Option<Details>,
    },
    /// A call is running.
    Working(Work),
    /// The portal has several targets.
    Choosing {
        /// Those that can be chosen, by name; never none.
        offers: Vec<Offer>,
        /// What was wrong with the choice.
        mistake: Option<Phrase>,
    },
    /// Another call is at it; the same call is made once more by itself.
    Waiting {
        /// When.
        until: Instant,
        /// What is said meanwhile.
        remedy: Remedy,
    },
    /// A button may lose something: the person is asked first. `Cancel` leads back.
    Confirming {
        /// Which.
        action: Action,
        /// What it loses.
        question: Phrase,
        /// What was shown before.
        back: Box<State>,
    },
    /// It did not work.
    Stuck(Stuck),
    /// It is connected, at one portal at least.
    Done(Outcome),
    /// The window is closed, and nothing is left.
    Closed,
}

/// A call that is running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Its job.
    pub job: u32,
    /// What is being done.
    pub title: Phrase,
    /// The steps so far, each once; the last is at work.
    pub steps: Vec<StepLine>,
    /// Whether it was cancelled and has not answered yet.
    pub is_cancelling: bool,
    /// Whether it cannot be cancelled any more.
    pub is_too_late: bool,
}

/// A step of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepLine {
    /// The step, as the daemon calls it.
    pub step: String,
    /// What it is.
    pub title: Phrase,
    /// What the daemon says of it, the last time.
    pub detail: String,
}

/// An error, and the way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stuck {
    /// Its kind; `Failed` for one that is not the contract's.
    pub kind: Kind,
    /// What to do.
    pub remedy: Remedy,
}

impl State {
    /// The form, without anything wrong.
    pub(super) fn asking(focus: Option<Field>) -> Self {
        Self::Asking { mistakes: Vec::new(), focus, note: None }
    }
}

/// What a step is called; a newer daemon's as it came.
pub fn step_title(step: &str) -> Phrase {
    let known = match step.parse() {
        Ok(Step::Discover) => steps::DISCOVER,
        Ok(Step::Record) => steps::RECORD,
        Ok(Step::SetChap) => steps::SET_CHAP,
        Ok(Step::Login) => steps::LOGIN,
        Ok(Step::Undo) => steps::UNDO,
        Ok(Step::Disks) => steps::DISKS,
        Ok(Step::Check) => steps::CHECK,
        Ok(Step::Flush) => steps::FLUSH,
        Ok(Step::Maps) => steps::MAPS,
        Ok(Step::Logout) => steps::LOGOUT,
        Ok(Step::Scan) => steps::SCAN,
        Ok(Step::Resize) => steps::RESIZE,
        Ok(Step::Configure) => steps::CONFIGURE,
        Ok(Step::Services) => steps::SERVICES,
        Ok(Step::Reload) => steps::RELOAD,
        Ok(Step::Examine) => steps::EXAMINE,
        Ok(Step::Fix) => steps::FIXING,
        _ => return step.into(),
    };
    known.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_of_the_contract_has_a_title() {
        for step in Step::ALL {
            assert!(step_title(step.as_str()).message().is_some(), "{step}");
        }
        assert_eq!(step_title("newer").to_string(), "newer");
    }
}
