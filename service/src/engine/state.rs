//! The state of the machine: the only part of the engine that reads it.
//!
//! | room | what it is |
//! |---|---|
//! | `diff` | what appeared, changed and vanished between two snapshots |
//! | `kept` | what is kept of the last look at everything, and brought up to date |
//! | `listing` | `ListPaths` and `ListNodes` |
//! | `measure` | what the benches measure |
//! | `path_states` | what multipathd says of each path |
//! | `picture` | the machine as objects, as the bus shows it, and what is other than before |
//! | `reader` | makes snapshots |
//! | `same_disk` | disks that multipath takes for one, and whether they can be one |
//! | `shared_look` | one look for several tasks that need one at the same time |
//! | `snapshot` | nodes, sessions, disks, maps and path states at one moment |
//! | `troubles` | what is wrong with disks and their maps |
//! | `watch` | the listener for events, and waits for a predicate |

pub(super) mod diff;
pub(super) mod kept;
pub(super) mod listing;
#[cfg(feature = "measure")]
pub mod measure;
pub(super) mod path_states;
pub(crate) mod picture;
pub(super) mod reader;
pub(super) mod same_disk;
pub(super) mod shared_look;
pub(super) mod snapshot;
pub(super) mod troubles;
pub(crate) mod watch;
