//! A machine that has been logged in for a while: as many sessions, disks and maps as are asked for, all at once.
//! Must not leave a step for later: nothing of it is still on its way.

use std::collections::BTreeMap;

use super::{
    Core, Machine,
    gateway::Lun,
    model::{Map, Model, disk_name, disk_number},
};

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub targets: usize,
    /// A session of each target through each.
    pub portals: usize,
    /// Of each target; disks of their own.
    pub luns: usize,
    /// Whether each LUN has a map of its paths.
    pub has_maps: bool,
}

impl Size {
    /// So many paths: through two portals, to eight LUNs of each target.
    pub fn paths(paths: usize) -> Self {
        Self { targets: paths.div_ceil(16), portals: 2, luns: 8, has_maps: true }
    }

    /// How many paths these are.
    pub fn count(self) -> usize {
        self.targets * self.portals * self.luns
    }
}

impl Machine {
    /// Adds all of it. The targets are called `iqn.2003-01.com.example:large-0` and so on.
    pub fn fill(&self, size: Size) {
        for target in 0..size.targets {
            let name = large_target(target);
            let luns: Vec<Lun> =
                (0..size.luns).map(|lun| Lun::disk(0x1000 + (target * size.luns + lun) as u64, 64)).collect();
            let mut paths: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
            for portal in 0..size.portals {
                let sid =
                    self.session(&name, &format!("198.51.{}.{}", portal / 250, portal % 250 + 1), "3260");
                let mut model = self.core.model();
                for (at, lun) in luns.iter().enumerate() {
                    let key = self.core.large_disk(&mut model, sid, at as u64, lun);
                    paths.entry(at).or_default().push(key);
                }
            }
            if size.has_maps {
                let mut model = self.core.model();
                for (at, keys) in paths {
                    self.core.large_map(&mut model, &luns[at], keys);
                }
            }
        }
        self.core.link_devices(&self.core.model());
    }
}

/// The name of one of its targets.
pub fn large_target(number: usize) -> String {
    format!("iqn.2003-01.com.example:large-{number}")
}

impl Core {
    /// A disk that udev and multipathd have seen; its key.
    fn large_disk(&self, model: &mut Model, sid: u32, lun: u64, is: &Lun) -> u64 {
        let index = model.count_disks();
        let key = self.find_lun(model, sid, lun, is).expect("a new LUN");
        let session = model.sessions.get_mut(&sid).expect("made just now");
        let disk = session.disks.get_mut(&lun).expect("made just now");
        disk.name = Some((disk_name(index), disk_number(index)));
        (disk.in_udev, disk.is_path) = (true, true);
        self.show_disk(disk);
        let text = format!("I:1\nE:ID_SERIAL={}\n", disk.is.serial());
        self.files.put(&format!("run/udev/data/b{}", disk_number(index)), &text, 0o644);
        let address = disk.address();
        model.multipathd.addresses.insert(key, address);
        key
    }

    fn large_map(&self, model: &mut Model, is: &Lun, keys: Vec<u64>) {
        let minor = model.maps.last_key_value().map_or(0, |(last, _)| last + 1);
        let map = Map {
            name: format!("mpath-large-{minor}"),
            wwid: is.serial(),
            size: is.size,
            is_queueing: true,
            in_udev: true,
            paths: keys,
        };
        // They are the last ones: their sessions were made just now.
        let sessions = model.sessions.values().rev().flat_map(|session| session.disks.values());
        let disks: Vec<_> =
            sessions.filter(|disk| map.paths.contains(&disk.key)).take(map.paths.len()).collect();
        self.show_map(minor, &map, &disks);
        let text = format!("I:1\nE:DM_NAME={}\n", map.name);
        self.files.put(&format!("run/udev/data/b253:{minor}"), &text, 0o644);
        model.maps.insert(minor, map);
    }
}
