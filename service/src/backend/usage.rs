//! What uses a disk or map: found before a logout takes it away.
//! It may not change anything, nor take "I could not look" for "nobody uses it".

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
};

use super::sysfs::Sysfs;

/// Stacked devices deeper than this are a loop.
const DEPTH: usize = 16;

/// Looks at the kernel's own tables.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    sysfs: Sysfs,
    proc: PathBuf,
    dev: PathBuf,
}

impl Usage {
    pub(crate) fn new(sysfs: &Sysfs, proc: &Path, dev: &Path) -> Self {
        Self { sysfs: sysfs.clone(), proc: proc.to_owned(), dev: dev.to_owned() }
    }

    /// Everything that holds the device, its partitions and what is stacked on them, each in words
    /// ("sda1 is mounted on /mnt"); empty if nothing does. `device` is a disk or a multipath map. Blocks.
    pub(crate) fn of(&self, device: &str) -> Vec<String> {
        let mut found = BTreeSet::new();
        let mounts = mounts(&self.proc);
        let swaps = std::fs::read_to_string(self.proc.join("swaps")).unwrap_or_default();
        self.walk(device, &mounts, &swaps, DEPTH, &mut found);
        if found.is_empty() {
            // Only the kernel knows of every claim: other mount namespaces, ZFS, btrfs, LIO.
            for part in self.parts(device) {
                self.claimed(&part, &mut found);
            }
            self.claimed(device, &mut found);
        }
        found.into_iter().collect()
    }

    /// The device's partitions; a map's are maps of their own, among its holders.
    fn parts(&self, device: &str) -> Vec<String> {
        let holders = self.sysfs.holders(device).into_iter();
        let part_maps = holders.filter(|holder| self.is_part_map(holder));
        self.sysfs.partitions(device).into_iter().chain(part_maps).collect()
    }

    fn is_part_map(&self, device: &str) -> bool {
        self.sysfs.dm(device).is_some_and(|(_, uuid)| uuid.starts_with("part"))
    }

    fn walk(
        &self,
        device: &str,
        mounts: &[(String, String)],
        swaps: &str,
        depth: usize,
        found: &mut BTreeSet<String>,
    ) {
        let Some(number) = self.sysfs.number(device) else { return };
        for (_, place) in mounts.iter().filter(|(n, _)| *n == number) {
            found.insert(format!("{device} is mounted on {place}"));
        }
        let swap_name = self.sysfs.dm(device).map_or_else(|| device.to_owned(), |(name, _)| name);
        if swaps.lines().any(|line| {
            let path = line.split_whitespace().next().unwrap_or_default();
            path.rsplit('/').next().is_some_and(|name| name == device || name == swap_name)
        }) {
            found.insert(format!("{device} is used as swap space"));
        }
        if depth == 0 {
            found.insert(format!("{device} has too many devices stacked on it"));
            return;
        }
        for partition in self.sysfs.partitions(device) {
            self.walk(&partition, mounts, swaps, depth - 1, found);
        }
        for holder in self.sysfs.holders(device) {
            if !self.is_part_map(&holder) {
                found.insert(format!("{device} {}", self.describe(&holder)));
            }
            self.walk(&holder, mounts, swaps, depth - 1, found);
        }
    }

    fn describe(&self, holder: &str) -> String {
        match self.sysfs.dm(holder) {
            Some((name, uuid)) if uuid.starts_with("LVM-") => format!("is part of the logical volume {name}"),
            Some((name, uuid)) if uuid.starts_with("CRYPT-") => {
                format!("is open as the encrypted device {name}")
            }
            Some((name, uuid)) if uuid.starts_with("mpath-") => {
                format!("is a path of the multipath map {name}")
            }
            Some((name, _)) => format!("is held by the device-mapper device {name}"),
            None if holder.starts_with("md") => format!("is a member of the RAID array {holder}"),
            None => format!("is held by {holder}"),
        }
    }

    /// Asks the kernel for an exclusive claim and gives it back at once. Read-only, so that udev does
    /// not take the closing for a change.
    fn claimed(&self, device: &str, found: &mut BTreeSet<String>) {
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK | OFlags::CLOEXEC;
        match rustix::fs::openat(CWD, self.dev.join(device), flags, Mode::empty()) {
            Err(Errno::BUSY) => {
                found.insert(format!(
                    "{device} is claimed by a file system, a volume manager or another program"
                ));
            }
            // A disk that is dead or gone cannot be claimed by anybody new.
            Ok(_) | Err(Errno::NXIO | Errno::NODEV | Errno::NOENT | Errno::IO | Errno::NOMEDIUM) => {}
            Err(error) => {
                found.insert(format!("{device} could not be examined ({error})"));
            }
        }
    }
}

/// `major:minor` and mount point of everything mounted. The kernel writes blanks as `\040`.
fn mounts(proc: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(proc.join("self/mountinfo")).unwrap_or_default();
    let fields = |line: &str| {
        let mut fields = line.split(' ');
        let number = fields.nth(2)?.to_owned();
        Some((number, fields.nth(1)?.to_owned()))
    };
    text.lines().filter_map(fields).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{atomic::Dir, sysfs};

    fn world() -> (tempfile::TempDir, Usage) {
        let folder = sysfs::tests::sample();
        std::fs::create_dir_all(folder.path().join("proc/self")).unwrap();
        let usage =
            Usage::new(&Sysfs::new(folder.path()), &folder.path().join("proc"), &folder.path().join("dev"));
        (folder, usage)
    }

    fn set(folder: &tempfile::TempDir, path: &str, name: &str, text: &str) {
        let path = folder.path().join(path);
        std::fs::create_dir_all(&path).unwrap();
        Dir::open(&path).unwrap().replace(name, text.as_bytes(), 0o644).unwrap();
    }

    #[test]
    fn a_free_disk_is_free() {
        assert!(world().1.of("sdb").is_empty());
    }

    #[test]
    fn a_mount_and_a_swap_are_named() {
        let (folder, usage) = world();
        set(&folder, "proc/self", "mountinfo", "36 35 8:16 / /mnt rw,noatime shared:1 - ext4 /dev/sdb rw\n");
        assert_eq!(usage.of("sdb"), ["sdb is mounted on /mnt"]);
        set(&folder, "proc", "swaps", "Filename Type Size Used Priority\n/dev/sdb partition 1 0 -2\n");
        assert_eq!(usage.of("sdb").len(), 2);
    }

    #[test]
    fn what_is_stacked_is_named_by_its_kind() {
        let (folder, usage) = world();
        set(&folder, "block/dm-1/dm", "name", "vg0-lv0");
        set(&folder, "block/dm-1/dm", "uuid", "LVM-abc");
        std::os::unix::fs::symlink(folder.path().join("block/dm-1"), folder.path().join("class/block/dm-1"))
            .unwrap();
        std::fs::create_dir_all(folder.path().join("class/block/sdb/holders/dm-1")).unwrap();
        assert_eq!(usage.of("sdb"), ["sdb is part of the logical volume vg0-lv0"]);
    }
}
