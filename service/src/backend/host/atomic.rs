//! Files beneath a directory: read within bounds, and written as a whole or not at all. All writing
//! is done here.
//!
//! | room | what it is |
//! |---|---|
//! | `dir` | the directory, and what is read, written and removed beneath it |
//! | `held` | files that are locked for as long as their owner lives |
//! | `modes` | who may read the files below a directory, and taking that from everyone but root |
//! | `steps` | the durable steps of a write, which a test can end the process at |

mod dir;
mod held;
mod modes;
#[cfg(not(feature = "steps"))]
pub(crate) mod steps;
#[cfg(feature = "steps")]
pub mod steps;

pub(crate) use self::{
    dir::{Dir, FILE_LIMIT},
    held::Held,
    modes::{Kind, Modes},
};
