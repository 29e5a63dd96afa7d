//! Whose a process is: a name alone says nothing, because any user's process may have any name.

use std::path::Path;

use rustix::process::Uid;

use super::unix_sockets::is_trusted;
use crate::backend::host::bounded::{self, SMALL};

/// The pids of all processes, in order.
pub(crate) fn pids(proc: &Path) -> Vec<u32> {
    let Ok(entries) = std::fs::read_dir(proc) else { return Vec::new() };
    let number = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    let mut pids: Vec<u32> = entries.flatten().filter_map(number).collect();
    pids.sort_unstable();
    pids
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

    #[test]
    fn the_real_user_counts() {
        assert_eq!(real_user("Name:\tiscsid\nUid:\t64002\t0\t0\t0\n"), Some(Uid::from_raw(64_002)));
        assert_eq!(real_user("Name:\tUid:\\n0\nUid:\t0\t1\t1\t1\n"), Some(Uid::ROOT));
        assert_eq!(real_user("Name:\tiscsid\n"), None);
        assert!(is_roots(Path::new("/proc"), std::process::id()));
        assert!(!is_roots(Path::new("/nonexistent"), 1));
    }
}
