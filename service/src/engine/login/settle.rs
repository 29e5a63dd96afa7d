//! Waits for disks, maps and their links, after a login and after a rescan.

use std::{collections::HashMap, time::Duration};

use iscsi_initiator_dbus::fault::Result;
use tokio::time::Instant;

use crate::{
    backend::{
        host::{limit::Limit, threads::asking_multipathd},
        kernel::{
            sysfs::{Disk, Map, Session, Sysfs},
            udev::Udev,
        },
        multipath::daemon::{FindMultipaths, Multipathd},
    },
    engine::{Engine, state::watch::Predicate},
};

/// Where the kernel does not report the end of a scan, a session without a disk after this time has
/// none.
const SCAN: Duration = Duration::from_secs(3);

/// If multipathd has been idle for this long and does not list a disk among its paths, its
/// blacklist excludes the disk and it makes no map. The delay is needed because multipathd learns
/// of a disk a moment after udev is done.
const EXCLUDED: Duration = Duration::from_secs(3);
/// The same for a disk among its paths: multipathd tried to make a map, and the kernel refused.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// How the wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Settled {
    /// Everything can be used.
    Ready,
    /// The disks can be used, but multipathd should have made a map and did not.
    Unmapped,
    /// The deadline passed first.
    Late,
    /// The caller did not want to wait: the state says nothing yet.
    Unasked,
}

/// Waits until every disk of these sessions can be used: found, processed by udev, and in its map
/// if multipathd makes one of it.
pub(in crate::engine) async fn settled(engine: &Engine, sids: &[u32], limit: &Limit) -> Result<Settled> {
    let look = Look {
        sysfs: engine.state.sysfs.clone(),
        udev: engine.state.udev.clone(),
        multipathd: engine.state.multipathd.clone(),
        find_multipaths: None,
        sids: sids.to_vec(),
        waited: Duration::ZERO,
    };
    let mut usable = Usable { look, begun: Instant::now(), idle_since: None };
    Ok(engine.state.watch.until(&mut usable, limit).await?.unwrap_or(Settled::Late))
}

/// Every disk can be used, or is known to stay unusable.
struct Usable {
    look: Look,
    begun: Instant,
    /// Since when multipathd has been idle although it is expected to make a map.
    idle_since: Option<Instant>,
}

impl Predicate for Usable {
    type Is = Settled;

    async fn look(&mut self) -> Result<Option<Settled>> {
        self.look.waited = self.begun.elapsed();
        let mut look = self.look.clone();
        let (sight, find_multipaths) = asking_multipathd(move || {
            // Asked only until it answers: the question is expensive for multipathd, and the answer
            // does not change meanwhile.
            look.find_multipaths = look.find_multipaths.or_else(|| look.multipathd.find_multipaths().ok());
            (look.sight(), look.find_multipaths)
        })
        .await?;
        self.look.find_multipaths = find_multipaths;
        let Sight::Unmapped { is_busy: false, is_path } = sight else {
            self.idle_since = None;
            return Ok((sight == Sight::Ready).then_some(Settled::Ready));
        };
        let idle = self.idle_since.get_or_insert_with(Instant::now).elapsed();
        Ok(match is_path {
            true if idle >= GIVEN_UP => Some(Settled::Unmapped),
            false if idle >= EXCLUDED => Some(Settled::Ready),
            _ => None,
        })
    }
}

/// One look at the sessions.
#[derive(Clone)]
struct Look {
    sysfs: Sysfs,
    udev: Udev,
    multipathd: Multipathd,
    /// `None` as long as multipathd has not reported it.
    find_multipaths: Option<FindMultipaths>,
    sids: Vec<u32>,
    waited: Duration,
}

/// The result of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Ready,
    /// A disk, a map or its link is still missing.
    Coming,
    /// Only a map that multipathd should make is missing.
    Unmapped {
        is_busy: bool,
        /// Whether multipathd lists the disk among its paths.
        is_path: bool,
    },
}

impl Look {
    fn sight(&self) -> Sight {
        let sessions = self.sysfs.sessions();
        let ours: Vec<&Session> =
            sessions.iter().filter(|session| self.sids.contains(&session.sid)).collect();
        let was_scanned =
            |session: &Session| session.scanned.unwrap_or(!session.disks.is_empty() || self.waited > SCAN);
        let is_there = ours.iter().all(|session| {
            was_scanned(session) && session.disks.iter().all(|disk| is_named(disk) && self.is_in_udev(disk))
        });
        let disks = || ours.iter().flat_map(|session| &session.disks);
        // A map can be used once udev has made its link.
        let is_linked = |map: &Map| self.udev.has_map_link(&map.name);
        if !is_there || !disks().filter_map(|disk| disk.map.as_ref()).all(is_linked) {
            return Sight::Coming;
        }
        // The other paths are among the disks of all sessions.
        let mut paths: HashMap<&str, usize> = HashMap::new();
        for disk in sessions.iter().flat_map(|session| &session.disks) {
            *paths.entry(disk.wwid.as_str()).or_default() += 1;
        }
        let has_two = |disk: &Disk| !disk.wwid.is_empty() && paths.get(disk.wwid.as_str()) > Some(&1);
        let unmapped: Vec<&Disk> = disks().filter(|disk| self.expects_map(disk, has_two(disk))).collect();
        if unmapped.is_empty() {
            return Sight::Ready;
        }
        match (self.multipathd.is_busy(), self.multipathd.addresses()) {
            (Ok(is_busy), Ok(paths)) => Sight::Unmapped {
                is_busy,
                is_path: unmapped.iter().any(|disk| paths.contains(&disk.address())),
            },
            // It may be reconnecting.
            _ => Sight::Unmapped { is_busy: false, is_path: true },
        }
    }

    /// Whether multipathd should make a map of a disk that has none.
    fn expects_map(&self, disk: &Disk, has_two_paths: bool) -> bool {
        let Some(find_multipaths) = self.find_multipaths else { return false };
        !disk.name.is_empty()
            && disk.map.is_none()
            && (find_multipaths == FindMultipaths::Every
                || (find_multipaths == FindMultipaths::TwoPaths && has_two_paths)
                || self.udev.seen(&disk.number).is_claimed)
    }

    /// udev has written its file for the disk: its rules ran, and the links are there.
    fn is_in_udev(&self, disk: &Disk) -> bool {
        disk.name.is_empty() || self.udev.seen(&disk.number).is_done
    }
}

/// The kernel's disk driver attaches asynchronously; a LUN that is not a disk never gets a name.
fn is_named(disk: &Disk) -> bool {
    !disk.name.is_empty() || !disk.is_disk
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{
        host::{atomic::Dir, layout::Layout},
        kernel::sysfs,
    };

    #[test]
    fn a_session_is_ready_when_its_disks_have_names_and_udev_is_done() {
        let folder = sysfs::tests::sample();
        let look = Look {
            sysfs: Sysfs::new(folder.path()),
            udev: Udev::new(&Layout::below(folder.path())),
            multipathd: Multipathd::new(&Layout::below(folder.path())),
            find_multipaths: None,
            sids: vec![1],
            waited: Duration::ZERO,
        };
        let sight = || look.sight();
        assert_eq!(sight(), Sight::Coming, "udev has not seen the disks");
        let data = folder.path().join("run/udev/data");
        std::fs::create_dir_all(&data).unwrap();
        let dir = Dir::open(&data).unwrap();
        dir.replace("b8:0", b"I:1\n", 0o644).unwrap();
        assert_eq!(sight(), Sight::Coming, "one is still to come");
        dir.replace("b8:16", b"I:1\n", 0o644).unwrap();
        assert_eq!(sight(), Sight::Coming, "the link to the map is still to come");
        let mapper = folder.path().join("dev/mapper");
        std::fs::create_dir_all(&mapper).unwrap();
        Dir::open(&mapper).unwrap().replace("mpatha", b"", 0o600).unwrap();
        assert_eq!(sight(), Sight::Ready, "no multipathd, no other map to wait for");
        let every = Look { find_multipaths: Some(FindMultipaths::Every), ..look.clone() };
        let unmapped = Sight::Unmapped { is_busy: false, is_path: true };
        assert_eq!(every.sight(), unmapped, "multipathd went away, and sdb should have a map");
        let unnamed = Disk { is_disk: true, ..Disk::default() };
        assert!(!is_named(&unnamed) && is_named(&Disk::default()));
    }
}
