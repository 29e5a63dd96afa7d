//! The processes to inspect, in the order in which they are: who could have opened one of the
//! devices by itself, then the others, user by user.
//! Must not leave a process out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::holder::Process;
use crate::backend::host::bounded::{self, SMALL};

/// With one of these a process can open a device that its user could not, or become another user:
/// `CAP_CHOWN`, `DAC_OVERRIDE`, `DAC_READ_SEARCH`, `FOWNER`, `SETGID`, `SETUID`, `SYS_MODULE`,
/// `SYS_RAWIO`, `SYS_PTRACE`, `SYS_ADMIN`, `MKNOD`, `SETFCAP` (capabilities(7)).
const ABLE: u64 = 1
    | 1 << 1
    | 1 << 2
    | 1 << 3
    | 1 << 6
    | 1 << 7
    | 1 << 16
    | 1 << 17
    | 1 << 19
    | 1 << 21
    | 1 << 27
    | 1 << 31;

/// A process to inspect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Suspect {
    pub(super) process: Process,
    /// `None` if it is unknown.
    pub(super) uid: Option<u32>,
    /// Whether it could open one of the devices by itself. Another process can only have been given
    /// one by such a process.
    pub(super) is_able: bool,
    /// The size of its table of descriptors.
    size: u64,
    /// One that still runs, if its first has ended: the kernel shows nothing of the process itself then.
    pub(super) thread: Option<u32>,
}

/// What the kernel reports of a process's credentials.
struct Credentials {
    /// The real one.
    uid: u32,
    uids: Vec<u32>,
    gids: Vec<u32>,
    capabilities: u64,
    size: u64,
    /// Its first thread: nothing is left of it, but for what its other threads have.
    has_ended: bool,
}

/// Who may open a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    uid: u32,
    gid: u32,
    mode: u32,
}

/// Who may open each of the devices; `None` if that is not known of every device.
pub(super) fn nodes<'a>(dev: &Path, names: impl Iterator<Item = &'a String>) -> Option<BTreeSet<Node>> {
    names
        .map(|name| {
            let path = dev.join(name);
            let stat = rustix::fs::stat(&path).ok()?;
            // An access list may name anyone.
            let has_list = rustix::fs::getxattr(&path, "system.posix_acl_access", &mut [0_u8; 0]);
            let mode = if has_list.is_ok_and(|size| size > 0) { 0o666 } else { stat.st_mode };
            Some(Node { uid: stat.st_uid, gid: stat.st_gid, mode })
        })
        .collect()
}

/// These processes. Who could open a device comes first. The others come user by user,
/// beginning with the user whose processes have the smallest tables of descriptors: who has
/// enlarged theirs does not delay the rest.
pub(super) fn suspects(proc: &Path, nodes: Option<&BTreeSet<Node>>, programs: &[u32]) -> Vec<Suspect> {
    let mut found: Vec<Suspect> = programs.iter().filter_map(|pid| suspect(proc, *pid, nodes)).collect();
    let mut sizes: BTreeMap<Option<u32>, u64> = BTreeMap::new();
    for suspect in found.iter().filter(|suspect| !suspect.is_able) {
        let size = sizes.entry(suspect.uid).or_default();
        *size = size.saturating_add(suspect.size);
    }
    let of_user = |suspect: &Suspect| sizes.get(&suspect.uid).copied().unwrap_or_default();
    found.sort_by_cached_key(|suspect| match suspect.is_able {
        true => (false, 0, None, 0, suspect.process.pid),
        false => (true, of_user(suspect), suspect.uid, suspect.size, suspect.process.pid),
    });
    found
}

/// `None` if there is nothing to inspect: it has ended.
fn suspect(proc: &Path, pid: u32, nodes: Option<&BTreeSet<Node>>) -> Option<Suspect> {
    let folder = proc.join(pid.to_string());
    let status = bounded::text(&folder.join("status"), SMALL).unwrap_or_default();
    let Some(credentials) = credentials(&status) else {
        return Some(Suspect {
            process: Process::of(proc, pid)?,
            uid: None,
            is_able: true,
            size: 0,
            thread: None,
        });
    };
    let name = status.lines().next().and_then(|line| line.strip_prefix("Name:")).unwrap_or_default();
    let process = Process::named(pid, name);
    let mut thread = None;
    if credentials.has_ended {
        thread = Some(another_thread(&folder, pid)?);
    }
    // In a namespace of its own any user has all capabilities, and they open nothing outside it.
    let is_capable = || {
        credentials.capabilities & ABLE != 0
            && std::fs::read_link(folder.join("ns/user")).ok()
                == std::fs::read_link(proc.join("self/ns/user")).ok()
    };
    let may_open = |node: &Node| {
        node.mode & 0o006 != 0
            || (node.mode & 0o060 != 0 && credentials.gids.contains(&node.gid))
            || credentials.uids.contains(&node.uid)
    };
    let is_able =
        credentials.uids.contains(&0) || nodes.is_none_or(|nodes| nodes.iter().any(may_open)) || is_capable();
    Some(Suspect { process, uid: Some(credentials.uid), is_able, size: credentials.size, thread })
}

/// Of a thread in this state nothing is left.
fn is_over(state: &str) -> bool {
    state.trim_start().starts_with(['Z', 'X'])
}

fn another_thread(folder: &Path, pid: u32) -> Option<u32> {
    let threads = std::fs::read_dir(folder.join("task")).ok()?.flatten();
    let has_ended =
        |status: &str| status.lines().find_map(|line| line.strip_prefix("State:")).is_some_and(is_over);
    let runs = |thread: &u32| {
        let status = folder.join("task").join(thread.to_string()).join("status");
        // One of which nothing can be read is not taken for one that has ended.
        *thread != pid
            && status.exists()
            && !bounded::text(&status, SMALL).is_ok_and(|status| has_ended(&status))
    };
    threads.filter_map(|thread| thread.file_name().to_str()?.parse().ok()).find(runs)
}

/// Whether a process that was to be seen by one of its threads, which has ended meanwhile, still has another.
pub(super) fn goes_on(proc: &Path, suspect: &Suspect) -> bool {
    let pid = suspect.process.pid;
    suspect.thread.is_some() && another_thread(&proc.join(pid.to_string()), pid).is_some()
}

/// From `/proc/PID/status` (proc_pid_status(5)), in one pass: it has some sixty lines.
fn credentials(status: &str) -> Option<Credentials> {
    let mut found = Credentials {
        uid: 0,
        uids: Vec::new(),
        gids: Vec::new(),
        capabilities: 0,
        size: 0,
        has_ended: false,
    };
    let mut has_group = false;
    for line in status.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let numbers = || value.split_whitespace().filter_map(|number| number.parse::<u32>().ok());
        match key {
            "State" => found.has_ended = is_over(value),
            "Uid" => found.uids.extend(numbers()),
            "Gid" => {
                has_group = true;
                found.gids.extend(numbers());
            }
            "Groups" => found.gids.extend(numbers()),
            "FDSize" => found.size = value.trim().parse().unwrap_or_default(),
            "CapPrm" => {
                found.capabilities = u64::from_str_radix(value.trim(), 16).unwrap_or_default();
                break;
            }
            _ => {}
        }
    }
    // Without both it is not known who it is.
    found.uid = *found.uids.first()?;
    has_group.then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::atomic::Dir;

    fn put(proc: &Path, pid: u32, status: &str) {
        let folder = proc.join(pid.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let dir = Dir::open(&folder).unwrap();
        dir.replace("comm", b"x\n", 0o444).unwrap();
        if !status.is_empty() {
            dir.replace("status", status.as_bytes(), 0o444).unwrap();
        }
    }

    fn namespace(proc: &Path, of: &str, name: &str) {
        std::fs::create_dir_all(proc.join(of).join("ns")).unwrap();
        std::os::unix::fs::symlink(name, proc.join(of).join("ns/user")).unwrap();
    }

    #[test]
    fn credentials_are_read_in_one_pass_and_only_whole() {
        let status = "Name:\tUid:\\n0 9\nState:\tZ (zombie)\nUid:\t7\t0\t8\t8\nGid:\t3\t3\t3\t3\nFDSize:\t64\n\
                      Groups:\t44 45 \nVmPeak:\t1 kB\nCapInh:\tffff\nCapPrm:\t0000000000200002\nCapEff:\tff\n";
        let read = credentials(status).unwrap();
        assert_eq!((read.uid, read.uids, read.gids), (7, vec![7, 0, 8, 8], vec![3, 3, 3, 3, 44, 45]));
        assert_eq!((read.size, read.capabilities, read.has_ended), (64, 0x20_0002, true));
        for missing in ["Uid:\t7", "Gid:\t3"] {
            assert!(credentials(&status.replace(missing, "No:")).is_none(), "{missing}");
        }
    }

    #[test]
    fn who_could_open_a_device_comes_first_and_then_the_smallest() {
        let folder = tempfile::tempdir().unwrap();
        let proc = folder.path();
        let of = |uid: u32, gid: u32, rest: &str| {
            format!("Name:\tx\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{gid}\t{gid}\t{gid}\t{gid}\n{rest}")
        };
        namespace(proc, "self", "user:[1]");
        put(proc, 10, &of(1000, 1000, "FDSize:\t524288\nGroups:\t1000 44\nCapPrm:\t0000000000000000\n"));
        put(proc, 11, &of(1000, 1000, "FDSize:\t64\nGroups:\t1000\nCapPrm:\t0000000800000000\n"));
        namespace(proc, "11", "user:[1]");
        put(proc, 12, &of(1001, 1001, "FDSize:\t256\nGroups:\t1001\nCapPrm:\t000001ffffffffff\n"));
        namespace(proc, "12", "user:[2]");
        put(proc, 13, &of(0, 0, "FDSize:\t64\n"));
        put(proc, 14, &of(1002, 1002, "FDSize:\t64\nGroups:\t6\n"));
        put(proc, 15, &of(1003, 1003, "FDSize:\t64\nGroups:\t\nCapPrm:\t0000000000000002\n"));
        namespace(proc, "15", "user:[1]");
        put(proc, 16, "");
        put(proc, 17, &of(107, 107, "FDSize:\t64\n"));
        let order = |nodes: Option<&BTreeSet<Node>>| -> Vec<(u32, bool)> {
            let found = suspects(proc, nodes, &[10, 11, 12, 13, 14, 15, 16, 17]);
            found.iter().map(|suspect| (suspect.process.pid, suspect.is_able)).collect()
        };
        let disk = BTreeSet::from([
            Node { uid: 0, gid: 6, mode: 0o60660 },
            Node { uid: 107, gid: 0, mode: 0o60600 },
        ]);
        assert_eq!(
            order(Some(&disk)),
            [
                (13, true),
                (14, true),
                (15, true),
                (16, true),
                (17, true),
                (12, false),
                (11, false),
                (10, false)
            ]
        );
        // What has ended has nothing any more, unless a thread of it goes on.
        for (pid, thread) in [(18, 21), (19, 20)] {
            put(proc, pid, &of(0, 0, "State:\tZ (zombie)\n"));
            for (task, state) in
                [(pid, "Z (zombie)"), (thread, if pid == 19 { "S (sleeping)" } else { "Z (zombie)" })]
            {
                let folder = proc.join(format!("{pid}/task/{task}"));
                std::fs::create_dir_all(&folder).unwrap();
                let status = format!("Name:\tx\nState:\t{state}\n");
                Dir::open(&folder).unwrap().replace("status", status.as_bytes(), 0o444).unwrap();
            }
        }
        let found = suspects(proc, Some(&disk), &[18, 19]);
        let threads: Vec<_> = found.iter().map(|suspect| (suspect.process.pid, suspect.thread)).collect();
        assert_eq!(threads, [(19, Some(20))]);
        // The thread that it was to be seen by ends as well.
        assert!(goes_on(proc, &found[0]));
        std::fs::remove_dir_all(proc.join("19/task/20")).unwrap();
        assert!(!goes_on(proc, &found[0]));
        let everyone = BTreeSet::from([Node { uid: 0, gid: 6, mode: 0o60666 }]);
        for nodes in [Some(&everyone), None] {
            assert!(order(nodes).iter().all(|(_, is_able)| *is_able));
        }
    }
}
