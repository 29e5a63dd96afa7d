//! A private system bus with the real polkitd, and people of several uids on it.
//! Must not touch the host's files, nor skip silently: where it cannot run it fails and says why.
//!
//! | module | holds |
//! |---|---|
//! | [`world`] | [`World`]: the bus, polkitd, the daemon under test, calls by busctl |
//! | [`files`] | what the bus and polkitd read instead of the host's files |
//! | [`process`] | the one place that starts programs; [`User`] |
//! | [`peer`] | [`Peer`]: a process of another user that calls, seen from the test |
//! | [`agent`] | the same, from the inside, with an authentication agent |

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "a harness that cannot go on must fail the test at once"
)]

pub mod agent;
pub mod files;
pub mod peer;
pub mod process;
pub mod world;

pub use peer::Peer;
pub use process::{MEMBER, ROOT, STRANGER, User};
pub use world::{Reply, World};

/// No step of a test takes longer, on a busy machine with two cores; waits end earlier, when it has happened.
pub const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
