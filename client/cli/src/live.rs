//! What changes, as it changes: events in words and for programs, rates, and a table that is kept up to date.
//! Must not change anything, or ask for more than the daemon's objects and the kernel's counters.
//!
//! | room | what it is |
//! |---|---|
//! | `clock` | the time of an event |
//! | `follow` | the daemon's events, also those of the daemon that takes its place |
//! | `record` | an event for programs |
//! | `scope` | which objects are wanted |
//! | `story` | an event in words |

mod clock;
mod follow;
mod record;
mod scope;
mod story;

pub(crate) use self::{
    clock::{Clock, now},
    follow::{Follow, News},
    record::{Kind, Record},
    scope::Scope,
    story::{Happening, Mood, Story},
};
