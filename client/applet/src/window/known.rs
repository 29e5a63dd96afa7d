//! What is known, for whatever is open beside the list.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use iscsi_initiator_dbus::{
    Iqn,
    objects::{Disk, Model},
};
use iscsi_initiator_model::{connect::Damaged, overview::disk_name};

use crate::bus::{Facts, Snapshot};

/// The last state, shared by all of the window.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Rc<RefCell<Option<Arc<Snapshot>>>>);

impl Known {
    pub(super) fn set(&self, snapshot: &Arc<Snapshot>) {
        self.0.replace(Some(Arc::clone(snapshot)));
    }

    pub(super) fn get(&self) -> Option<Arc<Snapshot>> {
        self.0.borrow().clone()
    }

    /// What the daemon says of itself; nothing before it has.
    pub(super) fn facts(&self) -> Facts {
        self.get().map(|known| known.facts.clone()).unwrap_or_default()
    }

    /// The nodes whose records cannot be used.
    pub(super) fn damaged(&self) -> Vec<Damaged> {
        self.get().map(|known| damaged(&known.model)).unwrap_or_default()
    }

    /// The disk of this name, as `/dev` or multipath has it.
    pub(super) fn disk(&self, name: &str) -> Option<Disk> {
        let known = self.get()?;
        let is_it = |disk: &Disk| {
            disk_name(disk) == name || disk.map == name || disk.paths.iter().any(|path| path.device == name)
        };
        known.model.disks().map(|(_, disk)| disk).find(|disk| is_it(disk)).cloned()
    }

    /// Every target that is connected.
    pub(super) fn connected(&self) -> Vec<Iqn> {
        let Some(known) = self.get() else { return Vec::new() };
        let connected = known.overview.targets.iter().filter(|target| target.is_connected());
        connected.filter_map(|target| target.name.parse().ok()).collect()
    }

    /// A portal of a target, the first as people see them; empty if it has none.
    pub(super) fn portal_of(&self, target: &str) -> String {
        let known = self.get();
        let place = known.as_ref().and_then(|known| known.overview.target(target)?.places.first().cloned());
        place.map(|place| place.portal).unwrap_or_default()
    }
}

fn damaged(model: &Model) -> Vec<Damaged> {
    let nodes = model.nodes().filter(|(_, node)| !node.message.is_empty());
    nodes
        .filter_map(|(_, node)| {
            Some(Damaged {
                target: node.target.parse().ok()?,
                portal: node.portal.parse().ok()?,
                interface: (!node.interface.is_empty()).then(|| node.interface.clone()),
                startup: node.startup,
            })
        })
        .collect()
}
