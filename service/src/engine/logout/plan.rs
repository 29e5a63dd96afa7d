//! What leaves with some sessions: disks, whole maps, and single paths of maps that stay.

use std::collections::BTreeSet;

use crate::backend::kernel::{
    sysfs::{Disk, Map, Session, Sysfs},
    usage::Question,
};

/// What a logout removes, as found beforehand.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// The sessions.
    pub(super) sids: BTreeSet<u32>,
    /// Every disk of the sessions, and whether it can answer: its session is up, and its LUN
    /// exists.
    pub(super) disks: Vec<(Disk, bool)>,
    /// Every LUN, also those that are not disks: `3:0:0:1`.
    pub(super) addresses: Vec<String>,
    /// Maps that lose all their paths.
    pub(super) maps: BTreeSet<Map>,
    /// Maps that keep a working path: they stay, and their disks leave one by one.
    pub(super) staying: BTreeSet<Map>,
    /// Maps that keep only paths that do not work.
    pub(super) stranded: BTreeSet<Map>,
}

impl Plan {
    /// `has_failed` reports a path that the kernel considers running, but multipathd does not use.
    pub(super) fn new(sysfs: &Sysfs, sessions: &[Session], has_failed: &dyn Fn(&str) -> bool) -> Self {
        let with_state = |session: &Session| {
            let is_up = session.state == "LOGGED_IN";
            let with_answer = move |disk: Disk| {
                let can_answer = is_up && !disk.is_gone();
                (disk, can_answer)
            };
            session.disks.clone().into_iter().map(with_answer).collect::<Vec<_>>()
        };
        let disks: Vec<(Disk, bool)> =
            sessions.iter().flat_map(with_state).filter(|(disk, _)| !disk.name.is_empty()).collect();
        let leaving: BTreeSet<&str> = disks.iter().map(|(disk, _)| disk.name.as_str()).collect();
        let maps: BTreeSet<Map> = disks.iter().filter_map(|(disk, _)| disk.map.clone()).collect();
        let addresses = sessions.iter().flat_map(|session| &session.disks).map(Disk::address).collect();
        // A LUN that is no longer offered has the size 0, but is still "running".
        let works = |path: &str| {
            sysfs.is_running(path) && sysfs.size(path).is_none_or(|size| size > 0) && !has_failed(path)
        };
        let mut plan = Self::default();
        for map in maps {
            let mut others = sysfs.slaves(&map.device);
            others.retain(|path| !leaving.contains(path.as_str()));
            let kind = if others.is_empty() {
                &mut plan.maps
            } else if others.iter().any(|path| works(path)) {
                &mut plan.staying
            } else {
                &mut plan.stranded
            };
            kind.insert(map);
        }
        let sids = sessions.iter().map(|session| session.sid).collect();
        Self { sids, disks, addresses, ..plan }
    }

    /// What is asked about what uses it.
    pub(super) fn question(&self) -> Question {
        Question { devices: self.devices(), paths: self.paths(), addresses: self.addresses.clone() }
    }

    /// What must be unused: maps, and disks without one.
    pub(super) fn devices(&self) -> Vec<String> {
        let maps = self.maps.iter().chain(&self.stranded).map(|map| map.device.clone());
        maps.chain(self.bare().map(|disk| disk.name.clone())).collect()
    }

    /// The disks without a map.
    pub(super) fn bare(&self) -> impl Iterator<Item = &Disk> {
        self.disks.iter().map(|(disk, _)| disk).filter(|disk| disk.map.is_none())
    }

    /// The disks below a map, which a program may have open as well.
    pub(super) fn paths(&self) -> Vec<String> {
        let mapped = self.disks.iter().filter(|(disk, _)| disk.map.is_some());
        mapped.map(|(disk, _)| disk.name.clone()).collect()
    }

    /// The disks that leave a map that stays.
    pub(super) fn leaving_paths(&self) -> Vec<String> {
        let stays = |map: &Map| self.staying.contains(map) || self.stranded.contains(map);
        let disks = self.disks.iter().filter(|(disk, _)| disk.map.as_ref().is_some_and(stays));
        disks.map(|(disk, _)| disk.name.clone()).collect()
    }

    /// What can be written back: maps and disks with a working path. A dead one cannot be written
    /// to. What no process has open has nothing left to write, because the kernel writes it on the
    /// last close.
    pub(super) fn flushable(&self) -> Vec<String> {
        let works = |(disk, is_up): &&(Disk, bool)| *is_up && disk.state == "running";
        let live: Vec<&Disk> = self.disks.iter().filter(works).map(|(disk, _)| disk).collect();
        let has_path = |map: &&Map| live.iter().any(|disk| disk.map.as_ref() == Some(*map));
        let maps: Vec<String> = self.maps.iter().filter(has_path).map(|map| map.device.clone()).collect();
        maps.into_iter().chain(live.iter().map(|disk| disk.name.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{host::atomic::Dir, kernel::sysfs};

    #[test]
    fn a_map_leaves_only_with_its_last_path() {
        let folder = sysfs::tests::sample();
        let sysfs = Sysfs::new(folder.path());
        let sessions = sysfs.sessions();
        let slaves = folder.path().join("block/dm-0/slaves");
        std::fs::create_dir_all(slaves.join("sda")).unwrap();
        let map = Map { name: "mpatha".into(), device: "dm-0".into(), wwid: "3600140500000000".into() };
        let plan = Plan::new(&sysfs, &sessions, &|_| false);
        assert_eq!(plan.maps, BTreeSet::from([map.clone()]));
        assert_eq!((plan.devices(), plan.paths()), (vec!["dm-0".into(), "sdb".into()], vec!["sda".into()]));
        assert_eq!(plan.flushable(), ["dm-0", "sda", "sdb"]);
        assert!(plan.leaving_paths().is_empty());
        let size = folder.path().join("class/block/sdb").canonicalize().unwrap();
        Dir::open(&size).unwrap().replace("size", b"0\n", 0o444).unwrap();
        assert_eq!(
            Plan::new(&sysfs, &sysfs.sessions(), &|_| false).flushable(),
            ["dm-0", "sda"],
            "the LUN of sdb has gone"
        );

        std::fs::create_dir_all(slaves.join("sdz")).unwrap();
        let plan = Plan::new(&sysfs, &sessions, &|_| false);
        assert!(plan.maps.is_empty() && plan.staying.contains(&map), "a path of another session carries it");
        assert_eq!((plan.devices(), plan.leaving_paths()), (vec!["sdb".into()], vec!["sda".into()]));

        let failed = Plan::new(&sysfs, &sessions, &|path| path == "sdz");
        assert!(failed.stranded.contains(&map), "multipathd does not use the other path");

        let scsi = folder.path().join("class/block/sdz/device");
        std::fs::create_dir_all(&scsi).unwrap();
        Dir::open(&scsi).unwrap().replace("state", b"transport-offline\n", 0o644).unwrap();
        let plan = Plan::new(&sysfs, &sessions, &|_| false);
        assert!(plan.stranded.contains(&map), "the other path is dead");
        assert_eq!(plan.devices(), ["dm-0", "sdb"]);
    }
}
