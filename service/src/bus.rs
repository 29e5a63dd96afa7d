//! The interface on the bus: parse, ask polkit, do, answer.
//! It may not start a program, read a file of open-iscsi's, or decide who may do what.

mod manager;
mod mirror;
mod progress;
mod secret_fd;

pub(crate) use manager::Manager;
pub(crate) use mirror::mirror;
