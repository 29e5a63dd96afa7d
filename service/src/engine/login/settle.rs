//! Waits for disks, maps and their links, after a login and after a rescan.

use std::{cell::OnceCell, collections::HashMap, time::Duration};

use iscsi_initiator_dbus::fault::Result;
use tokio::time::Instant;

use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{READ, asking_multipathd_for},
        },
        kernel::{
            sysfs::{Disk, Map, Scope, Session, Sysfs},
            udev::Udev,
        },
        multipath::daemon::{FindMultipaths, Multipathd},
    },
    engine::{
        Engine,
        state::{snapshot::Snapshot, watch::Predicate},
    },
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
/// if multipathd makes one of it. Returns the sessions that had lost their connection at the last look,
/// too.
pub(in crate::engine) async fn settled(
    engine: &Engine,
    sids: &[u32],
    limit: &Limit,
) -> Result<(Settled, Vec<u32>)> {
    let (look, user) = (Look::new(engine, sids), limit.user());
    let mut usable = Usable { look, user, begun: Instant::now(), idle_since: None, is_announced: false };
    let settled = engine.state.watch.until(&mut usable, limit).await?.unwrap_or(Settled::Late);
    Ok((settled, usable.look.lost))
}

/// Whether every disk of these sessions can be used, as `now` has them and what they are shared with.
pub(super) async fn is_ready(engine: &Engine, sids: &[u32], now: &Snapshot, limit: &Limit) -> Result<bool> {
    let mut look = Look::new(engine, sids);
    let around = now.copies();
    let is_own = |session: &&Session| sids.contains(&session.sid);
    let own: Vec<Session> = around.iter().filter(is_own).cloned().collect();
    look.around = Some(around);
    asking_multipathd_for(limit.user(), READ, move || look.sight_of(&own) == Sight::Ready).await
}

/// Every disk can be used, or is known to stay unusable.
struct Usable {
    look: Look,
    /// The user whose share of what asks multipathd counts.
    user: Option<u32>,
    begun: Instant,
    /// Since when multipathd has been idle although it is expected to make a map.
    idle_since: Option<Instant>,
    is_announced: bool,
}

impl Predicate for Usable {
    type Is = Settled;

    async fn look(&mut self) -> Result<Option<Settled>> {
        self.look.waited = self.begun.elapsed();
        let mut look = self.look.clone();
        let looking = asking_multipathd_for(self.user, READ, move || {
            let sight = look.sight();
            (sight, look)
        });
        let sight;
        (sight, self.look) = looking.await?;
        self.is_announced = sight == Sight::Coming { is_announced: true };
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

    fn is_announced(&self) -> bool {
        self.is_announced
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
    scope: Scope,
    waited: Duration,
    /// The sessions that are not logged in.
    lost: Vec<u32>,
    /// These sessions and what they are shared with, if that was looked at before.
    around: Option<Vec<Session>>,
}

/// The result of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Ready,
    /// A disk, a map or its link is still missing.
    Coming {
        /// Whether the kernel or udev reports when it comes. The end of a scan has no event.
        is_announced: bool,
    },
    /// Only a map that multipathd should make is missing.
    Unmapped {
        is_busy: bool,
        /// Whether multipathd lists the disk among its paths.
        is_path: bool,
    },
}

impl Look {
    fn new(engine: &Engine, sids: &[u32]) -> Self {
        Self {
            sysfs: engine.state.sysfs.clone(),
            udev: engine.state.udev.clone(),
            multipathd: engine.state.multipathd.clone(),
            find_multipaths: None,
            scope: Scope::numbered(sids.iter().copied()),
            waited: Duration::ZERO,
            lost: Vec::new(),
            around: None,
        }
    }

    fn sight(&mut self) -> Sight {
        self.sight_of(&self.sysfs.sessions_in(&self.scope))
    }

    fn sight_of(&mut self, sessions: &[Session]) -> Sight {
        let is_lost = |session: &&Session| session.state != "LOGGED_IN";
        self.lost = sessions.iter().filter(is_lost).map(|session| session.sid).collect();
        let was_scanned =
            |session: &Session| session.scanned.unwrap_or(!session.disks.is_empty() || self.waited > SCAN);
        let are_scanned = sessions.iter().all(was_scanned);
        let disks = || sessions.iter().flat_map(|session| &session.disks);
        let is_there = are_scanned && disks().all(|disk| is_named(disk) && self.is_in_udev(disk));
        // A map can be used once udev has made its link.
        let is_linked = |map: &Map| self.udev.has_map_link(&map.name, &map.device);
        let is_coming = !is_there || !disks().filter_map(|disk| disk.map.as_ref()).all(is_linked);
        let bare: Vec<&Disk> = disks().filter(|disk| !disk.name.is_empty() && disk.map.is_none()).collect();
        if !is_coming && bare.is_empty() {
            return Sight::Ready;
        }
        // Asked only until it answers: the question is expensive for multipathd, and the answer does not
        // change meanwhile.
        self.find_multipaths = self.find_multipaths.or_else(|| self.multipathd.find_multipaths().ok());
        if is_coming {
            // Before Linux 6.4 a session without a disk is waited for by the clock.
            let is_announced = are_scanned && sessions.iter().all(|session| session.scanned == Some(true));
            return Sight::Coming { is_announced };
        }
        let Some(find_multipaths) = self.find_multipaths else { return Sight::Ready };
        // The other paths are among the disks of all sessions.
        let paths = OnceCell::new();
        let has_two = |disk: &Disk| {
            let paths = paths.get_or_init(|| self.count_paths());
            !disk.wwid.is_empty() && paths.get(&disk.wwid) > Some(&1)
        };
        // Whether multipathd should make a map of a disk that has none.
        let expects_map = |disk: &&Disk| {
            find_multipaths == FindMultipaths::Every
                || (find_multipaths == FindMultipaths::TwoPaths && has_two(disk))
                || self.udev.seen(&disk.number).is_claimed
        };
        let unmapped: Vec<&Disk> = bare.into_iter().filter(expects_map).collect();
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

    /// How many disks have each identifier that one of these sessions has.
    fn count_paths(&self) -> HashMap<String, usize> {
        let mut paths: HashMap<String, usize> = HashMap::new();
        let around = self.around.clone().unwrap_or_else(|| self.sysfs.sessions_around(&self.scope));
        for disk in around.into_iter().flat_map(|session| session.disks) {
            *paths.entry(disk.wwid).or_default() += 1;
        }
        paths
    }

    /// udev has written its file for the disk: its rules ran, and the links are there. After a logout that did not
    /// wait for udev, whoever made it, the file may still be that of a disk with the same name and number.
    fn is_in_udev(&self, disk: &Disk) -> bool {
        disk.name.is_empty() || self.udev.has_seen(&disk.number, self.sysfs.sequence(&disk.name).as_deref())
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
            scope: Scope::numbered([1]),
            waited: Duration::ZERO,
            lost: Vec::new(),
            around: None,
        };
        let sda = look.sysfs.sessions().remove(0).disks.remove(0);
        let sight = || look.clone().sight();
        let coming = Sight::Coming { is_announced: false };
        assert_eq!(sight(), coming, "udev has not seen the disks");
        let data = folder.path().join("run/udev/data");
        std::fs::create_dir_all(&data).unwrap();
        let dir = Dir::open(&data).unwrap();
        dir.replace("b8:0", b"I:1\n", 0o644).unwrap();
        assert_eq!(sight(), coming, "one is still to come");
        dir.replace("b8:16", b"I:1\n", 0o644).unwrap();
        assert_eq!(sight(), coming, "the link to the map is still to come");
        // Disks of before had the same names and numbers.
        let block = folder.path().join("class/block/sda");
        Dir::open(&block).unwrap().replace("diskseq", b"12\n", 0o444).unwrap();
        assert!(look.is_in_udev(&sda), "an older udev does not say which disk it has seen");
        for (link, is_seen) in [("11", false), ("12", true)] {
            let text = format!("S:disk/by-id/scsi-3\nS:disk/by-diskseq/{link}\nI:1\n");
            dir.replace("b8:0", text.as_bytes(), 0o644).unwrap();
            assert_eq!(look.is_in_udev(&sda), is_seen, "{link}");
        }
        let session = folder.path().join("class/iscsi_session/session1");
        let session = Dir::open(&session).unwrap();
        for (scan, is_announced) in [("ALLOCATED", false), ("SCANNED", true)] {
            session.replace("target_state", scan.as_bytes(), 0o444).unwrap();
            assert_eq!(sight(), Sight::Coming { is_announced }, "{scan}");
        }
        let mapper = folder.path().join("dev/mapper");
        std::fs::create_dir_all(&mapper).unwrap();
        Dir::open(&mapper).unwrap().replace("mpatha", b"", 0o600).unwrap();
        assert_eq!(sight(), Sight::Ready, "no multipathd, no other map to wait for");
        let mut every = Look { find_multipaths: Some(FindMultipaths::Every), ..look.clone() };
        let unmapped = Sight::Unmapped { is_busy: false, is_path: true };
        assert_eq!(every.sight(), unmapped, "multipathd went away, and sdb should have a map");
        session.replace("state", b"FAILED", 0o444).unwrap();
        let mut lost = look.clone();
        assert_eq!((lost.sight(), lost.lost), (Sight::Ready, vec![1]), "the session is looked at as well");
        let unnamed = Disk { is_disk: true, ..Disk::default() };
        assert!(!is_named(&unnamed) && is_named(&Disk::default()));
    }
}
