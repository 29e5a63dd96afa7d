//! What changed: every event in words, and what is worth a notification.
//! Must not send anything.
//!
//! | room | what it is |
//! |---|---|
//! | `notice` | [`Notice`]: what a notification says |
//! | `notices` | [`Notices`]: what to show and to withdraw, and when |
//! | `pace` | [`Pace`]: how long something has to last |
//! | `settle` | when what is told of one target has to change |
//! | `story` | [`Story`] and [`Happening`]: every event in words |
//! | `trouble` | [`Trouble`]: what does not work of a target, without what was before |

mod notice;
mod notices;
mod pace;
mod settle;
mod story;
mod trouble;

pub use self::{
    notice::{Notice, Urgency, What},
    notices::{Notices, Telling},
    pace::Pace,
    story::{Happening, Story},
    trouble::{Loss, Sick, Trouble, troubles},
};
