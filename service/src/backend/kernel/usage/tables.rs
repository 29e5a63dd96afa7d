//! The kernel's tables of what is on block devices: mounts of all mount namespaces, swap, loop
//! files, btrfs.
//! Must not open a device or follow a path that it read.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{ErrorKind, Result},
    path::Path,
    time::{Duration, Instant},
};

use super::holder::Process;
use crate::backend::{
    host::bounded::{self, SMALL},
    kernel::sysfs::Sysfs,
};

/// How many mount namespaces are looked at beside the machine's first.
const NAMESPACES: usize = 4096;
/// How much of the first one's list of mounts is read: the kernel allows 100000 (fs.mount-max).
const FIRST: u64 = 256 << 20;
/// How much of another's. Any user can make namespaces, with as many mounts.
const ANOTHER: u64 = 16 << 20;
/// How long all others may take. What is mounted there alone is named if it is found; the kernel's
/// claim on the device shows it in any case.
const OTHERS: Duration = Duration::from_secs(3);
/// How many mounts of one device in other namespaces are kept.
const MOST: usize = 64;
/// File systems that any user may mount, under the name of any device (`FS_USERNS_MOUNT`).
const ANYONES: &[&str] = &[
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "devpts",
    "fuse",
    "mqueue",
    "overlay",
    "proc",
    "ramfs",
    "sysfs",
    "tmpfs",
];

/// The devices whose mounts are looked for, by their numbers.
pub(super) type Numbers = BTreeSet<String>;

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

/// Whose mounts are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Namespaces<'a> {
    /// Those of the machine's first process.
    First,
    /// Those of these processes as well.
    Of(&'a [u32]),
}

/// All tables, as they were at one moment.
#[derive(Debug, Default)]
pub(super) struct Tables {
    /// Of the devices that were asked for, and of file systems without a number of their device.
    pub(super) mounts: Vec<Mount>,
    /// The paths of swap devices and files.
    pub(super) swaps: Vec<String>,
    /// Loop devices, each with its file.
    pub(super) loops: Vec<(String, String)>,
    /// Kernel names of devices, each with the UUID of the mounted btrfs that it is a member of.
    pub(super) btrfs: Vec<(String, String)>,
    /// The mount in the machine's first namespace that each file of `swaps` and `loops` is on: the
    /// one whose mount point is the longest prefix of its path.
    homes: BTreeMap<String, Mount>,
    /// Whether the first namespace was read to its end, and has a root.
    pub(super) is_whole: bool,
}

impl Tables {
    /// Reads them, with the mounts of these devices only.
    pub(super) fn read(sysfs: &Sysfs, proc: &Path, numbers: &Numbers, namespaces: Namespaces<'_>) -> Self {
        // Only root makes swap space; a list that is too long is none.
        let swaps = bounded::text(&proc.join("swaps"), SMALL).unwrap_or_default();
        let path = |line: &str| line.split_whitespace().next().map(plain);
        let mut tables = Self {
            swaps: swaps.lines().skip(1).filter_map(path).collect(),
            loops: sysfs.loops(),
            btrfs: sysfs.btrfs_members(),
            ..Self::default()
        };
        tables.read_mounts(proc, numbers, namespaces);
        tables
    }

    /// The mount of a swap or loop file in the machine's first namespace.
    pub(super) fn mount_of(&self, file: &str) -> Option<&Mount> {
        self.homes.get(file)
    }

    /// A mount in the first namespace is attributed to that one, wherever else it is.
    fn read_mounts(&mut self, proc: &Path, numbers: &Numbers, namespaces: Namespaces<'_>) {
        let mut found = BTreeMap::new();
        let mut has_root = false;
        let mut first = |pid: &str| {
            bounded::lines(&proc.join(pid).join("mountinfo"), FIRST, |line| {
                let Some(mount) = mount(line, None) else { return Ok(()) };
                has_root |= mount.place == "/";
                self.house(&mount);
                if is_wanted(&mount, line, numbers) {
                    found.insert((mount.number.clone(), mount.place.clone()), mount);
                }
                Ok(())
            })
        };
        // Our own namespace is a copy of the first, and is used where that cannot be read.
        let read = match first("1") {
            Err(error) if error.kind() != ErrorKind::FileTooLarge => first("self"),
            read => read,
        };
        self.is_whole = has_root && read.is_ok();
        let mut seen = BTreeSet::from([namespace(proc, "1")]);
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let until = Instant::now() + OTHERS;
        let others = match namespaces {
            Namespaces::First => &[],
            Namespaces::Of(programs) => programs,
        };
        for &number in others {
            let pid = number.to_string();
            let namespace = namespace(proc, &pid);
            if namespace.is_none() || seen.contains(&namespace) {
                continue;
            }
            if seen.len() > NAMESPACES || Instant::now() >= until {
                tracing::warn!("there are more mount namespaces than are looked at");
                break;
            }
            let Some(process) = Process::of(proc, number) else { continue };
            let mut keep = |line: &str| -> Result<()> {
                if Instant::now() >= until {
                    return Err(ErrorKind::TimedOut.into());
                }
                let Some(mount) = mount(line, Some(&process)) else { return Ok(()) };
                let count = counts.entry(mount.number.clone());
                if !is_wanted(&mount, line, numbers) {
                    return Ok(());
                }
                let count = count.or_default();
                let key = (mount.number.clone(), mount.place.clone());
                if *count < MOST && !found.contains_key(&key) {
                    *count += 1;
                    found.insert(key, mount);
                }
                Ok(())
            };
            match bounded::lines(&proc.join(&pid).join("mountinfo"), ANOTHER, &mut keep) {
                Ok(()) => {}
                Err(error) if matches!(error.kind(), ErrorKind::FileTooLarge | ErrorKind::TimedOut) => {
                    tracing::warn!(pid, "has more mounts than are looked at");
                }
                // It has ended meanwhile: another process may show the namespace.
                Err(_) => continue,
            }
            seen.insert(namespace);
        }
        self.mounts = found.into_values().collect();
    }

    /// Notes which files are on a mount.
    fn house(&mut self, mount: &Mount) {
        for file in self.swaps.iter().chain(self.loops.iter().map(|(_, file)| file)) {
            let is_inner = |known: &Mount| known.place.len() <= mount.place.len();
            if Path::new(file).starts_with(&mount.place) && self.homes.get(file).is_none_or(is_inner) {
                self.homes.insert(file.clone(), mount.clone());
            }
        }
    }
}

/// Whether a mount is of one of the devices, or has no number of its device, as btrfs has none.
/// What any user may mount under a name of their choice is neither.
fn is_wanted(mount: &Mount, line: &str, numbers: &Numbers) -> bool {
    let kind = || line.split_once(" - ").and_then(|(_, tail)| tail.split(' ').next()).unwrap_or_default();
    let is_anyones = || ANYONES.iter().any(|anyones| kind().split('.').next() == Some(anyones));
    numbers.contains(&mount.number)
        || (mount.number.starts_with("0:") && mount.source.starts_with("/dev/") && !is_anyones())
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
    text + rest
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
        assert_eq!(plain("/a\\012b"), "/a\nb", "a command needs it as it is");
    }

    #[test]
    fn a_file_lies_on_the_innermost_mount() {
        let place = |place: &str| Mount {
            number: "8:0".into(),
            place: place.into(),
            source: "/dev/sda".into(),
            seen_by: None,
        };
        let swaps = ["/mnt/a/b", "/mnt/ab", "/b", "b"].map(str::to_owned).to_vec();
        let mut tables = Tables { swaps, ..Tables::default() };
        for mount in ["/mnt/a", "/", "/mnt"] {
            tables.house(&place(mount));
        }
        let of = |file| tables.mount_of(file).map(|mount| mount.place.as_str());
        assert_eq!(
            (of("/mnt/a/b"), of("/mnt/ab"), of("/b"), of("b")),
            (Some("/mnt/a"), Some("/mnt"), Some("/"), None)
        );
    }
}
