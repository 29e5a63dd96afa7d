//! Multipath maps, as the kernel makes, changes and removes them.
//! Must not decide whether there is to be one: that is multipathd's.

use std::sync::Arc;

use super::{
    Core, Machine,
    model::{Disk, Map, Model},
};

impl Machine {
    /// The names of the maps that are there.
    pub fn maps(&self) -> Vec<String> {
        self.core.model().maps.values().map(|map| map.name.clone()).collect()
    }

    /// The names of those whose I/O waits where no path is left.
    pub fn queueing_maps(&self) -> Vec<String> {
        self.core.model().maps.values().filter(|map| map.is_queueing).map(|map| map.name.clone()).collect()
    }

    /// A person runs `multipath -f`.
    pub fn flush_map(&self, name: &str) {
        let mut model = self.core.model();
        let minor = model.map_named(name).unwrap_or_else(|| panic!("there is no map {name}"));
        self.core.remove_map(&mut model, minor);
    }
}

impl Core {
    /// Makes the map of this disk of all paths that multipathd has of it; whether it is there then.
    pub(super) fn make_map(self: &Arc<Self>, model: &mut Model, wwid: &str) -> bool {
        let is_path =
            |disk: &&Disk| disk.is_path && disk.is.serial() == wwid && model.map_over(disk.key).is_none();
        let paths: Vec<&Disk> = model.disks().filter(is_path).collect();
        let Some(size) = paths.first().map(|disk| disk.is.size) else { return false };
        // The daemon under test claims a disk by an exclusive open, which the kernel keeps multipathd's map away with.
        let are_claimed = |paths: &[&Disk]| {
            let names = || paths.iter().filter_map(|disk| disk.device());
            names().any(|name| model.is_mounted(name))
                || self.files.is_any_open(names().map(|name| format!("dev/{name}")))
        };
        if are_claimed(&paths) || !self.may_make_map(model, wwid) {
            return false;
        }
        let minor = (0..).find(|minor| !model.maps.contains_key(minor)).unwrap_or_default();
        let map = Map {
            name: self.name_for(model, wwid),
            wwid: wwid.to_owned(),
            size,
            is_queueing: true,
            in_udev: false,
            paths: paths.iter().map(|disk| disk.key).collect(),
        };
        self.show_map(minor, &map, &paths);
        // In the kernel only one of the two gets the disk. Here who claims it looks for a map after that, and the map is
        // shown before this, so that at least one of them gives way.
        if are_claimed(&paths) {
            self.hide_map(minor, &paths);
            return false;
        }
        let keys = map.paths.clone();
        model.maps.insert(minor, map);
        keys.into_iter().for_each(|key| self.write_udev(model, key));
        self.udev_sees_map(model, minor);
        true
    }

    /// Adds to a map the paths that it does not have; whether there is one.
    pub(super) fn extend_map(&self, model: &mut Model, wwid: &str) -> bool {
        let Some(minor) = model.maps.iter().find(|(_, map)| map.wwid == wwid).map(|(minor, _)| *minor) else {
            return false;
        };
        let is_new =
            |disk: &&Disk| disk.is_path && disk.is.serial() == wwid && model.map_over(disk.key).is_none();
        let keys: Vec<u64> = model.disks().filter(is_new).map(|disk| disk.key).collect();
        for key in keys {
            if let Some(disk) = model.disk(key) {
                self.show_path(minor, disk);
            }
            if let Some(map) = model.maps.get_mut(&minor) {
                map.paths.push(key);
            }
            self.write_udev(model, key);
        }
        true
    }

    /// A path that is gone leaves its map, and with the last one the map goes, if nothing is in the way.
    pub(super) fn forget_path(self: &Arc<Self>, model: &mut Model, key: u64) {
        if let Some(disk) = model.disk_mut(key) {
            disk.is_path = false;
        }
        model.multipathd.addresses.remove(&key);
        let Some(minor) = model.map_over(key) else { return };
        if let Some(disk) = model.disk(key) {
            self.hide_path(minor, disk);
        }
        let is_in_use = self.is_map_in_use(model, minor);
        let Some(map) = model.maps.get_mut(&minor) else { return };
        map.paths.retain(|path| *path != key);
        self.uevents.send("change", &super::sysfs::map_path(minor), "block");
        if !map.paths.is_empty() {
            // It goes back to what its configuration says.
            map.is_queueing = true;
        } else if !map.is_queueing && !is_in_use {
            self.remove_map(model, minor);
        }
    }

    /// `del path`: not the last one of a map that is in use.
    pub(super) fn drop_path(self: &Arc<Self>, model: &mut Model, name: &str) -> bool {
        let Some(key) = model.disk_named(name).map(|disk| disk.key) else { return false };
        let is_last = |minor: &u32| model.maps.get(minor).is_some_and(|map| map.paths == [key]);
        if model.map_over(key).filter(is_last).is_some_and(|minor| self.is_map_in_use(model, minor)) {
            return false;
        }
        self.forget_path(model, key);
        self.write_udev(model, key);
        true
    }

    /// Removes a map; its paths stay multipathd's.
    pub(super) fn remove_map(self: &Arc<Self>, model: &mut Model, minor: u32) {
        let Some(map) = model.maps.remove(&minor) else { return };
        let disks: Vec<&Disk> = map.paths.iter().filter_map(|key| model.disk(*key)).collect();
        self.hide_map(minor, &disks);
        map.paths.iter().for_each(|key| self.write_udev(model, *key));
        self.udev_loses_map(model, minor);
    }

    /// A map takes the size of its first path.
    pub(super) fn resize_map(&self, model: &mut Model, name: &str) -> bool {
        let minor = model.map_named(name);
        let size = |minor: &u32| {
            let map = model.maps.get(minor)?;
            Some(model.disk(*map.paths.first()?)?.is.size)
        };
        let Some((minor, size)) = minor.and_then(|minor| Some((minor, size(&minor)?))) else { return false };
        let Some(map) = model.maps.get_mut(&minor) else { return false };
        map.size = size;
        self.show_map_size(minor, map);
        true
    }

    /// Whether a process has the map open, or something is mounted or swaps on it.
    pub(super) fn is_map_in_use(&self, model: &Model, minor: u32) -> bool {
        let device = format!("dm-{minor}");
        model.is_mounted(&device) || model.is_held(&device)
    }

    /// The name that the disk had before, or the first that is free.
    fn name_for(&self, model: &Model, wwid: &str) -> String {
        const BINDINGS: &str = "etc/multipath/bindings";
        let text = self.files.text(BINDINGS).unwrap_or_default();
        let bindings: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(' ')).collect();
        if let Some((name, _)) = bindings.iter().find(|(_, known)| *known == wwid) {
            return (*name).to_owned();
        }
        let is_free = |name: &String| {
            model.map_named(name).is_none() && !bindings.iter().any(|(known, _)| known == name)
        };
        let name = ('a'..='z').map(|letter| format!("mpath{letter}")).find(is_free).expect("a free name");
        self.files.put(BINDINGS, &format!("{text}{name} {wwid}\n"), 0o600);
        name
    }
}
