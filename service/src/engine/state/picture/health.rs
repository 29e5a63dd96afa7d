//! Whether a disk can be used, and with which reserve.

use iscsi_initiator_dbus::results::Health;

use crate::{
    backend::kernel::sysfs::Map,
    engine::state::{same_disk::PathOf, snapshot::Snapshot},
};

/// The health of a disk with these paths. `is_queueing`: its map lets I/O wait while no path works.
pub(super) fn of(paths: &[PathOf<'_>], now: &Snapshot, is_queueing: bool) -> Health {
    let map = map(paths);
    let working = paths.iter().filter(|path| carries(path, map, now)).count();
    match map {
        None if working > 0 => Health::Single,
        Some(_) if working == paths.len() => Health::Optimal,
        Some(_) if working > 0 => Health::Degraded,
        // The kernel holds what is on its way until it gives the connection up.
        _ if is_queueing || paths.iter().any(|path| path.disk.state == "blocked") => Health::Queueing,
        _ => Health::Down,
    }
}

/// The disk's map, if no path of it works.
pub(super) fn stalled<'a>(paths: &[PathOf<'a>], now: &Snapshot) -> Option<&'a Map> {
    map(paths).filter(|map| !paths.iter().any(|path| carries(path, Some(map), now)))
}

fn map<'a>(paths: &[PathOf<'a>]) -> Option<&'a Map> {
    paths.iter().find_map(|path| path.disk.map.as_ref())
}

/// Whether what is written to the disk can take this path. One that is not in the map of the others
/// carries nothing for them.
fn carries(path: &PathOf<'_>, map: Option<&Map>, now: &Snapshot) -> bool {
    let PathOf { session, disk } = path;
    let accepts = matches!(disk.state.as_str(), "" | "running") && !disk.has_no_capacity();
    let has_failed = now.path(&disk.name).is_some_and(|state| state.has_failed());
    session.state == "LOGGED_IN" && accepts && !has_failed && disk.map.as_ref() == map
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        backend::{kernel::sysfs::Session, multipath::daemon::PathState},
        engine::state::same_disk::tests::{disk, session},
    };

    /// Two paths of one disk, with this map.
    fn two(map: &str) -> Vec<Session> {
        let mut sessions = vec![
            session(1, "iqn.a", vec![disk("sda", 0, 64, "naa.1", map)]),
            session(2, "iqn.a", vec![disk("sdb", 0, 64, "naa.1", map)]),
        ];
        for session in &mut sessions {
            session.disks[0].state = "running".into();
        }
        sessions
    }

    fn health(sessions: &[Session], failed: &[&str], is_queueing: bool) -> Health {
        let state =
            PathState { dm_state: "failed".into(), checker_state: "faulty".into(), group: 1, priority: 1 };
        let states = failed.iter().map(|name| ((*name).to_owned(), state.clone()));
        let now = Snapshot::new(sessions.to_vec(), Vec::new(), None, states.collect::<HashMap<_, _>>());
        let paths: Vec<PathOf<'_>> =
            now.all_sessions().iter().map(|session| PathOf { session, disk: &session.disks[0] }).collect();
        let health = of(&paths, &now, is_queueing);
        let is_without = matches!(health, Health::Queueing | Health::Down);
        assert_eq!(stalled(&paths, &now).is_some(), is_without && map(&paths).is_some());
        health
    }

    #[test]
    fn a_map_is_as_good_as_its_paths() {
        let all = two("mpatha");
        assert_eq!(health(&all, &[], false), Health::Optimal);
        assert_eq!(health(&all, &["sda"], true), Health::Degraded);
        assert_eq!(health(&all, &["sda", "sdb"], true), Health::Queueing);
        assert_eq!(health(&all, &["sda", "sdb"], false), Health::Down);
        let mut one_out = two("mpatha");
        one_out[1].disks[0].map = None;
        assert_eq!(health(&one_out, &[], false), Health::Degraded, "it carries nothing for the map");
    }

    #[test]
    fn what_the_kernel_sees_counts_before_multipathd_has_noticed() {
        for (state, device, expected) in [
            ("FAILED", "blocked", Health::Queueing),
            ("FREE", "transport-offline", Health::Down),
            ("LOGGED_IN", "offline", Health::Down),
        ] {
            for map in ["mpatha", ""] {
                let mut sessions = two(map);
                sessions[0].state = state.into();
                sessions[0].disks[0].state = device.into();
                let with_one = if map.is_empty() { Health::Single } else { Health::Degraded };
                assert_eq!(health(&sessions, &[], false), with_one, "{state} {device} {map}");
                sessions[1].state = state.into();
                sessions[1].disks[0].state = device.into();
                assert_eq!(health(&sessions, &[], false), expected, "{state} {device} {map}");
            }
        }
    }

    #[test]
    fn a_path_in_standby_is_a_reserve_and_a_lun_without_a_capacity_is_none() {
        let mut sessions = two("mpatha");
        sessions[1].disks[0].size = 0;
        assert_eq!(health(&sessions, &[], false), Health::Degraded);
        sessions[1].disks[0].is_standby = true;
        assert_eq!(health(&sessions, &[], false), Health::Optimal);
    }
}
