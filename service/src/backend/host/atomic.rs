//! Files beneath a directory: read within bounds, and written as a whole or not at all. All writing
//! is done here.
//!
//! | room | what it is |
//! |---|---|
//! | `dir` | a directory: reads, writes and removes what is beneath it |
//! | `held` | files that stay locked for as long as their owner lives |
//! | `links` | symlinks that only root can change |
//! | `modes` | the permissions of files below a directory, and taking them away from all but root |
//! | `steps` | counts the durable steps of a write, so that a test can end the process at one |

mod dir;
mod held;
mod links;
mod modes;
#[cfg(not(feature = "steps"))]
pub(crate) mod steps;
#[cfg(feature = "steps")]
pub mod steps;

pub(crate) use self::{
    dir::{Dir, FILE_LIMIT, Names},
    held::Held,
    modes::{Kind, Modes},
};
