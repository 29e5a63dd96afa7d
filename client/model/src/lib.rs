//! What the clients of `org.cloudatlas.IscsiInitiator` know and show, without a toolkit.
//!
//! | room | what it is |
//! |---|---|
//! | [`connect`] | the way from an address to usable disks, as a state machine |
//! | [`diagram`] | the paths of a target as a picture: boxes and lines, as numbers |
//! | [`disconnect`] | the way back: what uses a target, and its logout, as a state machine |
//! | [`health`] | whether a path, a disk or a target works |
//! | [`memory`] | what the objects do not say: what clients are doing, and which connections are lost for good |
//! | [`mirror`] | the objects, kept up to date over the ends of a daemon |
//! | [`news`] | what changed: every event in words, and what is worth a notification |
//! | [`overview`] | the targets as people see them: portals, disks, health, one sentence |
//! | [`remedy`] | what to do about each error, problem and holder |
//! | [`text`] | every text that is shown to people, for translation |
//!
//! All rooms but [`mirror`] are functions of values: they ask no clock, and do no I/O. Where time matters, the caller
//! passes an [`Instant`](std::time::Instant), and a method `due` says when to come back.
//!
//! Texts are [`text::Phrase`]s: shown in English as they are, or in another language by what
//! [`translated`](text::Phrase::translated) is given. What a target or another program has chosen may be in any of
//! them: there it is [escaped](text::escape()), but a toolkit must not read it as markup. Names that are no phrase, such as
//! those of a [`Target`](overview::Target), are as they came.

#![forbid(unsafe_code)]
#![warn(missing_docs, clippy::missing_errors_doc)]

pub mod connect;
pub mod diagram;
pub mod disconnect;
#[cfg(test)]
mod for_tests;
pub mod health;
pub mod memory;
pub mod mirror;
pub mod news;
pub mod overview;
pub mod remedy;
pub mod text;
