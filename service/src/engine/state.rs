//! The state of the machine: the only part of the engine that reads it.
//!
//! | room | what it is |
//! |---|---|
//! | `diff` | what appeared, changed and vanished between two snapshots |
//! | `listing` | `ListPaths` and `ListNodes` |
//! | `reader` | makes snapshots |
//! | `snapshot` | nodes, sessions, disks, maps and path states at one moment |
//! | `watch` | the listener for events, and waits for a predicate |

pub(super) mod diff;
pub(super) mod listing;
pub(super) mod reader;
pub(super) mod snapshot;
pub(crate) mod watch;
