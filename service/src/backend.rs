//! The programs, files and kernel interfaces that the daemon builds on. Blocks or has a deadline;
//! knows no caller of the bus and no policy.
//!
//! | room | what it is |
//! |---|---|
//! | `host` | what any root daemon needs: atomic file writes, programs, capabilities |
//! | `kernel` | sessions, disks, what uses them, device events |
//! | `leases` | who holds which target |
//! | `logind` | when the machine wakes up |
//! | `multipath` | multipath's configuration and daemon |
//! | `open_iscsi` | records, iscsiadm, iscsid, the initiator name |
//! | `systemd` | units |
//! | `wished` | which nodes are to have a session in this boot |

pub(crate) mod host;
pub(crate) mod kernel;
pub(crate) mod leases;
pub(crate) mod logind;
pub(crate) mod multipath;
pub(crate) mod open_iscsi;
pub(crate) mod systemd;
pub(crate) mod wished;
