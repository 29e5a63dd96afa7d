//! The D-Bus interface: parse, ask polkit, act, reply.
//! Must not start a program, read an open-iscsi file, or decide who may do what.
//!
//! | room | what it is |
//! |---|---|
//! | `consent` | questions to polkit while a call runs |
//! | `door` | which messages get from the socket into the daemon |
//! | `jobs` | the long calls: their numbers, and what cancels them |
//! | `manager` | the interface `org.cloudatlas.IscsiInitiator` |
//! | `mirror` | reports changed properties |
//! | `progress` | reports the steps of a long call to its caller |
//! | `secret_fd` | secrets passed as a file descriptor |

mod consent;
mod door;
mod jobs;
mod manager;
mod mirror;
mod progress;
mod secret_fd;

pub use door::connect;
pub(crate) use manager::Manager;
pub(crate) use mirror::mirror;
