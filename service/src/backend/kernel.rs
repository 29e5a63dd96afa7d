//! The running kernel: its state, its events, and requests to it.
//!
//! | room | what it is |
//! |---|---|
//! | `buffers` | what was written and is still in memory |
//! | `modules` | whether iSCSI over TCP and multipath maps can be had |
//! | `stale_sessions` | sessions that iscsid was killed over |
//! | `sysfs` | sessions, disks and maps as sysfs shows them |
//! | `transport` | the iSCSI transport over netlink |
//! | `udev` | its database, its queue and its links |
//! | `uevents` | device events over netlink |
//! | `usage` | what uses a disk or map |

pub(crate) mod buffers;
pub(crate) mod modules;
pub(crate) mod stale_sessions;
pub(crate) mod sysfs;
mod transport;
pub(crate) mod udev;
pub(crate) mod uevents;
pub(crate) mod usage;
