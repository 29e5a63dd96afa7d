//! The iscsiadm processes that wait for a logout, whoever started them.
//! Must not take another user's process for one: only root's can ask iscsid.

use std::path::Path;

use super::makers::ASKER;
use crate::backend::host::{
    bounded::{self, SMALL},
    capabilities::{Raised, TO_LOOK_INTO_PROCESSES},
};

/// An iscsiadm that waits for a logout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Logout {
    pub(crate) pid: u32,
    pub(crate) of: Of,
}

/// What it logs out of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Of {
    Session(u32),
    Target(String),
}

/// Those that are running; `None` if that cannot be found out.
pub(super) fn look(proc: &Path) -> Option<Vec<Logout>> {
    // As for the makers of sessions.
    let _capabilities = Raised::new(TO_LOOK_INTO_PROCESSES);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(proc).ok()? {
        let entry = entry.ok()?;
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // What has ended meanwhile has none of them.
        let text = |name: &str| bounded::text(&entry.path().join(name), SMALL).unwrap_or_default();
        if text("comm").trim() == ASKER
            && is_roots(&text("status"))
            && let Some(of) = of(&text("cmdline"))
        {
            found.push(Logout { pid, of });
        }
    }
    Some(found)
}

fn is_roots(status: &str) -> bool {
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.and_then(|uids| uids.split_whitespace().next()) == Some("0")
}

/// What these arguments, each with a NUL behind it, log out of.
fn of(arguments: &str) -> Option<Of> {
    let arguments: Vec<&str> = arguments.split('\0').collect();
    if !arguments.iter().any(|word| matches!(*word, "--logout" | "-u")) {
        return None;
    }
    let value = |names: [&str; 2]| {
        let mut pairs = arguments.iter().zip(arguments.iter().skip(1));
        pairs.find_map(|(name, value)| names.contains(name).then_some(*value))
    };
    match value(["-r", "--sid"]).and_then(|sid| sid.parse().ok()) {
        Some(sid) => Some(Of::Session(sid)),
        None => value(["-T", "--targetname"]).map(|target| Of::Target(target.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::atomic::Dir;

    #[test]
    fn the_arguments_say_what_is_logged_out_of() {
        let of = |words: &[&str]| of(&words.iter().map(|word| format!("{word}\0")).collect::<String>());
        let target = "iqn.2001-04.com.example:disks";
        assert_eq!(of(&["/usr/sbin/iscsiadm", "-m", "session", "-r", "7", "--logout"]), Some(Of::Session(7)));
        assert_eq!(of(&["iscsiadm", "-m", "session", "--sid", "12", "-u"]), Some(Of::Session(12)));
        let whole = Some(Of::Target(target.to_owned()));
        assert_eq!(of(&["iscsiadm", "-m", "node", "-T", target, "-u"]), whole);
        for other in [
            &["iscsiadm", "-m", "session", "-r", "7", "--rescan"][..],
            &["iscsiadm", "-m", "node", "-T", target, "--login"],
            &["iscsiadm", "-m", "node", "--logout"],
            &["iscsiadm", "--logout", "-r"],
            &[],
        ] {
            assert_eq!(of(other), None, "{other:?}");
        }
    }

    #[test]
    fn only_an_iscsiadm_of_root_is_at_a_logout() {
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
        assert_eq!(look(folder.path()), Some(vec![Logout { pid: 40, of: Of::Session(5) }]));
        assert_eq!(look(&folder.path().join("none")), None);
    }
}
