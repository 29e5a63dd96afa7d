//! The running kernel: its state, its events, and requests to it.
//!
//! | room | what it is |
//! |---|---|
//! | `buffers` | writes back the cached data of a device |
//! | `fstab` | entries of /etc/fstab that would hold up a boot |
//! | `guests` | the virtual machines that run, by their processes |
//! | `modules` | whether the kernel has iSCSI over TCP and multipath maps |
//! | `network` | network events over netlink: what may have cut a connection, or brought it back |
//! | `processes` | whose a process is |
//! | `stale_sessions` | sessions that a killed iscsid left behind |
//! | `sysfs` | sessions, disks and maps as sysfs shows them |
//! | `transport` | the iSCSI transport over netlink |
//! | `udev` | udev's database, its queue and its links |
//! | `uevents` | device events over netlink |
//! | `unix_sockets` | who listens on an abstract Unix socket |
//! | `usage` | what uses a disk or map |

pub(crate) mod buffers;
pub(crate) mod fstab;
pub(crate) mod guests;
pub(crate) mod modules;
pub(crate) mod network;
pub(crate) mod processes;
pub(crate) mod stale_sessions;
pub(crate) mod sysfs;
mod transport;
pub(crate) mod udev;
pub(crate) mod uevents;
pub(crate) mod unix_sockets;
pub(crate) mod usage;
