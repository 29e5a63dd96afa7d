//! udev's information about devices: its database, its queue, and the links that it makes.

use std::path::{Path, PathBuf};

use crate::backend::host::{
    bounded::{self, SMALL},
    layout::Layout,
};

/// udev's files. Every method blocks.
#[derive(Clone, Debug)]
pub(crate) struct Udev {
    run: PathBuf,
    dev: PathBuf,
}

/// udev's information about a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Its rules ran, and the links are there.
    pub(crate) is_done: bool,
    /// It identified the disk as a path of a multipath map: nothing else should use it.
    pub(crate) is_claimed: bool,
}

impl Udev {
    pub(crate) fn new(layout: &Layout) -> Self {
        Self { run: layout.run.clone(), dev: layout.dev.clone() }
    }

    /// The information about a block device by its number (`8:0`); empty for one that udev has not
    /// processed.
    pub(crate) fn seen(&self, number: &str) -> Seen {
        let file = self.run.join("udev/data").join(format!("b{number}"));
        let Ok(text) = bounded::text(&file, SMALL) else { return Seen::default() };
        let is_claimed = text.lines().any(|line| line == "E:DM_MULTIPATH_DEVICE_PATH=1");
        Seen { is_done: true, is_claimed }
    }

    /// Whether its rules have run for this disk. What it has of a disk that had the number before, and that it has yet to
    /// remove, does not count: `sequence` is the kernel's number for the disk, which no other disk ever has, if it
    /// has one (Linux 5.15). An older udev has no link by it, and so does not say which disk it has seen.
    pub(crate) fn has_seen(&self, number: &str, sequence: Option<&str>) -> bool {
        let file = self.run.join("udev/data").join(format!("b{number}"));
        let Some(sequence) = sequence else { return file.exists() };
        let Ok(text) = bounded::text(&file, SMALL) else { return false };
        let mut seen = text.lines().filter_map(|line| line.strip_prefix("S:disk/by-diskseq/"));
        seen.next().is_none_or(|seen| seen == sequence)
    }

    /// Whether it has events to process.
    pub(crate) fn is_busy(&self) -> bool {
        self.run.join("udev/queue").exists()
    }

    /// Whether the map can be used by its name. A link that still leads to a map that had the name before does not count.
    pub(crate) fn has_map_link(&self, map: &str, device: &str) -> bool {
        let path = self.dev.join("mapper").join(map);
        // Without udev there is a device of that name instead of a link.
        let leads =
            std::fs::read_link(&path).map_or(true, |link| link.file_name().is_some_and(|n| n == device));
        leads && path.exists()
    }

    /// The links in `/dev/disk` (by-id, by-path, by-diskseq, …) and `/dev/mapper` that lead to one
    /// of these devices or their partitions.
    pub(crate) fn links_to(&self, devices: &[&str]) -> Vec<PathBuf> {
        let folders = std::fs::read_dir(self.dev.join("disk")).into_iter().flatten().flatten();
        let folders = folders.map(|folder| folder.path()).chain([self.dev.join("mapper")]);
        folders.flat_map(|folder| links(&folder, devices)).collect()
    }
}

fn links(folder: &Path, devices: &[&str]) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let leads = |path: &PathBuf| {
        let Ok(target) = std::fs::read_link(path) else { return false };
        let target = target.file_name().and_then(|name| name.to_str());
        target.is_some_and(|target| devices.iter().any(|device| is_part_of(target, device)))
    };
    entries.flatten().map(|entry| entry.path()).filter(leads).collect()
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
    use crate::backend::host::atomic::Dir;

    #[test]
    fn a_partition_is_of_its_disk() {
        assert!(is_part_of("sda", "sda") && is_part_of("sda12", "sda"));
        assert!(!is_part_of("sdab", "sda") && !is_part_of("dm-10", "dm-1") && !is_part_of("sdb", "sda"));
    }

    #[test]
    fn a_disk_is_seen_with_what_udev_wrote_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::open(folder.path()).unwrap();
        let udev = Udev::new(&Layout::below(folder.path()));
        assert_eq!(udev.seen("8:0"), Seen::default());
        dir.make_dirs("run/udev/data").unwrap();
        dir.replace("run/udev/data/b8:0", b"I:1\nE:ID_MODEL=\xff\n", 0o644).unwrap();
        assert_eq!(udev.seen("8:0"), Seen { is_done: true, is_claimed: false });
        assert!(udev.has_seen("8:0", None) && !udev.has_seen("8:16", None));
        assert!(
            udev.has_seen("8:0", Some("7")) && !udev.has_seen("8:16", Some("7")),
            "it does not say which"
        );
        dir.replace("run/udev/data/b8:0", b"E:DM_MULTIPATH_DEVICE_PATH=1\n", 0o644).unwrap();
        assert!(udev.seen("8:0").is_claimed && !udev.is_busy());
        dir.replace("run/udev/queue", b"", 0o644).unwrap();
        assert!(udev.is_busy());
    }

    #[test]
    fn links_are_found_by_where_they_lead() {
        let folder = tempfile::tempdir().unwrap();
        let by_id = folder.path().join("dev/disk/by-id");
        std::fs::create_dir_all(&by_id).unwrap();
        std::os::unix::fs::symlink("../../sda1", by_id.join("wwn-0x1-part1")).unwrap();
        let udev = Udev::new(&Layout::below(folder.path()));
        assert_eq!(udev.links_to(&["sda"]), [by_id.join("wwn-0x1-part1")]);
        assert!(udev.links_to(&["sdb", "sd"]).is_empty() && !udev.has_map_link("mpatha", "dm-0"));
        let mapper = folder.path().join("dev/mapper");
        std::fs::create_dir_all(&mapper).unwrap();
        std::os::unix::fs::symlink("../dm-0", mapper.join("mpatha")).unwrap();
        std::fs::create_dir(folder.path().join("dev/dm-0")).unwrap();
        assert!(udev.has_map_link("mpatha", "dm-0") && !udev.has_map_link("mpatha", "dm-1"));
    }
}
