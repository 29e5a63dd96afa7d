//! The records as they are, and what may be left of a change that was cut off.
//! Must not know how a change is made or undone: only what was there before, and what is there after a whole one.

use std::{collections::BTreeMap, net::SocketAddr, path::Path};

use iscsi_initiator_fake::Machine;

/// Each file and folder of the node database: its mode and its content. Ports are named, since they are others on
/// each machine.
pub(crate) type Records = BTreeMap<String, (u32, String)>;

pub(crate) fn read(machine: &Machine, portals: &[SocketAddr]) -> Records {
    read_part(machine, "db", portals)
}

/// The same of another part of the machine.
pub(crate) fn read_part(machine: &Machine, part: &str, portals: &[SocketAddr]) -> Records {
    let root = machine.at(part);
    let named = |text: &str| {
        portals.iter().enumerate().fold(text.to_owned(), |text, (index, portal)| {
            text.replace(&portal.port().to_string(), &format!("PORT{index}"))
        })
    };
    let relative = |path: &Path| named(path.strip_prefix(&root).unwrap().to_str().unwrap());
    let entries = machine.picture_of(part).into_iter();
    entries
        .map(|(path, (mode, _, bytes))| (relative(&path), (mode, named(str::from_utf8(&bytes).unwrap()))))
        .collect()
}

/// What is wrong with records that should be as before or as after, or, where a session is up, that node's as after.
/// There `startup`, which is set once the node is up, may be as before.
pub(crate) fn complaint(now: &Records, before: &Records, after: &Records, up: &[String]) -> Option<String> {
    if now == before || now == after {
        return None;
    }
    for (path, is) in now.iter().filter(|(path, is)| before.get(*path) != Some(is)) {
        let is_folder = is.1.is_empty();
        let is_up = up.iter().any(|portal| path.contains(portal));
        let (was, whole) = (before.get(path), after.get(path));
        if whole != Some(is)
            && !(is_up && whole.zip(was).is_some_and(|(whole, was)| is_all_but_startup(is, whole, was)))
        {
            return Some(format!("{path} is neither as before nor as after: {is:?}"));
        }
        if !is_up && !is_folder {
            return Some(format!("{path} is as after and others are not, but no session is up there"));
        }
    }
    let lost = before.keys().find(|path| !now.contains_key(*path)).map(|path| format!("{path} is gone"));
    let has_entries = |folder: &String| now.keys().any(|path| path.starts_with(&format!("{folder}/")));
    let mut folders = now.iter().filter(|(path, is)| path.starts_with("nodes/iqn.") && is.1.is_empty());
    lost.or(folders.find(|(path, _)| !has_entries(path)).map(|(path, _)| format!("{path} is left empty")))
}

fn is_all_but_startup(is: &(u32, String), whole: &(u32, String), was: &(u32, String)) -> bool {
    let parts = |text: &str| {
        // `node.startup` and `node.conn[0].startup`.
        let (startup, rest): (Vec<_>, Vec<_>) =
            text.lines().map(str::to_owned).partition(|line| line.contains("startup = "));
        (startup, rest)
    };
    let ((startup, rest), whole_rest, startup_before) = (parts(&is.1), parts(&whole.1).1, parts(&was.1).0);
    is.0 == whole.0 && rest == whole_rest && startup == startup_before
}
