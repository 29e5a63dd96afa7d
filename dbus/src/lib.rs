//! The D-Bus contract of `org.cloudatlas.IscsiInitiator`, shared by the daemon and every client.
//! It may not touch files, sockets, the log or policy: parsing here is pure.
//!
//! | module | holds |
//! |---|---|
//! | [`name`] | [`Iqn`], the name of an initiator or a target |
//! | [`portal`] | [`Portal`], the address of a target |
//! | [`secret`] | [`Secret`], a CHAP secret that cannot be shown |
//! | [`options`] | the `a{sv}` arguments, each key checked |
//! | [`results`] | the `a{sv}` answers |
//! | [`fault`] | [`Fault`], every error a caller can meet |
//! | [`proxy`] | the client side (feature `proxy`) |

#![warn(missing_docs)]

pub mod fault;
pub mod name;
pub mod options;
pub mod portal;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod results;
pub mod secret;

pub use fault::{Fault, Kind};
pub use name::Iqn;
pub use portal::Portal;
pub use secret::Secret;

/// The name on the system bus.
pub const BUS_NAME: &str = "org.cloudatlas.IscsiInitiator";
/// The one object.
pub const OBJECT_PATH: &str = "/org/cloudatlas/IscsiInitiator";
/// Its interface.
pub const INTERFACE: &str = "org.cloudatlas.IscsiInitiator";
/// What every own error name begins with.
pub const ERROR_PREFIX: &str = "org.cloudatlas.IscsiInitiator.Error";
/// The introspection document, written by hand: the source of truth for the interface.
pub const INTROSPECTION: &str = include_str!("../org.cloudatlas.IscsiInitiator.xml");
/// The TCP port of iSCSI (RFC 7143, section 15).
pub const DEFAULT_PORT: u16 = 3260;
