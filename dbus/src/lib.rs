//! The D-Bus contract of `org.cloudatlas.IscsiInitiator`, shared by the daemon and every client.
//!
//! | module | holds |
//! |---|---|
//! | `constants` | the names on the bus, the introspection document and the port of iSCSI |
//! | [`name`] | [`Iqn`], the name of an initiator or a target |
//! | [`portal`] | [`Portal`], the address of a target |
//! | [`lease`] | [`LeaseHolder`], the name that a lease is taken with; [`GuestUuid`], a virtual machine's |
//! | [`secret`] | [`Secret`], a CHAP secret that cannot be shown |
//! | [`options`] | the `a{sv}` arguments, each key checked |
//! | [`results`] | the `a{sv}` answers |
//! | [`objects`] | nodes, sessions and disks as objects, with their properties |
//! | [`fault`] | [`Fault`], every error a caller can meet |
//! | [`shell`] | names and addresses as words of a command that can be pasted |
//! | `printed` | initiator names that more than one machine has |
//! | `unseen` | the characters that hide or reorder text |
//! | [`proxy`] | the client side (feature `proxy`) |
//! | [`watch`] | the objects, kept up to date for a client (feature `proxy`) |
//!
#![doc = include_str!("../README.md")]
#![warn(missing_docs, clippy::missing_errors_doc)]

mod constants;
pub mod fault;
pub mod lease;
pub mod name;
pub mod objects;
pub mod options;
pub mod portal;
mod printed;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod results;
pub mod secret;
pub mod shell;
mod unseen;
#[cfg(feature = "proxy")]
pub mod watch;

pub use constants::{BUS_NAME, DEFAULT_PORT, ERROR_PREFIX, INTERFACE, INTROSPECTION, OBJECT_PATH};
pub use fault::{Fault, Kind};
pub use lease::{GuestUuid, LeaseHolder};
pub use name::Iqn;
pub use portal::Portal;
pub use printed::printed_in;
pub use secret::Secret;
pub use unseen::is_unseen;
/// The version of zbus whose types are in this crate's interface.
pub use zbus;
