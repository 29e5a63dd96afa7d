//! Volume groups on iSCSI disks that this machine has activated and does not use: mostly those of a
//! virtual machine, which LVM activates wherever it finds them.
//! Must not run LVM or open a disk.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::{fault::Result, hint};

use super::{facts::Facts, found::Findings};
use crate::{
    backend::{
        host::threads::looking_for_uses,
        kernel::{
            sysfs::Disk,
            usage::{Holder, Usage},
        },
    },
    engine::Engine,
};

const NAME: &str = "volume-groups";

pub(super) async fn look(engine: &Engine, facts: &Facts) -> Result<Findings> {
    let mut devices: BTreeMap<String, String> = BTreeMap::new();
    for (disk, target) in facts.sessions.iter().flat_map(|s| s.disks.iter().map(|disk| (disk, &s.target))) {
        if let Some(device) = carrier(disk) {
            let place = format!("{} (LUN {} of {target})", disk.label(), disk.lun);
            devices.entry(device).or_insert(place);
        }
    }
    let mut findings = Findings::new();
    if devices.is_empty() {
        return Ok(findings);
    }
    let (usage, names) = (engine.usage.clone(), devices.keys().cloned().collect::<Vec<_>>());
    for (group, on) in looking_for_uses(move || unused(&usage, &names)).await? {
        let places: Vec<&str> =
            on.iter().filter_map(|device| devices.get(device)).map(String::as_str).collect();
        let what = format!(
            "{} carries the volume group {group}, which is active on this machine while nothing here uses it: if \
             it is a virtual machine's, both could write to it, and it keeps a logout away",
            places.join(", ")
        );
        let hint = hint!(
            "if this machine does not need it: sudo vgchange --activate n {GROUP}; to keep LVM from activating it, \
             list this machine's own volume groups in auto_activation_volume_list (lvm.conf(5))",
            GROUP = group
        );
        findings.warning(NAME, &group, what, hint);
    }
    Ok(findings)
}

/// What a volume group on the disk is found on: its map, or the disk.
fn carrier(disk: &Disk) -> Option<String> {
    match &disk.map {
        Some(map) => Some(map.device.clone()),
        None => (!disk.name.is_empty()).then(|| disk.name.clone()),
    }
}

/// The active volume groups of which no volume is used, with the devices that they are on. Blocks.
fn unused(usage: &Usage, devices: &[String]) -> BTreeMap<String, BTreeSet<String>> {
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // One look tells whether there is a group at all.
    if groups_in(&usage.stacked(devices).found.iter().map(|used| &used.holder).collect::<Vec<_>>()).is_empty()
    {
        return groups;
    }
    let mut used_groups = BTreeSet::new();
    for device in devices {
        let found = usage.stacked(std::slice::from_ref(device)).found;
        let holders: Vec<&Holder> = found.iter().map(|used| &used.holder).collect();
        let here = groups_in(&holders);
        if holders.iter().any(|holder| is_use(holder)) {
            used_groups.extend(here);
        } else {
            for group in here {
                groups.entry(group).or_default().insert(device.clone());
            }
        }
    }
    groups.retain(|group, _| !used_groups.contains(group));
    groups
}

fn groups_in(holders: &[&Holder]) -> BTreeSet<String> {
    let group = |holder: &&Holder| match holder {
        Holder::Volume { group, .. } if !group.is_empty() => Some(group.clone()),
        _ => None,
    };
    holders.iter().filter_map(group).collect()
}

/// More than a device that only lies on another.
fn is_use(holder: &Holder) -> bool {
    !matches!(holder, Holder::Volume { .. } | Holder::Map { .. } | Holder::Mapper { .. })
}
