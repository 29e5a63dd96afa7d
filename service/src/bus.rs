//! The D-Bus interface: parse, ask polkit, act, reply.
//! Must not start a program, read an open-iscsi file, or decide who may do what.
//!
//! | room | what it is |
//! |---|---|
//! | `consent` | questions to polkit while a call runs |
//! | `door` | which messages get from the socket into the daemon |
//! | `introspection` | the introspection documents of the objects |
//! | `jobs` | the long calls: their numbers, and what cancels them |
//! | `manager` | the interface `org.cloudatlas.IscsiInitiator` |
//! | `mirror` | shows the machine: the only emitter, and what reading objects is answered from |
//! | `objects` | the objects below the root object: nodes, sessions, disks |
//! | `progress` | reports the steps of a long call to its caller |
//! | `secret_fd` | secrets passed as a file descriptor |
//! | `watchers` | who gets the signals |

mod consent;
mod door;
mod introspection;
mod jobs;
mod manager;
mod mirror;
mod objects;
mod progress;
mod secret_fd;
mod watchers;

pub use door::{Entrance, connect};
pub(crate) use manager::Manager;
pub(crate) use mirror::Mirror;
pub(crate) use objects::Objects;
pub(crate) use watchers::Watchers;
