//! What the daemon rests on: open-iscsi, sysfs, multipathd, systemd.
//! It may not know the bus's callers, polkit or any policy.

pub(crate) mod abandoned;
pub(crate) mod database;
pub(crate) mod events;
pub(crate) mod host;
pub(crate) mod initiator_name;
pub(crate) mod iscsiadm;
pub(crate) mod iscsid;
pub(crate) mod kernel;
pub(crate) mod luns;
pub(crate) mod multipath;
pub(crate) mod multipathd;
pub(crate) mod sysfs;
pub(crate) mod systemd;
pub(crate) mod usage;
