//! The kernel's tables of what is on block devices: mounts of all mount namespaces, swap, loop
//! files, btrfs.
//! Must not open a device or follow a path that it read.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::holder::{Process, processes};
use crate::backend::kernel::sysfs::Sysfs;

/// No list of mounts is longer than the kernel's own limit (fs.mount-max).
const NAMESPACES: usize = 4096;

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mount {
    /// `major:minor`; for btrfs and overlays it is not that of a device.
    pub(super) number: String,
    pub(super) place: String,
    /// `/dev/dm-0`, or another source that was mounted.
    pub(super) source: String,
    /// One of the processes that see it, if the machine's first process does not.
    pub(super) seen_by: Option<Process>,
}

/// All tables, as they were at one moment.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) mounts: Vec<Mount>,
    /// The paths of swap devices and files.
    pub(super) swaps: Vec<String>,
    /// Loop devices, each with its file.
    pub(super) loops: Vec<(String, String)>,
    /// Kernel names of devices, each with the UUID of the mounted btrfs that it is a member of.
    pub(super) btrfs: Vec<(String, String)>,
}

impl Tables {
    pub(super) fn read(sysfs: &Sysfs, proc: &Path) -> Self {
        let swaps = lossy(&proc.join("swaps")).unwrap_or_default();
        let path = |line: &str| line.split_whitespace().next().map(plain);
        Self {
            mounts: mounts(proc),
            swaps: swaps.lines().skip(1).filter_map(path).collect(),
            loops: sysfs.loops(),
            btrfs: sysfs.btrfs_members(),
        }
    }

    /// The mount of a file in the machine's first namespace: the one whose mount point is the
    /// longest prefix of its path.
    pub(super) fn mount_of(&self, file: &str) -> Option<&Mount> {
        let holds = |mount: &&Mount| mount.seen_by.is_none() && Path::new(file).starts_with(&mount.place);
        self.mounts.iter().filter(holds).max_by_key(|mount| mount.place.len())
    }
}

/// All mounts, in any namespace. A mount in the first namespace is attributed to that one.
fn mounts(proc: &Path) -> Vec<Mount> {
    let mut found = BTreeMap::new();
    let mut seen = BTreeSet::new();
    let mut take = |text: &str, seen_by: Option<Process>| {
        for mount in text.lines().filter_map(|line| mount(line, seen_by.as_ref())) {
            found.entry((mount.number.clone(), mount.place.clone())).or_insert(mount);
        }
    };
    let read = |pid: &str| lossy(&proc.join(pid).join("mountinfo"));
    // Our own namespace is a copy of the first, and is used where that cannot be read.
    let first = read("1").or_else(|_| read("self")).unwrap_or_default();
    seen.insert(namespace(proc, "1"));
    take(&first, None);
    for process in processes(proc) {
        let pid = process.pid.to_string();
        let namespace = namespace(proc, &pid);
        if seen.len() >= NAMESPACES || namespace.is_none() || !seen.insert(namespace) {
            continue;
        }
        if let Ok(text) = read(&pid) {
            take(&text, Some(process));
        }
    }
    found.into_values().collect()
}

/// The kernel escapes blanks, but not bytes that are not UTF-8: one such mount point must not hide
/// all others.
fn lossy(path: &Path) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

fn namespace(proc: &Path, pid: &str) -> Option<std::path::PathBuf> {
    std::fs::read_link(proc.join(pid).join("ns/mnt")).ok()
}

/// A line of mountinfo (proc_pid_mountinfo(5)).
fn mount(line: &str, seen_by: Option<&Process>) -> Option<Mount> {
    let (head, tail) = line.split_once(" - ")?;
    let mut fields = head.split(' ');
    Some(Mount {
        number: fields.nth(2)?.to_owned(),
        place: plain(fields.nth(1)?),
        source: plain(tail.split(' ').nth(1)?),
        seen_by: seen_by.cloned(),
    })
}

/// The kernel writes blanks, tabs, newlines and backslashes as `\040` and the like.
fn plain(field: &str) -> String {
    let mut rest = field;
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once('\\') {
        text.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (code, after.get(3..)) {
            (Some(code), Some(after)) => {
                text.push(char::from(code));
                rest = after;
            }
            _ => {
                text.push('\\');
                rest = after;
            }
        }
    }
    (text + rest).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_mountinfo_is_read() {
        let line = "36 35 253:0 / /mnt\\040two rw,noatime shared:1 - ext4 /dev/mapper/mpatha rw";
        let mount = mount(line, None).unwrap();
        assert_eq!(
            (mount.number.as_str(), mount.place.as_str(), mount.source.as_str()),
            ("253:0", "/mnt two", "/dev/mapper/mpatha")
        );
        assert_eq!(super::mount("nonsense", None), None);
        assert_eq!(plain("a\\134b\\x"), "a\\b\\x");
    }

    #[test]
    fn a_file_lies_on_the_innermost_mount() {
        let place = |place: &str| Mount {
            number: "8:0".into(),
            place: place.into(),
            source: "/dev/sda".into(),
            seen_by: None,
        };
        let tables = Tables { mounts: vec![place("/"), place("/mnt"), place("/mnt/a")], ..Tables::default() };
        let of = |file| tables.mount_of(file).map(|mount| mount.place.as_str());
        assert_eq!(
            (of("/mnt/a/b"), of("/mnt/ab"), of("/b"), of("b")),
            (Some("/mnt/a"), Some("/mnt"), Some("/"), None)
        );
    }
}
