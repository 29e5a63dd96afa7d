//! Paths as people think of them: a map, and its paths with their states below.
//! Must not hide a path, a session without a disk, or what is wrong with one.

use std::collections::BTreeMap;

use iscsi_initiator_dbus::results::Path;

use super::table::{Cell, Table, Tone};

/// Maps first, then disks without a map, then sessions without a disk.
pub(crate) fn paths(paths: &[Path]) -> Table {
    let mut table = Table::new(&["DISK", "PORTAL", "SESSION", "H:C:T:L", "GROUP", "PRIORITY", "STATE"]);
    let mut groups: BTreeMap<(Place, String), Vec<&Path>> = BTreeMap::new();
    for path in paths {
        groups.entry((place(path), heading(path))).or_default().push(path);
    }
    for ((_, heading), mut members) in groups {
        table.heading(heading);
        members.sort_by(|a, b| (a.group, a.sid, a.lun, &a.device).cmp(&(b.group, b.sid, b.lun, &b.device)));
        for path in members {
            table.row(row(path));
        }
    }
    table
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Map,
    Disk,
    Session,
}

fn place(path: &Path) -> Place {
    match (path.map.is_empty(), path.device.is_empty()) {
        (false, _) => Place::Map,
        (true, false) => Place::Disk,
        (true, true) => Place::Session,
    }
}

/// What all paths of a group have in common.
fn heading(path: &Path) -> String {
    let disk = [size(path.size), path.vendor.clone(), path.model.clone(), path.wwid.clone()];
    let words: Vec<String> = match place(path) {
        Place::Map => [path.map.clone(), path.map_device.clone()].into_iter().chain(disk).collect(),
        Place::Disk => ["no map".to_owned()].into_iter().chain(disk).collect(),
        Place::Session => vec!["no disk".to_owned()],
    };
    let words = words.into_iter().chain([path.target.clone()]).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("  ")
}

fn row(path: &Path) -> Vec<Cell> {
    let known = |text: String, is_known: bool| Cell::or_dash(if is_known { text } else { String::new() });
    let (state, tone) = if is_pathless(path) { ("no session".to_owned(), Tone::Bad) } else { state(path) };
    vec![
        Cell::or_dash(&path.device),
        Cell::or_dash(&path.portal),
        Cell::or_dash(if path.sid == 0 { String::new() } else { path.sid.to_string() }),
        known(format!("{}:{}:{}:{}", path.host, path.channel, path.id, path.lun), has_lun(path)),
        known(path.group.to_string(), path.group > 0),
        known(path.priority.to_string(), path.priority >= 0 && !path.map.is_empty()),
        Cell::toned(state, tone),
    ]
}

/// A map that outlived its sessions: a logout by force left it to what has it open.
pub(crate) fn is_pathless(path: &Path) -> bool {
    path.sid == 0 && path.device.is_empty() && !path.map.is_empty()
}

/// A session without a LUN has no address; a LUN that is no disk has a state.
fn has_lun(path: &Path) -> bool {
    !path.device.is_empty() || !path.device_state.is_empty()
}

/// `ok`, or every word that is not as it should be.
fn state(path: &Path) -> (String, Tone) {
    // (what, the word, words of health, words of failure); no word at all means that none is known.
    let views: [(&str, &str, &[&str], &[&str]); 4] = [
        ("session", &path.session_state, &["LOGGED_IN"], &["FAILED", "FREE"]),
        ("disk", &path.device_state, &["running"], &["offline", "transport-offline", "cancel", "deleted"]),
        ("path", &path.dm_state, &["active", "undef"], &["failed"]),
        ("checker", &path.checker_state, &["ready", "ghost", "undef"], &["faulty", "shaky"]),
    ];
    let odd: Vec<_> =
        views.iter().filter(|(_, word, good, _)| !word.is_empty() && !good.contains(word)).collect();
    if odd.is_empty() {
        return ("ok".to_owned(), Tone::Good);
    }
    let is_failed = odd.iter().any(|(_, word, _, bad)| bad.contains(word));
    let words: Vec<String> = odd.iter().map(|(what, word, ..)| format!("{what} {word}")).collect();
    (format!("{}: {}", if is_failed { "FAILED" } else { "waiting" }, words.join(", ")), Tone::Bad)
}

/// `10 GiB`, `1.5 TiB`; nothing for nothing.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut text = if bytes == 0 { String::new() } else { format!("{bytes} B") };
    let mut unit_bytes: u128 = 1;
    for unit in UNITS {
        unit_bytes *= 1024;
        if u128::from(bytes) < unit_bytes {
            break;
        }
        let tenths = (u128::from(bytes) * 10 + unit_bytes / 2) / unit_bytes;
        let (whole, tenth) = (tenths / 10, tenths % 10);
        text = if tenth == 0 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::table::Style;

    fn path(device: &str, portal: &str, sid: u32, map: &str) -> Path {
        {
            let mut path = Path::default();
            path.target = "iqn.2003-01.com.example:disks".to_owned();
            path.portal = portal.to_owned();
            path.sid = sid;
            path.session_state = "LOGGED_IN".to_owned();
            path.host = sid + 1;
            path.device = device.to_owned();
            path.size = 10 << 30;
            path.vendor = "LIO-ORG".to_owned();
            path.model = "TCMU device".to_owned();
            path.wwid = "naa.6001405f".to_owned();
            path.device_state = "running".to_owned();
            path.map = map.to_owned();
            path.map_device = "dm-0".to_owned();
            path.dm_state = "active".to_owned();
            path.checker_state = "ready".to_owned();
            path.group = sid;
            path.priority = 50;
            path
        }
    }

    #[test]
    fn a_map_stands_over_its_paths_and_a_failed_one_says_why() {
        let failed = {
            let mut path = path("sdb", "192.0.2.37:3260", 2, "mpatha");
            path.session_state = "FAILED".to_owned();
            path.device_state = "transport-offline".to_owned();
            path.dm_state = "failed".to_owned();
            path.checker_state = "faulty".to_owned();
            path
        };
        let bare = {
            let mut path = path("sdc", "192.0.2.21:3260", 1, "");
            path.map_device = String::new();
            path.dm_state = String::new();
            path.checker_state = String::new();
            path.group = 0;
            path
        };
        let empty = {
            let mut path = Path::default();
            path.target = "iqn.2003-01.com.example:empty".to_owned();
            path.portal = "192.0.2.21:3260".to_owned();
            path.sid = 3;
            path.session_state = "LOGGED_IN".to_owned();
            path
        };
        let table = paths(&[empty, bare, failed, path("sda", "192.0.2.21:3260", 1, "mpatha")]);
        assert_eq!(
            table.render(Style { colour: false, header: true, columns: None }),
            "  DISK  PORTAL           SESSION  H:C:T:L  GROUP  PRIORITY  STATE
mpatha  dm-0  10 GiB  LIO-ORG  TCMU device  naa.6001405f  iqn.2003-01.com.example:disks
  sda   192.0.2.21:3260  1        2:0:0:0  1      50        ok
  sdb   192.0.2.37:3260  2        3:0:0:0  2      50        FAILED: session FAILED, disk transport-offline, path failed, checker faulty
no map  10 GiB  LIO-ORG  TCMU device  naa.6001405f  iqn.2003-01.com.example:disks
  sdc   192.0.2.21:3260  1        2:0:0:0  -      -         ok
no disk  iqn.2003-01.com.example:empty
  -     192.0.2.21:3260  3        -        -      -         ok
"
        );
    }

    #[test]
    fn an_unforeseen_word_is_shown() {
        let odd = {
            let mut path = path("sda", "p", 1, "m");
            path.device_state = "blocked".to_owned();
            path
        };
        assert_eq!(state(&odd), ("waiting: disk blocked".to_owned(), Tone::Bad));
        let failed = {
            let mut path = odd;
            path.checker_state = "faulty".to_owned();
            path
        };
        assert_eq!(state(&failed).0, "FAILED: disk blocked, checker faulty");
    }

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in [
            (0, ""),
            (512, "512 B"),
            (1024, "1 KiB"),
            (1536 << 30, "1.5 TiB"),
            (10 << 30, "10 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
    }
}
