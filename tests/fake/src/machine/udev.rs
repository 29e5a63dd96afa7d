//! udev: its database, its queue, and the links that it makes.
//! Must not be quicker than the kernel: it sees a device after it was told of it.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Core,
    model::{Disk, Model},
    multipathd::FindMultipaths,
    sysfs::{block_path, map_path},
};

const QUEUE: &str = "run/udev/queue";
/// What it says of a disk that is only a path of a map.
const CLAIMED: &str = "E:DM_MULTIPATH_DEVICE_PATH=1\n";

impl Core {
    /// A new disk: its rules run, then multipathd hears of it.
    pub(super) fn udev_sees_disk(self: &Arc<Self>, model: &mut Model, key: u64) {
        let delay = model.delays.udev;
        self.udev_works(model, delay, move |core, model| {
            let Some(disk) = model.disk_mut(key) else { return };
            disk.in_udev = true;
            let place = disk.device().map(|name| block_path(disk, name)).unwrap_or_default();
            core.write_udev(model, key);
            core.link_devices(model);
            core.uevents.send("add", &place, "block");
            core.multipathd_hears_of(model, key);
        });
    }

    /// A disk that is gone: its entry and its links go.
    pub(super) fn udev_loses_disk(self: &Arc<Self>, model: &mut Model, disk: &Disk) {
        let delay = model.delays.udev;
        let (key, disk) = (disk.key, disk.clone());
        self.udev_works(model, delay, move |core, model| {
            if let Some((name, number)) = &disk.name {
                // Another may have its number by now.
                if model.disk_named(name).is_none() {
                    core.files.remove(&format!("run/udev/data/b{number}"));
                }
                core.link_devices(model);
                core.uevents.send("remove", &block_path(&disk, name), "block");
            }
            core.multipathd_misses(model, key);
        });
    }

    /// A new map.
    pub(super) fn udev_sees_map(self: &Arc<Self>, model: &mut Model, minor: u32) {
        let delay = model.delays.link;
        self.udev_works(model, delay, move |core, model| {
            let Some(map) = model.maps.get_mut(&minor) else { return };
            map.in_udev = true;
            core.files.put(
                &format!("run/udev/data/b253:{minor}"),
                &format!("I:1\nE:DM_NAME={}\n", map.name),
                0o644,
            );
            core.link_devices(model);
            core.uevents.send("change", &map_path(minor), "block");
        });
    }

    /// A map that is gone.
    pub(super) fn udev_loses_map(self: &Arc<Self>, model: &mut Model, minor: u32) {
        let delay = model.delays.udev;
        self.udev_works(model, delay, move |core, model| {
            if !model.maps.contains_key(&minor) {
                core.files.remove(&format!("run/udev/data/b253:{minor}"));
            }
            core.link_devices(model);
            core.uevents.send("remove", &map_path(minor), "block");
        });
    }

    /// Does it after a while, and has something in its queue until then.
    fn udev_works(
        self: &Arc<Self>,
        model: &mut Model,
        delay: std::time::Duration,
        work: impl FnOnce(&Arc<Self>, &mut Model) + Send + 'static,
    ) {
        model.udev_at += 1;
        self.files.put(QUEUE, "", 0o644);
        self.later(delay, move |core, model| {
            work(core, model);
            model.udev_at -= 1;
            if model.udev_at == 0 {
                core.files.remove(QUEUE);
            }
        });
    }

    /// udev's entry on a disk, as its rules make it now.
    pub(super) fn write_udev(&self, model: &Model, key: u64) {
        let Some(disk) = model.disk(key).filter(|disk| disk.in_udev) else { return };
        let Some((_, number)) = &disk.name else { return };
        let is_greedy = model.multipathd.find == FindMultipaths::Greedy && model.multipathd.makes_maps();
        let claimed = if model.map_over(key).is_some() || is_greedy { CLAIMED } else { "" };
        let text = format!("I:1\nE:ID_SERIAL={}\n{claimed}", disk.is.serial());
        self.files.put(&format!("run/udev/data/b{number}"), &text, 0o644);
    }

    /// Every link below `dev` is as the devices that udev has seen want it.
    pub(super) fn link_devices(&self, model: &Model) {
        let mut wanted: BTreeMap<String, String> = BTreeMap::new();
        for session in model.sessions.values() {
            for disk in session.disks.values().filter(|disk| disk.in_udev) {
                let Some(name) = disk.device() else { continue };
                let place = format!("../../{name}");
                let (portal, target) = (format!("{}:{}", session.address, session.port), &session.target);
                let path = format!("dev/disk/by-path/ip-{portal}-iscsi-{target}-lun-{}", disk.lun);
                wanted.insert(path, place.clone());
                let serial = disk.is.serial();
                // Of several paths the first has it.
                wanted.entry(format!("dev/disk/by-id/scsi-{serial}")).or_insert(place);
            }
        }
        for (minor, map) in model.maps.iter().filter(|(_, map)| map.in_udev) {
            wanted.insert(format!("dev/mapper/{}", map.name), format!("../dm-{minor}"));
            for id in [format!("scsi-{}", map.wwid), format!("dm-uuid-mpath-{}", map.wwid)] {
                wanted.insert(format!("dev/disk/by-id/{id}"), format!("../../dm-{minor}"));
            }
        }
        for folder in ["dev/disk/by-path", "dev/disk/by-id", "dev/mapper"] {
            for name in self.files.list(folder) {
                let path = format!("{folder}/{name}");
                if !wanted.contains_key(&path) {
                    self.files.remove(&path);
                }
            }
        }
        for (path, place) in wanted {
            let is_there =
                std::fs::read_link(self.files.at(&path)).is_ok_and(|link| link.as_os_str() == place.as_str());
            if !is_there {
                self.files.link(&path, place);
            }
        }
    }
}
