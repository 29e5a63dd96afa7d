//! A logout is done when nothing of it is left: disks, maps, their links, multipathd's paths.
//! It may not wait beyond the caller's deadline, nor for what belongs to another session by now.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use iscsi_initiator_dbus::fault::Result;
use tokio::time::Instant;

use super::{
    super::{Engine, blocking},
    AGAIN,
    plan::Plan,
};
use crate::backend::{
    kernel::{
        sysfs::{Disk, Map, Sysfs},
        uevents::Events,
    },
    multipath::daemon::Multipathd,
};
use crate::engine::state::listing::passed;

impl Engine {
    /// Waits for it; what is still there at the deadline, in words.
    pub(super) async fn gone(
        &self,
        plan: &Plan,
        events: Option<&Events>,
        deadline: Instant,
    ) -> Result<Vec<String>> {
        loop {
            let look = Look {
                sysfs: self.sysfs.clone(),
                multipathd: self.multipathd.clone(),
                dev: self.layout.dev.clone(),
                disks: plan.disks.iter().map(|(disk, _)| disk.clone()).collect(),
                maps: plan.maps.clone(),
            };
            let left = blocking(move || look.left()).await?;
            if left.is_empty() || passed(deadline) {
                return Ok(left);
            }
            let event = async {
                match events {
                    Some(events) => events.changed().await,
                    None => std::future::pending().await,
                }
            };
            // Whichever comes first only ends the wait; the next look decides.
            let _ = tokio::time::timeout_at(deadline.min(Instant::now() + AGAIN), event).await;
        }
    }
}

/// One look.
struct Look {
    sysfs: Sysfs,
    multipathd: Multipathd,
    dev: PathBuf,
    disks: Vec<Disk>,
    maps: BTreeSet<Map>,
}

impl Look {
    fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        // A name may have been given to another disk meanwhile: host numbers are not given twice.
        let addresses: BTreeSet<String> = self.disks.iter().map(Disk::address).collect();
        let ours: Vec<&Disk> = self.disks.iter().filter(|disk| self.may_be_ours(disk)).collect();
        let is_there = |disk: &&&Disk| self.sysfs.number(&disk.name).is_some();
        left.extend(ours.iter().filter(is_there).map(|disk| format!("the disk {}", disk.name)));
        let maps: Vec<&Map> = self.maps.iter().filter(|map| self.may_be(map)).collect();
        let has_map = |map: &&&Map| self.sysfs.number(&map.device).is_some();
        left.extend(maps.iter().filter(has_map).map(|map| format!("the map {}", map.name)));
        let names: Vec<&str> = ours
            .iter()
            .map(|disk| disk.name.as_str())
            .chain(maps.iter().map(|map| map.device.as_str()))
            .collect();
        // udev's: by-id, by-path, by-diskseq and what else there is.
        let folders = std::fs::read_dir(self.dev.join("disk")).into_iter().flatten().flatten();
        let folders = folders.map(|folder| folder.path()).chain([self.dev.join("mapper")]);
        left.extend(folders.flat_map(|folder| links(&folder, &names)));
        // multipathd notices last; without one, nobody keeps a path.
        if left.is_empty()
            && let Ok(paths) = self.multipathd.addresses()
        {
            left.extend(paths.intersection(&addresses).map(|path| format!("multipathd's path {path}")));
        }
        left
    }

    /// The name is gone, or still that disk's.
    fn may_be_ours(&self, disk: &Disk) -> bool {
        self.sysfs.address(&disk.name).is_none_or(|address| address == disk.address())
    }

    fn may_be(&self, map: &Map) -> bool {
        self.sysfs.dm(&map.device).is_none_or(|(_, uuid)| uuid == format!("mpath-{}", map.wwid))
    }
}

/// Links that lead to one of these devices or their partitions.
fn links(folder: &Path, names: &[&str]) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let leads = |path: &Path| {
        let target = std::fs::read_link(path).ok()?;
        let target = target.file_name()?.to_str()?;
        names.iter().any(|name| is_part_of(target, name)).then_some(())
    };
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| leads(path).is_some()).map(|path| format!("the link {}", path.display())).collect()
}

/// `sda` itself or `sda1`; not `sdab`, and not `dm-10` for `dm-1`.
fn is_part_of(device: &str, name: &str) -> bool {
    let Some(rest) = device.strip_prefix(name) else { return false };
    rest.is_empty()
        || (rest.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::layout::Layout;
    use crate::backend::kernel::sysfs::tests::sample;

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
            dev: dev.clone(),
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

    #[test]
    fn a_partition_is_of_its_disk() {
        assert!(is_part_of("sda", "sda") && is_part_of("sda12", "sda"));
        assert!(!is_part_of("sdab", "sda") && !is_part_of("dm-10", "dm-1") && !is_part_of("sdb", "sda"));
    }
}
