//! Asks polkit whether a caller may do something, and returns a [`Grant`] if so.
//! Must not act on anything, or decide by itself: polkit decides.
//!
//! | module | holds |
//! |---|---|
//! | [`action`] | [`Action`], what polkit can be asked for |
//! | [`caller`] | [`Caller`], the caller, for the log; when a caller has left the bus |
//! | [`callers`] | [`Callers`], who is behind the connections on the bus |
//! | [`details`] | [`Details`], the target, the portal and the interface that an action is about |
//! | [`gate`] | [`Gate`], the way from a message to a [`Grant`] |
//! | [`grant`] | [`Grant`], the proof of polkit's approval |
//! | [`rate`] | [`Rate`], which limits the log lines that one user can cause |
//! | `authority` | the calls to polkitd, and their cancellation |
//! | `places` | limits the number of open prompts |
//! | `refusal` | the reasons for a refusal, for the caller and the log |
//! | `turns` | whose check is next |

#![warn(missing_docs)]

pub mod action;
mod authority;
pub mod caller;
pub mod callers;
pub mod details;
pub mod gate;
pub mod grant;
mod places;
pub mod rate;
mod refusal;
mod turns;

pub use action::Action;
pub use caller::{Caller, unit_in};
pub use callers::Callers;
pub use details::Details;
pub use gate::{Gate, Limits};
pub use grant::Grant;
pub use rate::Rate;

/// The `.policy` file as it is installed, for packagers and tests.
pub const POLICY: &str = include_str!("../org.cloudatlas.IscsiInitiator.policy");
