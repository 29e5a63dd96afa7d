//! Waits until nothing is left of a logout: disks, maps, their links, multipathd's paths. Ignores
//! what belongs to another session in the meantime.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

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
    engine::{Engine, state::watch::Predicate, turns::programs::Running},
};

/// How long a target is kept after a logout that does not wait.
const MEANWHILE: Duration = Duration::from_secs(30);

/// Waits, and returns descriptions of what is still there at the limit.
pub(super) async fn gone(engine: &Engine, plan: &Plan, limit: &Limit) -> Result<Vec<String>> {
    let mut gone = Gone { look: Look::of(engine, plan), is_announced: false };
    if engine.state.watch.until(&mut gone, limit).await?.is_some() {
        return Ok(Vec::new());
    }
    let look = gone.look;
    Ok(asking_multipathd(move || look.left(Extent::All)).await?.what)
}

/// Waits after the reply. Until nothing is left, `running` is kept: a login now would take what udev has not removed
/// yet, under the same names, for its own.
pub(super) fn meanwhile(engine: &Engine, plan: &Plan, running: Running) {
    let (watch, look) = (engine.state.watch.clone(), Look::of(engine, plan));
    tokio::spawn(async move {
        let mut gone = Gone { look, is_announced: false };
        match watch.until_at_leisure(&mut gone, &Limit::of(MEANWHILE)).await {
            Ok(Some(())) => {}
            Ok(None) => tracing::warn!("the sessions have ended, but not all of it is gone"),
            Err(fault) => {
                tracing::warn!(error = fault.message(), "cannot find out whether all of it is gone")
            }
        }
        drop(running);
    });
}

/// Nothing is left.
struct Gone {
    look: Look,
    is_announced: bool,
}

impl Predicate for Gone {
    type Is = ();

    async fn look(&mut self) -> Result<Option<()>> {
        let look = self.look.clone();
        let left = asking_multipathd(move || look.left(Extent::Any)).await?;
        self.is_announced = left.is_announced;
        Ok(left.what.is_empty().then_some(()))
    }

    fn is_announced(&self) -> bool {
        self.is_announced
    }
}

/// How much of what is left is looked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Only whether there is anything: the links on the whole machine are looked at last.
    Any,
    All,
}

/// What is left.
#[derive(Debug, Default, PartialEq, Eq)]
struct Left {
    /// Descriptions.
    what: Vec<String>,
    /// Whether the kernel or udev reports that it goes; multipathd does not.
    is_announced: bool,
}

/// One look.
#[derive(Clone)]
struct Look {
    sysfs: Sysfs,
    multipathd: Multipathd,
    udev: Udev,
    /// The sessions that end.
    sids: BTreeSet<u32>,
    disks: Vec<Disk>,
    maps: BTreeSet<Map>,
}

impl Look {
    fn of(engine: &Engine, plan: &Plan) -> Self {
        Self {
            sysfs: engine.state.sysfs.clone(),
            multipathd: engine.state.multipathd.clone(),
            udev: engine.state.udev.clone(),
            sids: plan.sids.clone(),
            disks: plan.disks.iter().map(|(disk, _)| disk.clone()).collect(),
            maps: plan.maps.clone(),
        }
    }

    fn left(&self, extent: Extent) -> Left {
        let mut left = Vec::new();
        // Names, and addresses with the host's number, may have been given to another session's disk in the
        // meantime.
        let ours: Vec<&Disk> = self.disks.iter().filter(|disk| self.may_be_ours(disk)).collect();
        let names: HashSet<&str> = ours.iter().map(|disk| disk.name.as_str()).collect();
        let is_there = |disk: &&&Disk| self.sysfs.number(&disk.name).is_some();
        left.extend(ours.iter().filter(is_there).map(|disk| format!("the disk {}", disk.name)));
        let has_disk = !left.is_empty();
        let maps: Vec<&Map> =
            self.maps.iter().filter(|map| self.may_be(map) && !self.is_anothers(map, &names)).collect();
        let has_map = |map: &&&Map| self.sysfs.number(&map.device).is_some();
        left.extend(maps.iter().filter(has_map).map(|map| format!("the map {}", map.name)));
        if extent == Extent::All || left.is_empty() {
            let names: Vec<&str> = ours
                .iter()
                .map(|disk| disk.name.as_str())
                .chain(maps.iter().map(|map| map.device.as_str()))
                .collect();
            let links = self.udev.links_to(&names);
            left.extend(links.iter().map(|link| format!("the link {}", link.display())));
        }
        let mut is_announced = true;
        if !has_disk {
            let made_again = self.made_again();
            is_announced = made_again.is_empty();
            left.retain(|what| !made_again.contains(what));
            left.extend(made_again);
        }
        // multipathd notices last. Without a multipathd, no process keeps a path.
        if left.is_empty()
            && let Ok(paths) = self.multipathd.addresses()
        {
            is_announced = false;
            let addresses: BTreeSet<String> = self.disks.iter().map(Disk::address).collect();
            let addresses =
                addresses.iter().filter(|address| self.leaves(self.sysfs.session_of_lun(address)));
            let left_paths = addresses.filter(|address| paths.contains(*address));
            left.extend(left_paths.map(|path| format!("multipathd's path {path}")));
        }
        Left { what: left, is_announced }
    }

    /// Maps that were made again after they were removed, because another path of their disks came
    /// up, and that have lost that path too. multipathd keeps them if they queue. The daemon asks
    /// it to remove them, and it refuses if they are in use.
    fn made_again(&self) -> Vec<String> {
        let mut maps = self.sysfs.pathless_maps();
        maps.retain(|map| self.maps.iter().any(|ours| ours.wwid == map.wwid));
        for map in &maps {
            if let Err(error) = self.multipathd.remove_map(&map.name) {
                tracing::debug!(map = map.name, %error, "a map without a path is not removed");
            }
        }
        maps.into_iter().map(|map| format!("the map {}", map.name)).collect()
    }

    /// Another session carries the map now.
    fn is_anothers(&self, map: &Map, ours: &HashSet<&str>) -> bool {
        self.sysfs.slaves(&map.device).iter().any(|slave| !ours.contains(slave.as_str()))
    }

    /// The name is gone, or still belongs to a disk that leaves.
    fn may_be_ours(&self, disk: &Disk) -> bool {
        self.leaves(self.sysfs.session_of_disk(&disk.name))
            && self.sysfs.address(&disk.name).is_none_or(|address| address == disk.address())
    }

    /// The session ends, or is gone.
    fn leaves(&self, sid: Option<u32>) -> bool {
        sid.is_none_or(|sid| self.sids.contains(&sid))
    }

    fn may_be(&self, map: &Map) -> bool {
        self.sysfs.dm(&map.device).is_none_or(|(_, uuid)| uuid == format!("mpath-{}", map.wwid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{
        host::{atomic::Dir, layout::Layout},
        kernel::sysfs::tests::sample,
    };

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
            sids: plan.sids.clone(),
            disks: plan.disks.iter().map(|(disk, _)| disk.clone()).collect(),
            maps: plan.maps.clone(),
        };
        let left = look().left(Extent::All).what;
        assert_eq!(left.first().map(String::as_str), Some("the disk sda"));
        assert!(left.iter().any(|what| what.ends_with("by-id/wwn-0x1-part1")), "{left:?}");
        let any = look().left(Extent::Any);
        assert!(any.is_announced && left.starts_with(&any.what), "the links are not looked for yet: {any:?}");
        for name in ["sda", "sdb", "dm-0"] {
            std::fs::remove_file(folder.path().join("class/block").join(name)).unwrap();
        }
        let one = look().left(Extent::Any);
        assert!(one.what.len() == 1 && one.is_announced, "the link is still there: {one:?}");
        assert_eq!(one, look().left(Extent::All));
        std::fs::remove_file(by_id.join("wwn-0x1-part1")).unwrap();
        assert!(look().left(Extent::Any).what.is_empty());
    }

    #[test]
    fn a_new_session_with_the_same_host_number_is_not_waited_for() {
        let folder = sample();
        let sysfs = Sysfs::new(folder.path());
        let plan = Plan::new(&sysfs, &sysfs.sessions(), &|_| false);
        let look = || Look {
            sysfs: sysfs.clone(),
            multipathd: Multipathd::new(&Layout::below(folder.path())),
            udev: Udev::new(&Layout::below(folder.path())),
            sids: plan.sids.clone(),
            disks: plan.disks.iter().map(|(disk, _)| disk.clone()).collect(),
            maps: BTreeSet::new(),
        };
        assert_eq!(look().left(Extent::All).what.len(), 2);
        // The kernel gives the lowest free number to a host: names and addresses are those of before.
        let target = folder.path().join("devices/platform/host3/session2/target3:0:0");
        for (lun, name, number) in [(0, "sda", "8:0\n"), (1, "sdb", "8:16\n")] {
            let device = target.join(format!("3:0:0:{lun}"));
            let block = device.join("block").join(name);
            std::fs::create_dir_all(&block).unwrap();
            Dir::open(&block).unwrap().replace("dev", number.as_bytes(), 0o444).unwrap();
            let link = folder.path().join("class/block").join(name);
            std::fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(block, link).unwrap();
            let class = folder.path().join(format!("class/scsi_device/3:0:0:{lun}"));
            std::fs::create_dir_all(&class).unwrap();
            std::os::unix::fs::symlink(device, class.join("device")).unwrap();
        }
        assert_eq!(look().left(Extent::All).what, Vec::<String>::new());
        let address = plan.disks[0].0.address();
        assert_eq!((sysfs.session_of_lun(&address), sysfs.session_of_disk("sda")), (Some(2), Some(2)));
        assert!(!look().leaves(sysfs.session_of_lun(&address)), "nor is its path in multipathd");
        assert!(look().leaves(sysfs.session_of_lun("4:0:0:0")));
    }
}
