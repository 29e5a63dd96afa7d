//! What changes, as it changes: events in words and for programs, rates, and a table that is kept up to date.
//! Must not change anything, or ask for more than the daemon's objects and the kernel's counters.
//!
//! | room | what it is |
//! |---|---|
//! | `clock` | the time of an event |
//! | `follow` | the daemon's events, also those of the daemon that takes its place |
//! | `frame` | a table that is kept up to date, as lines |
//! | `rates` | how much each session reads and writes |
//! | `record` | an event for programs |
//! | `scope` | which objects are wanted |
//! | `story` | an event in words |
//! | `terminal` | the terminal while a table is drawn on it |

mod clock;
mod follow;
#[cfg(test)]
mod for_tests;
mod frame;
mod rates;
mod record;
mod scope;
mod story;
mod terminal;

pub(crate) use self::{
    clock::{Clock, now},
    follow::{Follow, News, passes},
    frame::{Log, Picture, Section},
    rates::Rates,
    record::{Kind, Record},
    scope::Scope,
    story::{Happening, Story},
    terminal::{Key, Keys, Terminal},
};
