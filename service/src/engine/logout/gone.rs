//! Waits until nothing is left of a logout: disks, maps, their links, multipathd's paths. Ignores
//! what belongs to another session in the meantime.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::fault::Result;

use super::plan::Plan;
use crate::{
    backend::{
        host::{limit::Limit, threads::asking_multipathd},
        kernel::{
            sysfs::{Disk, Map, Sysfs},
            udev::Udev,
        },
        multipath::daemon::Multipathd,
    },
    engine::{Engine, state::watch::Predicate},
};

/// Waits, and returns descriptions of what is still there at the limit.
pub(super) async fn gone(engine: &Engine, plan: &Plan, limit: &Limit) -> Result<Vec<String>> {
    let look = Look {
        sysfs: engine.state.sysfs.clone(),
        multipathd: engine.state.multipathd.clone(),
        udev: engine.state.udev.clone(),
        disks: plan.disks.iter().map(|(disk, _)| disk.clone()).collect(),
        maps: plan.maps.clone(),
    };
    let mut gone = Gone { look, left: Vec::new() };
    engine.state.watch.until(&mut gone, limit).await?;
    Ok(gone.left)
}

/// Nothing is left.
struct Gone {
    look: Look,
    /// Descriptions of what was there at the last look.
    left: Vec<String>,
}

impl Predicate for Gone {
    type Is = ();

    async fn look(&mut self) -> Result<Option<()>> {
        let look = self.look.clone();
        self.left = asking_multipathd(move || look.left()).await?;
        Ok(self.left.is_empty().then_some(()))
    }
}

/// One look.
#[derive(Clone)]
struct Look {
    sysfs: Sysfs,
    multipathd: Multipathd,
    udev: Udev,
    disks: Vec<Disk>,
    maps: BTreeSet<Map>,
}

impl Look {
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        // A name may have been given to another disk in the meantime; host numbers are never
        // reused.
        let addresses: BTreeSet<String> = self.disks.iter().map(Disk::address).collect();
        let ours: Vec<&Disk> = self.disks.iter().filter(|disk| self.may_be_ours(disk)).collect();
        let is_there = |disk: &&&Disk| self.sysfs.number(&disk.name).is_some();
        left.extend(ours.iter().filter(is_there).map(|disk| format!("the disk {}", disk.name)));
        let has_disk = !left.is_empty();
        let maps: Vec<&Map> =
            self.maps.iter().filter(|map| self.may_be(map) && !self.is_anothers(map)).collect();
        let has_map = |map: &&&Map| self.sysfs.number(&map.device).is_some();
        left.extend(maps.iter().filter(has_map).map(|map| format!("the map {}", map.name)));
        let names: Vec<&str> = ours
            .iter()
            .map(|disk| disk.name.as_str())
            .chain(maps.iter().map(|map| map.device.as_str()))
            .collect();
        let links = self.udev.links_to(&names);
        left.extend(links.iter().map(|link| format!("the link {}", link.display())));
        if !has_disk {
            let made_again = self.made_again();
            left.retain(|what| !made_again.contains(what));
            left.extend(made_again);
        }
        // multipathd notices last. Without a multipathd, no process keeps a path.
        if left.is_empty()
            && let Ok(paths) = self.multipathd.addresses()
        {
            left.extend(paths.intersection(&addresses).map(|path| format!("multipathd's path {path}")));
        }
        left
    }

    /// Maps that were made again after they were removed, because another path of their disks came
    /// up, and that have lost that path too. multipathd keeps them if they queue. The daemon asks
    /// it to remove them, and it refuses if they are in use.
    fn made_again(&self) -> Vec<String> {
        let is_ours = |map: &Map| self.maps.iter().any(|ours| ours.wwid == map.wwid);
        let mut maps = self.sysfs.multipath_maps();
        maps.retain(|map| is_ours(map) && self.sysfs.slaves(&map.device).is_empty());
        for map in &maps {
            if let Err(error) = self.multipathd.remove_map(&map.name) {
                tracing::debug!(map = map.name, %error, "a map without a path is not removed");
            }
        }
        maps.into_iter().map(|map| format!("the map {}", map.name)).collect()
    }

    /// Another session carries the map now.
    fn is_anothers(&self, map: &Map) -> bool {
        let is_ours =
            |slave: &String| self.disks.iter().any(|disk| disk.name == *slave && self.may_be_ours(disk));
        self.sysfs.slaves(&map.device).iter().any(|slave| !is_ours(slave))
    }

    /// The name is gone, or still belongs to that disk.
    fn may_be_ours(&self, disk: &Disk) -> bool {
        self.sysfs.address(&disk.name).is_none_or(|address| address == disk.address())
    }

    fn may_be(&self, map: &Map) -> bool {
        self.sysfs.dm(&map.device).is_none_or(|(_, uuid)| uuid == format!("mpath-{}", map.wwid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{host::layout::Layout, kernel::sysfs::tests::sample};

    #[test]
    fn what_is_left_is_named_until_it_is_gone() {
        let folder = sample();
        let sysfs = Sysfs::new(folder.path());
        let sessions = sysfs.sessions();
        let plan = Plan::new(&sysfs, &sessions, &|_| false);
        let dev = folder.path().join("dev");
        let by_id = dev.join("disk/by-id");
        std::fs::create_dir_all(&by_id).unwrap();
        std::os::unix::fs::symlink("../../sda1", by_id.join("wwn-0x1-part1")).unwrap();
        let look = || Look {
            sysfs: sysfs.clone(),
            multipathd: Multipathd::new(&Layout::below(folder.path())),
            udev: Udev::new(&Layout::below(folder.path())),
            disks: plan.disks.iter().map(|(disk, _)| disk.clone()).collect(),
            maps: plan.maps.clone(),
        };
        let left = look().left();
        assert_eq!(left.first().map(String::as_str), Some("the disk sda"));
        assert!(left.iter().any(|what| what.ends_with("by-id/wwn-0x1-part1")), "{left:?}");
        for name in ["sda", "sdb", "dm-0"] {
            std::fs::remove_file(folder.path().join("class/block").join(name)).unwrap();
        }
        assert_eq!(look().left().len(), 1, "the link is still there");
        std::fs::remove_file(by_id.join("wwn-0x1-part1")).unwrap();
        assert!(look().left().is_empty());
    }
}
