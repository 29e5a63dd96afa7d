//! The iscsiadm processes that work on a session or a target, whoever started them.
//! Must not take another user's process for one: only root's can ask iscsid.

use std::path::Path;

use super::makers::ASKER;
use crate::backend::host::{
    bounded::{self, SMALL},
    capabilities::{Raised, TO_LOOK_INTO_PROCESSES},
};

/// An iscsiadm that has not ended yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) pid: u32,
    pub(crate) act: Act,
    pub(crate) of: Of,
}

/// What iscsiadm does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Login,
    Logout,
    Rescan,
}

/// What it does that to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Session(u32),
    Target(String),
}

/// Those that are running; `None` if that cannot be found out.
pub(super) fn look(proc: &Path) -> Option<Vec<Asker>> {
    // As for the makers of sessions.
    let _capabilities = Raised::new(TO_LOOK_INTO_PROCESSES);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(proc).ok()? {
        let entry = entry.ok()?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        found.extend(asker(proc, pid));
    }
    Some(found)
}

/// The one with this pid, if it is one.
pub(super) fn at(proc: &Path, pid: u32) -> Option<Asker> {
    let _capabilities = Raised::new(TO_LOOK_INTO_PROCESSES);
    asker(proc, pid)
}

fn asker(proc: &Path, pid: u32) -> Option<Asker> {
    // What has ended meanwhile has none of them.
    let text = |name: &str| bounded::text(&proc.join(format!("{pid}/{name}")), SMALL).unwrap_or_default();
    if text("comm").trim() != ASKER || !is_roots(&text("status")) {
        return None;
    }
    let (act, of) = meant(&text("cmdline"))?;
    Some(Asker { pid, act, of })
}

fn is_roots(status: &str) -> bool {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().next()) == Some("0")
}

/// What these arguments, each with a NUL behind it, mean.
fn meant(arguments: &str) -> Option<(Act, Of)> {
    let arguments: Vec<&str> = arguments.split('\0').collect();
    let act = arguments.iter().find_map(|word| match *word {
        "--login" | "-l" => Some(Act::Login),
        "--logout" | "-u" => Some(Act::Logout),
        "--rescan" | "-R" => Some(Act::Rescan),
        _ => None,
    })?;
    let value = |names: [&str; 2]| {
        let mut pairs = arguments.iter().zip(arguments.iter().skip(1));
        pairs.find_map(|(name, value)| names.contains(name).then_some(*value))
    };
    let of = match value(["-r", "--sid"]).and_then(|sid| sid.parse().ok()) {
        Some(sid) => Of::Session(sid),
        None => Of::Target(value(["-T", "--targetname"])?.to_owned()),
    };
    Some((act, of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::atomic::Dir;

    #[test]
    fn the_arguments_say_what_is_done_to_which_target() {
        let meant = |words: &[&str]| meant(&words.iter().map(|word| format!("{word}\0")).collect::<String>());
        let target = "iqn.2001-04.com.example:disks";
        let (session, whole) = (|sid| Of::Session(sid), || Of::Target(target.to_owned()));
        for (words, expected) in [
            (&["/usr/sbin/iscsiadm", "-m", "session", "-r", "7", "--logout"][..], (Act::Logout, session(7))),
            (&["iscsiadm", "-m", "session", "--sid", "12", "-u"], (Act::Logout, session(12))),
            (&["iscsiadm", "-m", "node", "-T", target, "-u"], (Act::Logout, whole())),
            (&["iscsiadm", "-m", "session", "-r", "7", "--rescan"], (Act::Rescan, session(7))),
            (&["iscsiadm", "-m", "node", "--targetname", target, "-R"], (Act::Rescan, whole())),
            (&["iscsiadm", "-m", "node", "-T", target, "-p", "192.0.2.21", "--login"], (Act::Login, whole())),
        ] {
            assert_eq!(meant(words), Some(expected), "{words:?}");
        }
        for other in [
            &["iscsiadm", "-m", "node", "-T", target][..],
            &["iscsiadm", "-m", "node", "--loginall=automatic"],
            &["iscsiadm", "-m", "node", "--logout"],
            &["iscsiadm", "--logout", "-r"],
            &[],
        ] {
            assert_eq!(meant(other), None, "{other:?}");
        }
    }

    #[test]
    fn only_an_iscsiadm_of_root_counts() {
        let folder = tempfile::tempdir().unwrap();
        for (pid, name, uid) in [(40, "iscsiadm", 0), (41, "iscsiadm", 1000), (42, "sleep", 0)] {
            let of = folder.path().join(pid.to_string());
            std::fs::create_dir_all(&of).unwrap();
            let dir = Dir::open(&of).unwrap();
            let status = format!("Name:\t{name}\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\n");
            dir.replace("status", status.as_bytes(), 0o444).unwrap();
            dir.replace("comm", format!("{name}\n").as_bytes(), 0o444).unwrap();
            let arguments = ["iscsiadm", "-m", "session", "-r", "5", "--logout", ""].join("\0");
            dir.replace("cmdline", arguments.as_bytes(), 0o444).unwrap();
        }
        assert_eq!(look(folder.path()), Some(vec![Asker { pid: 40, act: Act::Logout, of: Of::Session(5) }]));
        assert_eq!(look(&folder.path().join("none")), None);
    }
}
