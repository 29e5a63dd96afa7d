//! What the machine has beyond what a test needs, so that `iscsictl doctor` finds little to say of it.
//! Must not change what a call does.

use std::{
    fs::{self, Permissions},
    io::Result,
    os::unix::fs::{PermissionsExt as _, symlink},
};

use iscsi_initiator_dbus::BUS_NAME;
use iscsi_initiator_fake::{Machine, machine::CONF};

const POLICY: &str = include_str!("../../../../dbus/org.cloudatlas.IscsiInitiator.conf");

pub(crate) fn furnish(machine: &Machine) -> Result<()> {
    machine.put("etc/iscsid.conf", CONF, 0o600);
    for folder in ["db/nodes", "db/send_targets"] {
        fs::set_permissions(machine.at(folder), Permissions::from_mode(0o700))?;
    }
    machine.put(&format!("share/dbus-1/system.d/{BUS_NAME}.conf"), POLICY, 0o644);
    symlink(fs::read_link(machine.at("bin/iscsiadm"))?, machine.at("bin/iscsid"))
}
