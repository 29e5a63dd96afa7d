//! Which processes there are, and whose each is: a name alone says nothing, because any user's process may have any
//! name.
//! Must not take a program for a thread of the kernel.

use std::{collections::BTreeSet, io::ErrorKind, path::Path};

use rustix::process::Uid;

use super::unix_sockets::is_trusted;
use crate::backend::host::bounded::{self, SMALL};

/// The parent of the kernel's own threads.
const KTHREADD: u32 = 2;

/// The pids of all processes, in order.
pub(crate) fn pids(proc: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(proc) else { return Vec::new() };
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let mut pids: Vec<u32> = entries.flatten().filter_map(number).collect();
    pids.sort_unstable();
    pids
}

/// Those of them that are programs: that may have something open, mapped or mounted. Of the kernel's own threads there are
/// often more than programs, and they have nothing.
pub(crate) fn programs(proc: &Path, pids: &[u32]) -> Vec<u32> {
    let children = children_of_kthreadd(proc);
    let is_program = |pid: &u32| !(children.contains(pid) && is_of_the_kernel(proc, *pid));
    pids.iter().copied().filter(is_program).collect()
}

/// Few of these are programs, which the kernel itself has started. Empty if the kernel does not say (`PROC_CHILDREN`).
fn children_of_kthreadd(proc: &Path) -> BTreeSet<u32> {
    let list = proc.join(format!("{KTHREADD}/task/{KTHREADD}/children"));
    let text = bounded::text(&list, SMALL).unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).chain([KTHREADD]).collect()
}

/// Whether a process has no memory, and has not ended: of a program whose first thread alone has, the others have all
/// that it had. What has ended has no folder to work in, either.
fn is_of_the_kernel(proc: &Path, pid: u32) -> bool {
    let link = |name: &str| std::fs::read_link(proc.join(format!("{pid}/{name}")));
    link("exe").is_err_and(|error| error.kind() == ErrorKind::NotFound) && link("cwd").is_ok()
}

/// Whether its real user is trusted. A program that is setuid root runs as the user that started it.
pub(crate) fn is_roots(proc: &Path, pid: u32) -> bool {
    let status = bounded::text(&proc.join(format!("{pid}/status")), SMALL).unwrap_or_default();
    real_user(&status).is_some_and(is_trusted)
}

/// Whose a process is, as far as that can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The real user.
    pub(crate) uid: Option<u32>,
    /// The text of its control groups (cgroups(7)).
    pub(crate) cgroup: String,
}

impl Owner {
    /// Of this process; it may have ended.
    pub(crate) fn of(proc: &Path, pid: u32) -> Self {
        let text = |name: &str| bounded::text(&proc.join(format!("{pid}/{name}")), SMALL).unwrap_or_default();
        Self { uid: real_user(&text("status")).map(Uid::as_raw), cgroup: text("cgroup") }
    }
}

/// `Uid:` real, effective, saved, file system (proc_pid_status(5)).
fn real_user(status: &str) -> Option<Uid> {
    let users = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    users.split_whitespace().next()?.parse().ok().map(Uid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::atomic::Dir;

    #[test]
    fn only_what_has_no_memory_is_not_among_the_programs() {
        let proc = Path::new("/proc");
        let programs = programs(proc, &pids(proc));
        assert!(programs.contains(&std::process::id()) && programs.is_sorted());
        let memory = |pid: u32| {
            let status = bounded::text(&proc.join(format!("{pid}/status")), SMALL).unwrap_or_default();
            status.lines().any(|line| line.starts_with("VmSize:"))
        };
        for pid in children_of_kthreadd(proc) {
            assert!(programs.contains(&pid) || !memory(pid), "{pid}");
        }
    }

    #[test]
    fn a_program_that_the_kernel_started_is_among_them_and_so_is_what_is_not_known() {
        let folder = tempfile::tempdir().unwrap();
        let proc = folder.path();
        let put = |path: &str, text: &str| {
            std::fs::create_dir_all(proc.join(path)).unwrap();
            Dir::open(&proc.join(path)).unwrap().replace("children", text.as_bytes(), 0o444).unwrap();
        };
        // The last has ended.
        for (pid, links) in [(1, "exe cwd"), (2, "cwd"), (10, "cwd"), (11, "cwd"), (12, "exe cwd"), (13, "")]
        {
            std::fs::create_dir_all(proc.join(format!("{pid}/task"))).unwrap();
            for link in links.split_whitespace() {
                std::os::unix::fs::symlink("/", proc.join(format!("{pid}/{link}"))).unwrap();
            }
        }
        put("2/task/2", "");
        assert_eq!(programs(proc, &pids(proc)), [1, 10, 11, 12, 13]);
        put("2/task/2", "11 12 13 ");
        assert_eq!(programs(proc, &pids(proc)), [1, 10, 12, 13], "10 is another program's");
    }

    #[test]
    fn the_real_user_counts() {
        assert_eq!(real_user("Name:\tiscsid\nUid:\t64002\t0\t0\t0\n"), Some(Uid::from_raw(64_002)));
        assert_eq!(real_user("Name:\tUid:\\n0\nUid:\t0\t1\t1\t1\n"), Some(Uid::ROOT));
        assert_eq!(real_user("Name:\tiscsid\n"), None);
        assert!(is_roots(Path::new("/proc"), std::process::id()));
        assert!(!is_roots(Path::new("/nonexistent"), 1));
    }
}
