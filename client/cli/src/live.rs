//! What changes, as it changes: events in words and for programs, rates, and a table that is kept up to date.
//! Must not change anything, or ask for more than the daemon's objects and the kernel's counters. How the daemon is
//! followed, and what an event is in words, are the model's (`client/model`).
//!
//! | room | what it is |
//! |---|---|
//! | `clock` | the time of an event |
//! | `frame` | a table that is kept up to date, as lines |
//! | `lost` | a daemon that cannot be followed for now, in words |
//! | `rates` | how much each session reads and writes |
//! | `record` | an event for programs |
//! | `terminal` | the terminal while a table is drawn on it |

mod clock;
#[cfg(test)]
mod for_tests;
mod frame;
mod lost;
mod rates;
mod record;
mod terminal;

pub(crate) use self::{
    clock::{Clock, now},
    frame::{Log, Picture, Section},
    lost::{found, lost, refused},
    rates::Rates,
    record::{Kind, Record},
    terminal::{Key, Keys, Terminal},
};
