//! Finds the processes that have a device open or mapped, as a running QEMU or dd has.
//! Must not wait for a file system that another process serves, run without a limit, or take “not
//! seen” for “not open”.
//!
//! Who could open a device by itself is inspected first and with most of the time. A user who could
//! not has a share: what exceeds it is passed over, so that no user can keep others' disks in use
//! by having more open, or mapped, than can be looked at.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    ffi::{OsStr, OsString},
    io::{Error, ErrorKind},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, StatxFlags, openat, readlinkat, statx},
    io::Errno,
};

use super::{
    holder::{Process, Unseen},
    mapped::{Folder, Hanging},
    suspects::{Node, Suspect, goes_on, nodes, suspects},
};
use crate::backend::host::bounded::{self, SMALL};

/// How long a look may take at the processes that could open a device by themselves.
const TIME: Duration = Duration::from_secs(10);
/// How much longer at all others.
const OTHERS: Duration = Duration::from_secs(5);
/// How long at those of one such user: descriptors first, mappings then.
const SHARE: Duration = Duration::from_secs(1);
/// How many descriptors of one such user that have a path are looked at; fewer in tests, which have
/// to make them.
const COUNT: usize = if cfg!(test) { 1 << 10 } else { 1 << 17 };
/// No namespace's list of mounts is read further, and no more mounts of all are remembered.
const MOUNTS: u64 = 16 << 20;
const REMEMBERED: usize = 1 << 17;
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
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) blocks: BTreeMap<(u32, u32), String>,
    /// SCSI generic and tape devices.
    pub(super) chars: BTreeMap<(u32, u32), String>,
}

impl Wanted {
    /// Whether this is one of them.
    pub(super) fn has(&self, device: &str) -> bool {
        self.blocks.values().chain(self.chars.values()).any(|name| name == device)
    }

    pub(super) fn extend(&mut self, others: &Self) {
        self.blocks.extend(others.blocks.clone());
        self.chars.extend(others.chars.clone());
    }
}

/// Who may open the devices; `None` if that is not known of all.
pub(super) type Openers = Option<BTreeSet<Node>>;

/// `dev` has the devices' nodes.
pub(super) fn openers(dev: &Path, wanted: &Wanted) -> Openers {
    nodes(dev, wanted.blocks.values().chain(wanted.chars.values()))
}

/// The result of a look.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) open: BTreeSet<(String, Process)>,
    /// The processes that could not be inspected, but for those that are passed over.
    pub(super) unseen: Vec<Unseen>,
}

/// Whether each mount of a namespace is on a remote file system, by its number.
type Mounts = HashMap<u64, bool>;

/// One look.
struct Look<'a> {
    wanted: &'a Wanted,
    /// When it ends for those that could open a device, and for all others.
    until: [Instant; 2],
    share: Share,
    /// By mount namespace.
    mounts: HashMap<OsString, Rc<Mounts>>,
}

/// What is left for the processes of one user.
#[derive(Clone, Copy, Debug)]
struct Share {
    count: usize,
    until: Instant,
}

/// Why the devices of a process are not known.
#[derive(Debug)]
enum Unknown {
    /// Its user has used up the share.
    Share,
    Other(Error),
}

impl From<Errno> for Unknown {
    fn from(error: Errno) -> Self {
        Self::Other(error.into())
    }
}

/// Inspects these processes.
pub(super) fn look(
    proc: &Path,
    openers: &Openers,
    wanted: &Wanted,
    programs: &[u32],
    hanging: &Hanging,
) -> Seen {
    let suspects = suspects(proc, openers.as_ref(), programs);
    let until = Instant::now() + TIME;
    let share = Share { count: usize::MAX, until };
    let mut look = Look { wanted, until: [until, until + OTHERS], share, mounts: HashMap::new() };
    let mut seen = Seen::default();
    let mut closed: BTreeMap<u32, bool> = BTreeMap::new();
    let mut take = |suspect: &Suspect, names: Result<Vec<String>, Unknown>| match names {
        Ok(names) => seen.open.extend(names.into_iter().map(|name| (name, suspect.process.clone()))),
        Err(Unknown::Share) => drop(closed.entry(suspect.process.pid).or_insert(true)),
        // A process that has ended in the meantime holds nothing.
        Err(Unknown::Other(error)) if is_gone(&error) && !goes_on(proc, suspect) => {}
        Err(Unknown::Other(_)) => drop(closed.insert(suspect.process.pid, false)),
    };
    // All descriptors before any mapping: few programs map a device.
    for group in suspects.chunk_by(are_alike) {
        look.begin(group, COUNT);
        for suspect in group {
            take(suspect, look.open(&folder(proc, suspect)));
        }
    }
    let names: Arc<BTreeSet<String>> = Arc::new(wanted.blocks.values().cloned().collect());
    for group in suspects.chunk_by(are_alike) {
        look.begin(group, 0);
        let is_able = group.first().is_some_and(|suspect| suspect.is_able);
        let folders: Vec<Folder> = group
            .iter()
            .map(|suspect| Folder { pid: suspect.process.pid, path: folder(proc, suspect) })
            .collect();
        let found = hanging.read(&folders, is_able, &names, look.share.until);
        for (suspect, names) in group.iter().zip(found) {
            take(suspect, names.map_err(|error| look.unknown(error, is_able)));
        }
    }
    let of = |suspect: &&Suspect, is_over: bool| closed.get(&suspect.process.pid) == Some(&is_over);
    let unseen = suspects.iter().filter(|suspect| of(suspect, false));
    seen.unseen = unseen.map(|s| Unseen { process: s.process.clone(), uid: s.uid }).collect();
    for user in suspects
        .iter()
        .filter(|suspect| of(suspect, true))
        .collect::<Vec<_>>()
        .chunk_by(|a, b| a.uid == b.uid)
    {
        let first = user.first().map(|suspect| (suspect.uid, suspect.process.pid));
        tracing::warn!(
            uid = first.and_then(|(uid, _)| uid),
            pid = first.map(|(_, pid)| pid),
            processes = user.len(),
            "has more open than is looked at, and could not open the disks: passed over"
        );
    }
    if !seen.unseen.is_empty() {
        tracing::warn!(
            processes = seen.unseen.len(),
            "cannot inspect these processes: what they have open is not known"
        );
    }
    seen
}

/// Those that could open a device, or one user's others.
fn are_alike(a: &Suspect, b: &Suspect) -> bool {
    a.is_able == b.is_able && (a.is_able || a.uid == b.uid)
}

fn folder(proc: &Path, suspect: &Suspect) -> PathBuf {
    let folder = proc.join(suspect.process.pid.to_string());
    match suspect.thread {
        None => folder,
        Some(thread) => folder.join("task").join(thread.to_string()),
    }
}

fn is_gone(error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

impl Look<'_> {
    /// Sets the share of those that come next.
    fn begin(&mut self, group: &[Suspect], count: usize) {
        let [able, others] = self.until;
        self.share = match group.first() {
            Some(suspect) if !suspect.is_able => Share { count, until: others.min(Instant::now() + SHARE) },
            _ => Share { count: usize::MAX, until: able },
        };
    }

    /// Exceeding the limits is an error too: the result is unknown then.
    fn may_go_on(&self) -> Result<(), Unknown> {
        let now = Instant::now();
        if self.share.count > 0 && now < self.share.until {
            return Ok(());
        }
        let [able, others] = self.until;
        let is_share = self.share.count == 0 || (self.share.until != able && self.share.until < others);
        Err(if is_share { Unknown::Share } else { Unknown::Other(ErrorKind::TimedOut.into()) })
    }

    /// Why mappings were not read: a process that hangs, or takes too long, has used up the share of
    /// a user who could not open a device.
    fn unknown(&self, error: Error, is_able: bool) -> Unknown {
        let [_, others] = self.until;
        if error.kind() == ErrorKind::TimedOut && !is_able && self.share.until < others {
            return Unknown::Share;
        }
        Unknown::Other(error)
    }

    fn open(&mut self, process: &Path) -> Result<Vec<String>, Unknown> {
        let mut names = Vec::new();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let folder = openat(CWD, process.join("fd"), flags, Mode::empty())?;
        let (mut entries, mounts) = (Dir::new(folder)?, OnceCell::new());
        while let Some(entry) = entries.read() {
            self.may_go_on()?;
            let Ok(entry) = entry else { continue };
            let (folder, fd) = (entries.fd()?, entry.file_name());
            if matches!(fd.to_bytes(), b"." | b"..") {
                continue;
            }
            let Ok(path) = readlinkat(folder, fd, Vec::new()) else { continue };
            // Sockets, pipes and the like have no path, and nothing more is asked of them: to show
            // what is known of some, the kernel waits for their users.
            let path = Path::new(OsStr::from_bytes(path.as_bytes()));
            if !path.is_absolute() {
                continue;
            }
            self.share.count = self.share.count.saturating_sub(1);
            if !self.may_ask(process, OsStr::from_bytes(fd.to_bytes()), path, &mounts) {
                continue;
            }
            // What the kernel knows already: a file system in user space is not queried (statx(2)).
            let Ok(file) = statx(folder, fd, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE) else {
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
    /// path the mount decides, because a container can have its devices anywhere. `mounts` are those that the
    /// process sees, once they were looked up.
    fn may_ask(
        &mut self,
        process: &Path,
        fd: &OsStr,
        path: &Path,
        mounts: &OnceCell<Option<Rc<Mounts>>>,
    ) -> bool {
        if path.starts_with("/dev") {
            return true;
        }
        let mut is_local = || {
            let info = bounded::text(&process.join("fdinfo").join(fd), SMALL).ok()?;
            let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()?;
            let mounts = mounts.get_or_init(|| self.mounts_of(process)).as_ref()?;
            mounts.get(&id).map(|is_remote| !is_remote)
        };
        // A mount that no process sees: by the name, then.
        is_local().unwrap_or_else(|| {
            let name = path.file_name().unwrap_or_default();
            let names = self.wanted.blocks.values().chain(self.wanted.chars.values());
            names.into_iter().any(|known| name.as_bytes() == known.as_bytes())
        })
    }

    fn mounts_of(&mut self, process: &Path) -> Option<Rc<Mounts>> {
        let namespace = std::fs::read_link(process.join("ns/mnt")).map(PathBuf::into_os_string).ok()?;
        if let Some(known) = self.mounts.get(&namespace) {
            return Some(Rc::clone(known));
        }
        let mut mounts = HashMap::new();
        let mut is_remote = |line: &str| {
            let (head, tail) = line.split_once(" - ")?;
            let kind = tail.split(' ').next()?;
            let is_remote = REMOTE.iter().any(|remote| kind.starts_with(remote));
            mounts.insert(head.split(' ').next()?.parse().ok()?, is_remote);
            Some(())
        };
        let read = bounded::lines(&process.join("mountinfo"), MOUNTS, |line| {
            is_remote(line);
            Ok(())
        });
        // What is beyond the limit is a mount that no process sees.
        if read.is_err_and(|error| error.kind() != ErrorKind::FileTooLarge) {
            return None;
        }
        if self.mounts.values().map(|known| known.len()).sum::<usize>() + mounts.len() > REMEMBERED {
            self.mounts.clear();
        }
        let mounts = Rc::new(mounts);
        self.mounts.insert(namespace, Rc::clone(&mounts));
        Some(mounts)
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
        let root = folder.path();
        let hanging = Hanging::default();
        let wanted = Wanted { blocks: blocks.clone(), chars: BTreeMap::new() };
        let seen = look(root, &openers(root, &wanted), &wanted, &[7, 8, 9, 11], &hanging);
        let names = |seen: &Seen| {
            seen.open.iter().map(|(name, process)| format!("{name} {process}")).collect::<Vec<_>>()
        };
        assert_eq!((names(&seen), seen.unseen.len()), (vec!["sdb qe mu (pid 9)".to_owned()], 1));
        let chars = BTreeMap::from([((1, 3), "sg0".to_owned())]);
        let wanted = Wanted { blocks, chars };
        let seen = look(root, &openers(root, &wanted), &wanted, &[7, 8], &hanging);
        assert_eq!((names(&seen), seen.unseen.len()), (vec!["sg0 cat (pid 7)".to_owned()], 0));
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
        let until = Instant::now() + TIME;
        let share = Share { count: 9, until };
        let mut look = Look { wanted: &wanted, until: [until; 2], share, mounts: HashMap::new() };
        let mut may =
            |fd: &str, path: &str| look.may_ask(&process, fd.as_ref(), Path::new(path), &OnceCell::new());
        assert!(may("3", "/xvda"), "a container's own name for it");
        assert!(!may("4", "/xvda"), "on a file server");
        assert!(!may("5", "/xvda") && may("5", "/sda") && may("4", "/dev/sda"));
    }
}
