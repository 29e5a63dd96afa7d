//! After a login: waits until its disks and maps can be used.
//! Device events are the reason to look again; it may not give up before the deadline, nor wait after it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use iscsi_initiator_dbus::fault::Result;
use tokio::time::Instant;

use crate::backend::{
    kernel::{
        sysfs::{Disk, Map, Session, Sysfs},
        uevents::Events,
    },
    multipath::daemon::{Greed, Multipathd},
};
use crate::engine::{Engine, blocking, state::listing::passed};

/// The end of a scan comes without an event: that a session's LUNs were all found is looked for this often.
const LOOK: Duration = Duration::from_millis(250);
/// Events that come together are one.
const FLURRY: Duration = Duration::from_millis(50);
/// Where the kernel does not tell that a scan is over, a session without a disk after this has none.
const SCAN: Duration = Duration::from_secs(3);

/// multipathd makes no map of a disk that it does not count among its paths after it has had nothing to do for this
/// long: its blacklist excludes it. It hears of a disk a moment after udev is done, hence not at once.
const EXCLUDED: Duration = Duration::from_secs(3);
/// Nor of one of its paths, after this long: it tried, and the kernel would not.
const GIVEN_UP: Duration = Duration::from_secs(10);

/// How the wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Settled {
    /// Everything can be used.
    Ready,
    /// The disks can be used, but multipathd should have made a map and did not.
    Unmapped,
    /// Not before the deadline.
    Late,
    /// Nobody wanted to wait: what is there says nothing yet.
    Unasked,
}

impl Engine {
    /// Waits until every disk of these sessions can be used: found, seen by udev, and in its map if
    /// multipathd makes one of it.
    pub(in crate::engine) async fn settled(
        &self,
        sids: &[u32],
        events: Option<&Events>,
        deadline: Instant,
    ) -> Result<Settled> {
        let begun = Instant::now();
        // Since when multipathd has had nothing to do, although it is expected to make a map.
        let mut idle_since: Option<Instant> = None;
        let mut greed = None;
        loop {
            if greed.is_none() {
                // Until it answers: the answer costs multipathd more than all else here, and does not change meanwhile.
                let multipathd = self.multipathd.clone();
                greed = blocking(move || multipathd.greed().ok()).await?;
            }
            let look = Look {
                sysfs: self.sysfs.clone(),
                greed,
                run: self.layout.run.clone(),
                dev: self.layout.dev.clone(),
                sids: sids.to_vec(),
                waited: begun.elapsed(),
            };
            let multipathd = self.multipathd.clone();
            let sight = blocking(move || look.sight(&multipathd)).await?;
            if let Sight::Unmapped { is_busy: false, is_path } = sight {
                let idle = idle_since.get_or_insert_with(Instant::now).elapsed();
                match is_path {
                    true if idle >= GIVEN_UP => return Ok(Settled::Unmapped),
                    false if idle >= EXCLUDED => return Ok(Settled::Ready),
                    _ => {}
                }
            } else {
                idle_since = None;
            }
            if sight == Sight::Ready {
                return Ok(Settled::Ready);
            }
            if passed(deadline) {
                return Ok(Settled::Late);
            }
            let event = async {
                match events {
                    Some(events) => events.changed().await,
                    None => std::future::pending().await,
                }
            };
            // Whichever comes first only ends the wait; the next look decides.
            if tokio::time::timeout_at(deadline.min(Instant::now() + LOOK), event).await.is_ok() {
                // A new disk comes with dozens of events: one look for all of them.
                tokio::time::sleep_until(deadline.min(Instant::now() + FLURRY)).await;
            }
        }
    }
}

/// One look at the sessions.
struct Look {
    sysfs: Sysfs,
    /// `None` if multipathd does not run.
    greed: Option<Greed>,
    run: PathBuf,
    dev: PathBuf,
    sids: Vec<u32>,
    waited: Duration,
}

/// What a look shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sight {
    Ready,
    /// A disk, a map or its link is still to come.
    Coming,
    /// Everything is there but a map that multipathd should make.
    Unmapped {
        is_busy: bool,
        /// It counts such a disk among its paths.
        is_path: bool,
    },
}

impl Look {
    fn sight(&self, multipathd: &Multipathd) -> Sight {
        let sessions = self.sysfs.sessions();
        let ours: Vec<&Session> =
            sessions.iter().filter(|session| self.sids.contains(&session.sid)).collect();
        let was_scanned =
            |session: &Session| session.scanned.unwrap_or(!session.disks.is_empty() || self.waited > SCAN);
        let is_there = ours.iter().all(|session| {
            was_scanned(session)
                && session.disks.iter().all(|disk| is_named(disk) && is_in_udev(&self.run, disk))
        });
        let disks = || ours.iter().flat_map(|session| &session.disks);
        // A map can be used once udev has made its link.
        let is_linked = |map: &Map| self.dev.join("mapper").join(&map.name).exists();
        if !is_there || !disks().filter_map(|disk| disk.map.as_ref()).all(is_linked) {
            return Sight::Coming;
        }
        // Among the disks of every session are the other paths.
        let all: Vec<&Disk> = sessions.iter().flat_map(|session| &session.disks).collect();
        let unmapped: Vec<&Disk> = disks().filter(|disk| self.expects_map(disk, &all)).collect();
        if unmapped.is_empty() {
            return Sight::Ready;
        }
        match (multipathd.is_busy(), multipathd.addresses()) {
            (Ok(is_busy), Ok(paths)) => Sight::Unmapped {
                is_busy,
                is_path: unmapped.iter().any(|disk| paths.contains(&disk.address())),
            },
            // It may be on its way up again.
            _ => Sight::Unmapped { is_busy: false, is_path: true },
        }
    }

    /// Whether multipathd should make a map of a disk that has none.
    fn expects_map(&self, disk: &Disk, all: &[&Disk]) -> bool {
        let Some(greed) = self.greed else { return false };
        let paths = || all.iter().filter(|other| other.wwid == disk.wwid).count();
        !disk.name.is_empty()
            && disk.map.is_none()
            && (is_claimed(&self.run, disk)
                || greed == Greed::Every
                || (greed == Greed::TwoPaths && !disk.wwid.is_empty() && paths() > 1))
    }
}

/// The kernel's disk driver comes to a disk in its own time; what is no disk never gets a name.
fn is_named(disk: &Disk) -> bool {
    !disk.name.is_empty() || !disk.is_disk
}

/// udev found the disk to be a path of a multipath map.
pub(in crate::engine) fn is_claimed(run: &Path, disk: &Disk) -> bool {
    let properties = std::fs::read_to_string(run.join("udev/data").join(format!("b{}", disk.number)));
    properties.is_ok_and(|text| text.lines().any(|line| line == "E:DM_MULTIPATH_DEVICE_PATH=1"))
}

/// udev has written its file on the disk: its rules ran, and the links are there.
fn is_in_udev(run: &Path, disk: &Disk) -> bool {
    disk.name.is_empty() || run.join("udev/data").join(format!("b{}", disk.number)).exists()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::layout::Layout;
    use crate::backend::{host::atomic::Dir, kernel::sysfs};

    #[test]
    fn a_session_is_ready_when_its_disks_have_names_and_udev_is_done() {
        let folder = sysfs::tests::sample();
        let look = Look {
            sysfs: Sysfs::new(folder.path()),
            greed: None,
            run: folder.path().join("run"),
            dev: folder.path().join("dev"),
            sids: vec![1],
            waited: Duration::ZERO,
        };
        let multipathd = Multipathd::new(&Layout::below(folder.path()));
        let sight = || look.sight(&multipathd);
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
        let greedy = Look { greed: Some(Greed::Every), ..look };
        let unmapped = Sight::Unmapped { is_busy: false, is_path: true };
        assert_eq!(greedy.sight(&multipathd), unmapped, "multipathd went away, and sdb should have a map");
        let unnamed = Disk { is_disk: true, ..Disk::default() };
        assert!(!is_named(&unnamed) && is_named(&Disk::default()));
    }
}
