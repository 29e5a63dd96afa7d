//! What to do about each error, problem and holder: a sentence, the next step, and the buttons.
//! Must not do any of it.
//!
//! | room | what it is |
//! |---|---|
//! | `action` | [`Action`]: a button |
//! | `errors` | the errors of the contract |
//! | `fault` | [`Remedy`]: of an error as it came, the bus's own included |
//! | `findings` | [`Row`]: a check of `Diagnose` or a finding of `Examine` in words |
//! | `holders` | what uses a disk or a target |
//! | `problems` | what is wrong with a disk |
//! | `question` | [`Question`]: what is asked before something is done |
//! | `place` | [`Place`] and [`Stage`]: where it happened |

mod action;
mod errors;
mod fault;
mod findings;
mod holders;
mod place;
mod problems;
mod question;

pub use self::{
    action::Action,
    fault::{Details, Remedy, remedy},
    findings::{Mark, Row, check, finding, summary},
    holders::{Use, holder},
    place::{Place, Stage},
    problems::{Ailment, problem},
    question::Question,
};
