//! The D-Bus interface: parse, ask polkit, act, reply.
//! Must not start a program, read an open-iscsi file, or decide who may do what.
//!
//! | room | what it is |
//! |---|---|
//! | `manager` | the interface `org.cloudatlas.IscsiInitiator` |
//! | `mirror` | the one place that emits changes |
//! | `progress` | the steps of a long call, sent to its caller alone |
//! | `secret_fd` | secrets that come as a file descriptor |

mod manager;
mod mirror;
mod progress;
mod secret_fd;

pub(crate) use manager::Manager;
pub(crate) use mirror::mirror;
