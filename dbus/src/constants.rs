//! The names on the bus, the introspection document and the port of iSCSI.

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
