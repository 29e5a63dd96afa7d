//! What the daemon rests on: open-iscsi, sysfs, multipathd, systemd.
//! It may not know the bus's callers, polkit or any policy.

pub(crate) mod host;
pub(crate) mod kernel;
pub(crate) mod multipath;
pub(crate) mod multipathd;
pub(crate) mod open_iscsi;
pub(crate) mod systemd;
