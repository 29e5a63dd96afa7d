//! What stands in for the outside, in tests and for `make dev`: targets, a bus, a machine, its systemd and polkit.
//! Must not use a line of the daemon's or the probe's code: a mistake there must not be made here as well.
//!
//! | module | holds |
//! |---|---|
//! | [`target`] | an iSCSI target that plays a script over TCP, and serves no disk |
//! | [`bus`] | a private D-Bus daemon |
//! | [`machine`] | a machine of files below one folder: iscsid, kernel, udev and multipathd, and a gateway beside it |
//! | [`systemd`] | systemd's bus interface, as much of it as the daemon uses |
//! | [`polkit`] | an authority that answers yes, or no to the actions that it is given |

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a stand-in that cannot go on must fail its test at once"
)]

pub mod bus;
pub mod machine;
pub mod polkit;
pub mod systemd;
pub mod target;

pub use self::{bus::Bus, machine::Machine};

/// No step of a test takes longer, on a busy machine with two cores; waits end earlier, when it has happened.
pub const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
