//! Paths as people think of them: a map, and its paths with their states below.
//! Must not hide a path, a session without a disk, or what is wrong with one.

use std::collections::BTreeMap;

use iscsi_initiator_dbus::{
    objects::Disk,
    results::{Health, Path},
};
use iscsi_initiator_model::{
    health::{self, Verdict},
    text::units,
};

use crate::language::{self, say};

use super::{
    outcomes::Remark,
    table::{Cell, Table, Tone},
};

const HEADER: [&str; 7] = ["DISK", "PORTAL", "SESSION", "H:C:T:L", "GROUP", "PRIORITY", "STATE"];

/// The columns that do not say whether a path works.
const DETAILS: std::ops::RangeInclusive<usize> = 3..=5;

/// Disks with their health, each with its paths below; only with the columns that say whether they work, if it must be
/// narrow.
pub(crate) fn disks<'a>(disks: impl IntoIterator<Item = &'a Disk>, is_narrow: bool) -> Table {
    let is_shown = |place: usize| !is_narrow || !DETAILS.contains(&place);
    let shown = HEADER.iter().enumerate().filter(|(place, _)| is_shown(*place));
    let mut table = Table::new(&shown.map(|(_, name)| *name).collect::<Vec<_>>());
    for disk in disks {
        let mut paths: Vec<&Path> = disk.paths.iter().collect();
        let tone = match disk.health {
            Health::Optimal | Health::Single => Tone::Strong,
            _ => Tone::Bad,
        };
        let named = if paths.is_empty() { disk.wwid.clone() } else { heading(&paths) };
        table.heading_toned(format!("{}  {named}", language::word(disk.health)), tone);
        sort(&mut paths);
        for path in paths {
            let cells = row(path).into_iter().enumerate().filter(|(place, _)| is_shown(*place));
            table.row(cells.map(|(_, cell)| cell).collect());
        }
    }
    table
}

/// Maps first, then disks without a map, then sessions without a disk.
pub(crate) fn paths(paths: &[Path]) -> Table {
    let mut table = Table::new(&HEADER);
    let mut groups: BTreeMap<(Place, Vec<&str>, u64, String), Vec<&Path>> = BTreeMap::new();
    for path in paths {
        // A map is one, however its disks differ; what has none is in the order of targets and LUNs.
        let key = match place(path) {
            Place::Map => (Place::Map, vec![path.map.as_str(), &path.map_device], 0, String::new()),
            place => (place, vec![path.target.as_str()], path.lun, heading(&[path])),
        };
        groups.entry(key).or_default().push(path);
    }
    for (_, mut members) in groups {
        table.heading(heading(&members));
        sort(&mut members);
        for path in members {
            table.row(row(path));
        }
    }
    table
}

fn sort(paths: &mut [&Path]) {
    paths.sort_by(|a, b| (a.group, a.sid, a.lun, &a.device).cmp(&(b.group, b.sid, b.lun, &b.device)));
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

/// What is wrong with the disks and their maps, each once.
pub(crate) fn problems(paths: &[Path]) -> Vec<Remark> {
    let mut remarks: Vec<Remark> = Vec::new();
    for path in paths.iter().filter(|path| !path.message.is_empty()) {
        let remark = Remark::note(&path.message, &path.hint);
        if !remarks.contains(&remark) {
            remarks.push(remark);
        }
    }
    remarks
}

/// What the paths of a group have in common, and every value where they differ.
fn heading(paths: &[&Path]) -> String {
    let all = |value: &dyn Fn(&Path) -> String| {
        let mut values: Vec<String> = Vec::new();
        for value in paths.iter().map(|path| value(path)).filter(|value| !value.is_empty()) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        values.join(", ")
    };
    let first = match paths.first().map(|path| place(path)) {
        Some(Place::Map) => vec![all(&|path| path.map.clone()), all(&|path| path.map_device.clone())],
        Some(Place::Disk) => vec![say!("no map")],
        Some(Place::Session) | None => vec![say!("no disk")],
    };
    let has_disk = paths.iter().any(|path| place(path) != Place::Session);
    let disk = [
        all(&|path| units::size(path.size)),
        all(&|path| path.vendor.clone()),
        all(&|path| path.model.clone()),
        all(&|path| path.wwid.clone()),
    ];
    let disk = disk.into_iter().filter(|_| has_disk);
    let held = match all(&|path| path.holds.join(", ")).as_str() {
        "" => String::new(),
        holders => say!("held by {holders}", holders),
    };
    let words = first.into_iter().chain(disk).chain([all(&|path| path.target.clone()), held]);
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("  ")
}

fn row(path: &Path) -> Vec<Cell> {
    let known = |text: String, is_known: bool| Cell::or_dash(if is_known { text } else { String::new() });
    let (state, tone) = if has_no_session(path) { (say!("no session"), Tone::Bad) } else { state(path) };
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

/// A map that outlived its sessions, because a logout by force left it to what has it open; or a target that is
/// held.
fn has_no_session(path: &Path) -> bool {
    path.sid == 0 && path.device.is_empty()
}

/// A session without a LUN has no address; a LUN that is no disk has a state.
fn has_lun(path: &Path) -> bool {
    !path.device.is_empty() || !path.device_state.is_empty()
}

/// `ok`, or every word that is not as it should be.
fn state(path: &Path) -> (String, Tone) {
    let health = health::path(path);
    let tone = if health.verdict == Verdict::Works { Tone::Good } else { Tone::Bad };
    (language::spoken(&health.phrase()), tone)
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::Problem;

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
    fn a_map_of_two_targets_has_one_heading_and_is_not_ok() {
        let with = |device: &str, target: &str, size: u64| {
            let mut path = path(device, "192.0.2.21:3260", if size > 32 { 1 } else { 2 }, "mpatha");
            path.target = target.to_owned();
            path.size = size << 20;
            path.problem = Problem::SeveralTargets;
            path.message = "mpatha is one map of disks of 2 targets".to_owned();
            path.hint = "iscsictl logout iqn.b".to_owned();
            path
        };
        let two = [with("sdb", "iqn.b", 32), with("sda", "iqn.a", 64)];
        assert_eq!(
            paths(&two).render(Style { colour: false, header: true, columns: None }),
            "  DISK  PORTAL           SESSION  H:C:T:L  GROUP  PRIORITY  STATE
mpatha  dm-0  32 MiB, 64 MiB  LIO-ORG  TCMU device  naa.6001405f  iqn.b, iqn.a
  sda   192.0.2.21:3260  1        2:0:0:0  1      50        FAILED: disk of several targets
  sdb   192.0.2.21:3260  2        3:0:0:0  2      50        FAILED: disk of several targets
"
        );
        let remarks = problems(&two);
        assert_eq!((remarks.len(), remarks[0].hint.as_str()), (1, "iscsictl logout iqn.b"));
    }

    #[test]
    fn a_disk_with_a_problem_is_never_just_ok() {
        let with = |problem: Problem| {
            let mut path = path("sda", "p", 1, "m");
            path.problem = problem;
            path.message = "what is wrong".to_owned();
            state(&path).0
        };
        assert_eq!(with(Problem::NoCapacity), "FAILED: no capacity");
        assert_eq!(with(Problem::UnequalPaths), "FAILED: unequal paths");
        assert_eq!(with(Problem::NoMap), "ok, but no map");
        assert_eq!(with(Path::default().problem), "FAILED: needs attention");
        assert_eq!(state(&path("sda", "p", 1, "m")).0, "ok");
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
}
