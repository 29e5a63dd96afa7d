//! Finds the processes that have a device open or mapped, as a running QEMU or dd has.
//! Must not wait for a file system that another process serves, run without a limit, or take “not
//! seen” for “not open”.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::OsString,
    io::Read as _,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};

use super::holder::{Process, processes};

/// How long one look may take, and how many descriptors it may check.
const TIME: Duration = Duration::from_secs(10);
const COUNT: usize = 1 << 17;
/// No process's list of mappings is longer (fs.max_map_count, lines of 100 bytes each); otherwise
/// it was not read to its end.
const MAPS_LIMIT: u64 = 8 << 20;
/// File systems of these kinds may block a process that queries them.
const REMOTE: &[&str] = &[
    "nfs",
    "cifs",
    "smb3",
    "9p",
    "ceph",
    "afs",
    "fuse",
    "glusterfs",
    "lustre",
    "gfs2",
    "ocfs2",
    "beegfs",
    "virtiofs",
];

/// Devices by their numbers, with their kernel names.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) blocks: BTreeMap<(u32, u32), String>,
    /// SCSI generic and tape devices.
    pub(super) chars: BTreeMap<(u32, u32), String>,
}

/// The result of a look.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) open: BTreeSet<(String, Process)>,
    /// The number of processes that could not be inspected, for any reason.
    pub(super) unseen: usize,
}

/// One look.
struct Look<'a> {
    wanted: &'a Wanted,
    left: usize,
    last: Instant,
    /// The kind of file system of each mount, by mount namespace.
    mounts: HashMap<OsString, Rc<HashMap<u64, String>>>,
}

/// Inspects every process except `skip`.
pub(super) fn look(proc: &Path, wanted: &Wanted, skip: &[u32]) -> Seen {
    let mut seen = Seen::default();
    let mut look = Look { wanted, left: COUNT, last: Instant::now() + TIME, mounts: HashMap::new() };
    let mut processes = processes(proc);
    processes.retain(|process| !skip.contains(&process.pid));
    let mut closed = BTreeSet::new();
    // All descriptors before any mapping: few programs map a device.
    for is_mapped in [false, true] {
        for process in &processes {
            let folder = proc.join(process.pid.to_string());
            let names = if is_mapped { look.mapped(&folder) } else { look.open(&folder) };
            match names {
                Ok(names) => seen.open.extend(names.into_iter().map(|name| (name, process.clone()))),
                // A process that has ended in the meantime holds nothing.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
                Err(_) => {
                    closed.insert(process.pid);
                }
            }
        }
    }
    seen.unseen = closed.len();
    if seen.unseen > 0 {
        tracing::warn!(
            processes = seen.unseen,
            "cannot inspect these processes: what they have open is not known"
        );
    }
    seen
}

impl Look<'_> {
    /// Exceeding the limits is an error too: the result is unknown then.
    fn may_go_on(&mut self) -> std::io::Result<()> {
        self.left = self.left.saturating_sub(1);
        if self.left == 0 || Instant::now() >= self.last {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }

    fn open(&mut self, process: &Path) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(process.join("fd"))? {
            self.may_go_on()?;
            let Ok(entry) = entry else { continue };
            let Ok(path) = std::fs::read_link(entry.path()) else { continue };
            // Sockets and pipes have no path.
            if !path.is_absolute() || !self.may_ask(process, &entry.file_name(), &path) {
                continue;
            }
            // What the kernel knows already: a file system in user space is not queried (statx(2)).
            let Ok(file) = statx(CWD, entry.path(), AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE) else {
                continue;
            };
            let wanted = match FileType::from_raw_mode(file.stx_mode.into()) {
                FileType::BlockDevice => &self.wanted.blocks,
                FileType::CharacterDevice => &self.wanted.chars,
                _ => continue,
            };
            names.extend(wanted.get(&(file.stx_rdev_major, file.stx_rdev_minor)).cloned());
        }
        Ok(names)
    }

    /// Querying a file on a dead NFS server blocks. A path in `/dev` is not on one; for any other
    /// path the mount decides, because a container can have its devices anywhere.
    fn may_ask(&mut self, process: &Path, fd: &std::ffi::OsStr, path: &Path) -> bool {
        if path.starts_with("/dev") {
            return true;
        }
        let mut is_local = || {
            let info = std::fs::read_to_string(process.join("fdinfo").join(fd)).ok()?;
            let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()?;
            let mounts = self.mounts_of(process)?;
            let kind = mounts.get(&id)?;
            Some(!REMOTE.iter().any(|remote| kind.starts_with(remote)))
        };
        // A mount that no process sees: by the name, then.
        is_local().unwrap_or_else(|| {
            let name = path.file_name().unwrap_or_default();
            let names = self.wanted.blocks.values().chain(self.wanted.chars.values());
            names.into_iter().any(|known| name.as_bytes() == known.as_bytes())
        })
    }

    fn mounts_of(&mut self, process: &Path) -> Option<Rc<HashMap<u64, String>>> {
        let namespace = std::fs::read_link(process.join("ns/mnt")).map(PathBuf::into_os_string).ok()?;
        if let Some(known) = self.mounts.get(&namespace) {
            return Some(Rc::clone(known));
        }
        let text = std::fs::read(process.join("mountinfo")).ok()?;
        let kind = |line: &str| {
            let (head, tail) = line.split_once(" - ")?;
            Some((head.split(' ').next()?.parse().ok()?, tail.split(' ').next()?.to_owned()))
        };
        let mounts: Rc<HashMap<u64, String>> =
            Rc::new(String::from_utf8_lossy(&text).lines().filter_map(kind).collect());
        self.mounts.insert(namespace, Rc::clone(&mounts));
        Some(mounts)
    }

    /// A mapping outlives the descriptor that it was made from.
    fn mapped(&mut self, process: &Path) -> std::io::Result<Vec<String>> {
        self.may_go_on()?;
        let mut text = Vec::new();
        std::fs::File::open(process.join("maps"))?.take(MAPS_LIMIT).read_to_end(&mut text)?;
        if text.len() as u64 >= MAPS_LIMIT {
            return Err(std::io::ErrorKind::TimedOut.into());
        }
        let text = String::from_utf8_lossy(&text);
        let path = |line: &str| line.find(" /dev/").and_then(|at| line.get(at + 6..).map(str::to_owned));
        let mut names: Vec<String> = text.lines().filter_map(path).collect();
        names.retain(|name| self.wanted.blocks.values().any(|known| known == name));
        names.dedup();
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_device_open_or_mapped_is_found_by_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let put = |pid: &str, name: &str, text: &str| {
            let place = folder.path().join(pid);
            std::fs::create_dir_all(&place).unwrap();
            crate::backend::host::atomic::Dir::open(&place)
                .unwrap()
                .replace(name, text.as_bytes(), 0o444)
                .unwrap();
        };
        let of = |pid: &str, name: &str, target: &str| {
            let place = folder.path().join(pid).join("fd");
            std::fs::create_dir_all(&place).unwrap();
            std::os::unix::fs::symlink(target, place.join(name)).unwrap();
            put(pid, "maps", "");
        };
        of("7", "3", "/dev/null");
        of("8", "4", "/etc/passwd");
        of("9", "5", "socket:[1]");
        put(
            "9",
            "maps",
            "7f0-7f1 rw-s 00000000 00:05 300 /dev/sdb\n7f1-7f2 r--p 00000000 fd:00 1 /usr/lib/libc.so\n",
        );
        put("7", "comm", "cat\n");
        put("9", "comm", "qe\u{1b}mu\n");
        put("11", "comm", "closed\n"); // neither folder can be opened, because it is none
        put("11", "fd", "");
        put("11", "maps", "");
        let blocks = BTreeMap::from([((1, 3), "sda".to_owned()), ((8, 16), "sdb".to_owned())]);
        // /dev/null is not a block device.
        let seen = look(folder.path(), &Wanted { blocks: blocks.clone(), chars: BTreeMap::new() }, &[]);
        let names = |seen: &Seen| {
            seen.open.iter().map(|(name, process)| format!("{name} {process}")).collect::<Vec<_>>()
        };
        assert_eq!((names(&seen), seen.unseen), (vec!["sdb qe mu (pid 9)".to_owned()], 1));
        let chars = BTreeMap::from([((1, 3), "sg0".to_owned())]);
        let seen = look(folder.path(), &Wanted { blocks, chars }, &[9, 11]);
        assert_eq!((names(&seen), seen.unseen), (vec!["sg0 cat (pid 7)".to_owned()], 0));
    }

    #[test]
    fn a_device_is_asked_for_wherever_it_lies_but_not_beyond_the_machine() {
        let folder = tempfile::tempdir().unwrap();
        let process = folder.path().join("5");
        for part in ["fdinfo", "ns"] {
            std::fs::create_dir_all(process.join(part)).unwrap();
        }
        std::os::unix::fs::symlink("mnt:[1]", process.join("ns/mnt")).unwrap();
        let dir = crate::backend::host::atomic::Dir::open(&process).unwrap();
        let mounts = "21 1 0:5 / / rw - tmpfs tmpfs rw\n22 1 0:6 / /net rw - nfs4 server:/x rw\n";
        dir.replace("mountinfo", mounts.as_bytes(), 0o444).unwrap();
        for (fd, id) in [("3", 21), ("4", 22), ("5", 99)] {
            dir.replace(&format!("fdinfo/{fd}"), format!("pos:\t0\nmnt_id:\t{id}\n").as_bytes(), 0o444)
                .unwrap();
        }
        let wanted = Wanted { blocks: BTreeMap::from([((8, 0), "sda".to_owned())]), chars: BTreeMap::new() };
        let mut look = Look { wanted: &wanted, left: 9, last: Instant::now() + TIME, mounts: HashMap::new() };
        let mut may = |fd: &str, path: &str| look.may_ask(&process, fd.as_ref(), Path::new(path));
        assert!(may("3", "/xvda"), "a container's own name for it");
        assert!(!may("4", "/xvda"), "on a file server");
        assert!(!may("5", "/xvda") && may("5", "/sda") && may("4", "/dev/sda"));
    }
}
