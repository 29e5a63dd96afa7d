//! A daemon that cannot be followed for now, in words.

use iscsi_initiator_model::{health::Mood, mirror::Trouble, news::Happening};

use crate::language::say;
use crate::problem::Problem;

/// The daemon has ended and could not be started again yet, or does not let anyone watch for now.
pub(crate) fn lost(trouble: &Trouble) -> Happening {
    let why = Problem::from(trouble.clone()).message;
    match trouble {
        Trouble::Gone(_) | Trouble::Bus => {
            Happening::new(Mood::Bad, say!("the daemon is gone, and is tried again: {why}", why))
        }
        _ => refused(&why),
    }
}

/// It is followed again.
pub(crate) fn found() -> Happening {
    Happening::new(Mood::Good, say!("the daemon is followed again"))
}

/// The daemon does not answer for now.
pub(crate) fn refused(why: &str) -> Happening {
    Happening::new(Mood::Bad, say!("out of date, the daemon is asked again: {why}", why))
}
