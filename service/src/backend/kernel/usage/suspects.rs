//! The processes to inspect, in the order in which they are: who could have opened one of the
//! devices by itself, then the others, user by user.
//! Must not leave a process out.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use super::{super::processes::pids, holder::Process};
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
}

/// What the kernel reports of a process's credentials.
struct Credentials {
    /// The real one.
    uid: u32,
    uids: BTreeSet<u32>,
    gids: BTreeSet<u32>,
    capabilities: u64,
    size: u64,
}

/// Who may open a device.
#[derive(Debug)]
pub(super) struct Node {
    uid: u32,
    gid: u32,
    mode: u32,
}

/// Who may open each of the devices; `None` if that is not known of every device.
pub(super) fn nodes<'a>(dev: &Path, names: impl Iterator<Item = &'a String>) -> Option<Vec<Node>> {
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

/// Every process except `skip`. Who could open a device comes first. The others come user by user,
/// beginning with the user whose processes have the smallest tables of descriptors: who has
/// enlarged theirs does not delay the rest.
pub(super) fn suspects(proc: &Path, nodes: Option<&[Node]>, skip: &[u32]) -> Vec<Suspect> {
    let mut found: Vec<Suspect> = pids(proc)
        .into_iter()
        .filter(|pid| !skip.contains(pid))
        .filter_map(|pid| suspect(proc, pid, nodes))
        .collect();
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

/// `None` if there is nothing to inspect: it has ended, or is the kernel's own.
fn suspect(proc: &Path, pid: u32, nodes: Option<&[Node]>) -> Option<Suspect> {
    let folder = proc.join(pid.to_string());
    let status = bounded::text(&folder.join("status"), SMALL).unwrap_or_default();
    if is_kernels(&status) {
        return None;
    }
    let Some(credentials) = credentials(&status) else {
        return Some(Suspect { process: Process::of(proc, pid)?, uid: None, is_able: true, size: 0 });
    };
    let name = status.lines().next().and_then(|line| line.strip_prefix("Name:")).unwrap_or_default();
    let process = Process::named(pid, name);
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
    Some(Suspect { process, uid: Some(credentials.uid), is_able, size: credentials.size })
}

/// Whether it is a thread of the kernel: those have neither descriptors nor mappings. Their parent is kthreadd (pid 2), which
/// no program's is once it has memory of its own.
fn is_kernels(status: &str) -> bool {
    let has = |key: &str| status.lines().any(|line| line.starts_with(key));
    let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim();
    let is_kthreadds = of("PPid:") == "2" || (of("Pid:") == "2" && of("PPid:") == "0");
    is_kthreadds && of("Tgid:") == of("Pid:") && !has("VmSize:") && !of("State:").starts_with(['Z', 'X'])
}

/// From `/proc/PID/status` (proc_pid_status(5)).
fn credentials(status: &str) -> Option<Credentials> {
    let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
    let numbers = |text: &str| -> BTreeSet<u32> {
        text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
    };
    let uid = of("Uid:")?.split_whitespace().next()?.parse().ok()?;
    let uids = numbers(of("Uid:")?);
    let mut gids = numbers(of("Gid:")?);
    gids.append(&mut numbers(of("Groups:").unwrap_or_default()));
    Some(Credentials {
        uid,
        uids,
        gids,
        capabilities: u64::from_str_radix(of("CapPrm:").unwrap_or_default().trim(), 16).unwrap_or(0),
        size: of("FDSize:").and_then(|size| size.trim().parse().ok()).unwrap_or_default(),
    })
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
        put(proc, 18, "");
        let order = |nodes: Option<&[Node]>| -> Vec<(u32, bool)> {
            let found = suspects(proc, nodes, &[18]);
            found.iter().map(|suspect| (suspect.process.pid, suspect.is_able)).collect()
        };
        let disk = [Node { uid: 0, gid: 6, mode: 0o60660 }, Node { uid: 107, gid: 0, mode: 0o60600 }];
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
        put(
            proc,
            2,
            "Name:\tkthreadd\nState:\tS\nTgid:\t2\nPid:\t2\nPPid:\t0\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n",
        );
        put(
            proc,
            19,
            "Name:\tkworker/0:1\nState:\tI\nTgid:\t19\nPid:\t19\nPPid:\t2\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n",
        );
        assert_eq!(order(Some(&disk)).len(), 8, "the kernel's own threads hold nothing");
        // A program that calls itself so has memory; one that has ended may still have threads.
        for (pid, more) in [(20, "State:\tS\nVmSize:\t64 kB\n"), (21, "State:\tZ\n")] {
            put(proc, pid, &of(0, 0, &format!("Tgid:\t{pid}\nPid:\t{pid}\nPPid:\t2\n{more}")));
        }
        assert_eq!(order(Some(&disk)).len(), 10);
        let everyone = [Node { uid: 0, gid: 6, mode: 0o60666 }];
        for nodes in [Some(&everyone[..]), None] {
            assert!(order(nodes).iter().all(|(_, is_able)| *is_able));
        }
    }
}
