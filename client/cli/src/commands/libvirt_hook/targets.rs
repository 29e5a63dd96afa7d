//! The targets of a virtual machine: those that its metadata names, or those of its disks.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::{Iqn, Portal, options::PathFilter, proxy::InitiatorProxy};

use super::{
    domain::{Domain, Wanted},
    source::Source,
};
use crate::problem::Problem;

/// What has to be there.
#[derive(Debug)]
pub(super) struct Targets {
    pub(super) list: Vec<Target>,
    /// The disks that are waited for.
    pub(super) disks: BTreeSet<String>,
}

/// A target that is logged in to.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) name: Iqn,
    pub(super) portal: Option<Portal>,
    pub(super) min_paths: usize,
}

/// Those of this machine. Asks the daemon only where the name of a disk does not say it.
pub(super) async fn of(daemon: &InitiatorProxy<'_>, domain: &Domain) -> Result<Targets, Problem> {
    if let Some(wanted) = &domain.targets {
        let target = |wanted: &Wanted| Target {
            name: wanted.name.clone(),
            portal: wanted.portal.clone(),
            min_paths: wanted.min_paths,
        };
        // Its disks may lie on those of the targets: which are whose is not known, and all have to be there.
        return Ok(Targets { list: wanted.iter().map(target).collect(), disks: domain.disks.clone() });
    }
    let (mut found, mut disks) = (BTreeMap::<String, Target>::new(), BTreeSet::new());
    let mut add = |name: Iqn, disk: &str| {
        disks.insert(disk.to_owned());
        let target = Target { portal: None, min_paths: 1, name };
        found.entry(target.name.canonical()).or_insert(target);
    };
    for disk in &domain.disks {
        match Source::of(disk) {
            Source::Other => {}
            Source::Lun(target) => add(target, disk),
            Source::Asked => {
                for node in daemon.list_nodes(PathFilter::new().device(disk.as_str())).await? {
                    if let Ok(target) = node.target.parse() {
                        add(target, disk);
                    }
                }
            }
        }
    }
    Ok(Targets { list: found.into_values().collect(), disks })
}
