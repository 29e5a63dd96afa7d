//! Describes what holds a device: what it is, and how to find it.

use std::{fmt, path::Path};

use rustix::io::Errno;

use crate::backend::{
    host::bounded::{self, SMALL},
    kernel::guests,
};

/// Something that holds a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Use {
    /// The kernel's name of it: `sda1`, `dm-0`.
    pub(crate) device: String,
    pub(crate) holder: Holder,
}

/// What holds it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Holder {
    /// A mounted file system; `seen_by` is set if the machine's first process does not see it.
    Mount {
        place: String,
        seen_by: Option<Process>,
    },
    /// The device itself, or a file on its file system.
    Swap {
        file: Option<String>,
    },
    /// A file on its file system, or the device itself, is shown as a device.
    Loop {
        name: String,
        file: String,
        /// Whether the kernel detaches it when it is closed.
        clears_itself: bool,
    },
    /// A member of a btrfs, mounted on these places.
    Btrfs {
        uuid: String,
        places: Vec<String>,
    },
    /// An LVM logical volume.
    Volume {
        group: String,
        volume: String,
    },
    Crypt {
        name: String,
    },
    /// A multipath map.
    Map {
        name: String,
    },
    Raid {
        name: String,
    },
    Bcache {
        name: String,
    },
    /// Another device-mapper device.
    Mapper {
        name: String,
    },
    Other {
        name: String,
    },
    /// A process has it open or mapped.
    Open(Process),
    /// The process of a virtual machine that libvirt started has it open or mapped.
    Guest {
        domain: String,
        process: Process,
    },
    /// udev is probing it, which ends by itself.
    Udev(Process),
    /// The kernel does not report the owner of the claim.
    Claim,
    /// It could not be examined.
    Unknown(i32),
    /// These processes could not be inspected: one may have it open.
    Unseen(Vec<Unseen>),
    TooDeep,
}

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Its own name, made safe to show.
    pub(crate) name: String,
}

/// A process that could not be inspected, with its user if that is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unseen {
    pub(crate) process: Process,
    pub(crate) uid: Option<u32>,
}

/// How many processes that could not be inspected a message names.
const NAMED: usize = 4;

impl Holder {
    /// The kind of a device that is stacked on another, from device-mapper's information.
    pub(super) fn of(device: &str, dm: Option<(String, String)>) -> Self {
        let name = device.to_owned();
        match dm {
            Some((name, uuid)) if uuid.starts_with("LVM-") => {
                let (group, volume) = volume(&name);
                Self::Volume { group, volume }
            }
            Some((name, uuid)) if uuid.starts_with("CRYPT-") => Self::Crypt { name },
            Some((name, uuid)) if uuid.starts_with("mpath-") => Self::Map { name },
            Some((name, _)) => Self::Mapper { name },
            None if device.starts_with("md") => Self::Raid { name },
            None if device.starts_with("bcache") => Self::Bcache { name },
            None => Self::Other { name },
        }
    }
}

/// LVM joins both names with a hyphen, and doubles hyphens within a name (lvm(8)).
fn volume(name: &str) -> (String, String) {
    let marked = name.replace("--", "\0");
    let (group, volume) = marked.split_once('-').unwrap_or(("", &marked));
    (group.replace('\0', "-"), volume.replace('\0', "-"))
}

impl fmt::Display for Use {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.device, self.holder)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount { place, seen_by: None } => write!(f, "is mounted on {}", shown(place)),
            Self::Mount { place, seen_by: Some(process) } => {
                let place = shown(place);
                write!(f, "is mounted on {place} in the mount namespace of {process}")
            }
            Self::Swap { file: None } => write!(f, "is used as swap space"),
            Self::Swap { file: Some(file) } => write!(f, "holds the swap file {}", shown(file)),
            Self::Loop { name, file, .. } => {
                write!(f, "holds {}, which is the loop device {name}", shown(file))
            }
            Self::Btrfs { uuid, .. } => write!(f, "is part of the mounted btrfs {uuid}"),
            Self::Volume { group, volume } => {
                write!(f, "is part of the logical volume {volume} of the volume group {group}")
            }
            Self::Crypt { name } => write!(f, "is open as the encrypted device {name}"),
            Self::Map { name } => write!(f, "is a path of the multipath map {name}"),
            Self::Raid { name } => write!(f, "is a member of the RAID array {name}"),
            Self::Bcache { name } => write!(f, "is part of the cached device {name}"),
            Self::Mapper { name } => write!(f, "is held by the device-mapper device {name}"),
            Self::Other { name } => write!(f, "is held by {name}"),
            Self::Open(process) => write!(f, "is held open by {process}"),
            Self::Guest { domain, process } => write!(f, "is held open by {}", guest(domain, process)),
            Self::Udev(process) => write!(f, "is being probed by udev's {process}"),
            Self::Claim => write!(f, "is claimed by a file system, a volume manager or another program"),
            Self::Unknown(error) => {
                write!(f, "could not be examined ({})", Errno::from_raw_os_error(*error))
            }
            Self::Unseen(processes) => {
                let named: Vec<String> = processes.iter().take(NAMED).map(ToString::to_string).collect();
                write!(f, "may be held open by {}", named.join(" or "))?;
                match processes.len().saturating_sub(NAMED) {
                    0 => write!(f, ", which could not be inspected"),
                    more => write!(f, " or {more} more processes, which could not be inspected"),
                }
            }
            Self::TooDeep => write!(f, "has too many devices stacked on it"),
        }
    }
}

/// A virtual machine and its process: `the virtual machine web (qemu-system-x86, pid 4711)`.
pub(crate) fn guest(domain: &str, Process { pid, name }: &Process) -> String {
    format!("the virtual machine {domain} ({name}, pid {pid})")
}

/// A path without characters that would break the line of a message.
fn shown(path: &str) -> String {
    path.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Process { pid, name } = &self.process;
        match self.uid {
            Some(uid) => write!(f, "{name} (pid {pid}, uid {uid})"),
            None => write!(f, "{name} (pid {pid})"),
        }
    }
}

impl Holder {
    /// A process that was seen with a device open. `None` if it has ended since, and holds nothing any more: a look
    /// at all processes takes longer than many a probe of udev's.
    pub(super) fn of_process(proc: &Path, process: Process) -> Option<Self> {
        let folder = proc.join(process.pid.to_string());
        match bounded::text(&folder.join("cgroup"), SMALL) {
            Ok(text) if is_udevs(&text) => Some(Self::Udev(process)),
            Err(_) if !folder.exists() => None,
            _ => Some(match guests::domain(proc, process.pid) {
                Some(domain) => Self::Guest { domain, process },
                None => Self::Open(process),
            }),
        }
    }
}

/// Whether a process is one of udev's, by its cgroup, which only systemd can set, unlike the name.
fn is_udevs(cgroup: &str) -> bool {
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::/system.slice/systemd-udevd.service"));
    path.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Process {
    /// With its name; `None` if it has ended.
    pub(super) fn of(proc: &Path, pid: u32) -> Option<Self> {
        let name = bounded::text(&proc.join(pid.to_string()).join("comm"), SMALL).ok()?;
        Some(Self::named(pid, &name))
    }

    /// Every process can choose its own name.
    pub(super) fn named(pid: u32, name: &str) -> Self {
        let name = name.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(32).collect();
        Self { pid, name }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_has_ended_since_it_was_seen_holds_nothing() {
        let proc = tempfile::tempdir().unwrap();
        let process = |pid| Process { pid, name: "multipath".to_owned() };
        let put = |pid: u32, text: &str| {
            let folder = proc.path().join(pid.to_string());
            std::fs::create_dir(&folder).unwrap();
            let dir = crate::backend::host::atomic::Dir::open(&folder).unwrap();
            dir.replace("cgroup", text.as_bytes(), 0o444).unwrap();
        };
        put(7, "0::/system.slice/systemd-udevd.service/udev\n");
        put(8, "0::/user.slice\n");
        put(11, "0::/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/emulator\n");
        let words = b"qemu-system-x86_64\0-name\0guest=web,debug-threads=on\0";
        let dir = crate::backend::host::atomic::Dir::open(&proc.path().join("11")).unwrap();
        dir.replace("cmdline", words, 0o444).unwrap();
        // What cannot be read of one that is there is no proof that it is udev's.
        std::fs::create_dir(proc.path().join("9")).unwrap();
        let holders = [7, 8, 9, 10, 11].map(|pid| Holder::of_process(proc.path(), process(pid)));
        assert_eq!(
            holders,
            [
                Some(Holder::Udev(process(7))),
                Some(Holder::Open(process(8))),
                Some(Holder::Open(process(9))),
                None,
                Some(Holder::Guest { domain: "web".to_owned(), process: process(11) })
            ]
        );
    }

    #[test]
    fn a_volume_is_told_with_its_group() {
        assert_eq!(volume("vg0-lv0"), ("vg0".into(), "lv0".into()));
        assert_eq!(volume("a--b-c--d"), ("a-b".into(), "c-d".into()));
        let dm = |name: &str, uuid: &str| Some((name.to_owned(), uuid.to_owned()));
        assert_eq!(
            Holder::of("dm-3", dm("vg0-lv0", "LVM-abc")).to_string(),
            "is part of the logical volume lv0 of the volume group vg0"
        );
        assert_eq!(Holder::of("md127", None), Holder::Raid { name: "md127".into() });
        assert_eq!(Holder::of("dm-3", dm("x", "CRYPT-LUKS2-x")), Holder::Crypt { name: "x".into() });
    }
}
