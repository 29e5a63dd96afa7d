//! After a login: waits until its disks and maps can be used.
//! Device events are the reason to look again; it may not give up before the deadline, nor wait after it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use iscsi_initiator_dbus::fault::Result;
use tokio::time::Instant;

use super::{Engine, blocking, paths::passed};
use crate::backend::{
    events::Events,
    multipathd::Greed,
    sysfs::{Disk, Map, Session, Sysfs},
};

/// The end of a scan comes without an event: that a session's LUNs were all found is looked for this often.
const LOOK: Duration = Duration::from_millis(250);
/// Events that come together are one.
const FLURRY: Duration = Duration::from_millis(50);
/// Where the kernel does not tell that a scan is over, a session without a disk after this has none.
const SCAN: Duration = Duration::from_secs(3);

/// How long multipathd may take to make a map. A disk that its blacklist excludes costs this wait.
const DECISION: Duration = Duration::from_secs(10);

impl Engine {
    /// Waits until every disk of these sessions can be used: found, seen by udev, and in its map if
    /// multipathd makes one of it. Whether that came true before the deadline.
    pub(super) async fn settled(
        &self,
        sids: &[u32],
        events: Option<&Events>,
        deadline: Instant,
    ) -> Result<bool> {
        let begun = Instant::now();
        // Once: the answer costs multipathd more than all else here, and does not change meanwhile.
        let greed = {
            let multipathd = self.multipathd.clone();
            blocking(move || multipathd.greed().ok()).await?
        };
        loop {
            let look = Look {
                sysfs: self.sysfs.clone(),
                greed,
                run: self.layout.run.clone(),
                dev: self.layout.dev.clone(),
                sids: sids.to_vec(),
                waited: begun.elapsed(),
            };
            let ready = blocking(move || look.is_ready()).await?;
            if ready || passed(deadline) {
                return Ok(ready);
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

impl Look {
    fn is_ready(&self) -> bool {
        let sessions = self.sysfs.sessions();
        let ours: Vec<&Session> =
            sessions.iter().filter(|session| self.sids.contains(&session.sid)).collect();
        let was_scanned =
            |session: &Session| session.scanned.unwrap_or(!session.disks.is_empty() || self.waited > SCAN);
        ours.iter().all(|session| {
            was_scanned(session)
                && session.disks.iter().all(|disk| is_named(disk) && is_in_udev(&self.run, disk))
        }) && self.has_maps(
            ours.iter().flat_map(|session| &session.disks),
            &sessions.iter().flat_map(|session| &session.disks).collect::<Vec<_>>(),
        )
    }

    /// Whether every disk is in a map, or multipathd will make none of it, or does not run. `all` are the
    /// disks of every session: among them are the other paths.
    fn has_maps<'a>(&self, disks: impl Iterator<Item = &'a Disk>, all: &[&Disk]) -> bool {
        let (mapped, bare): (Vec<_>, Vec<_>) =
            disks.filter(|disk| !disk.name.is_empty()).partition(|disk| disk.map.is_some());
        // A map can be used once udev has made its link.
        let is_linked = |map: &Map| self.dev.join("mapper").join(&map.name).exists();
        if !mapped.iter().filter_map(|disk| disk.map.as_ref()).all(is_linked) {
            return false;
        }
        if bare.is_empty() || self.waited > DECISION {
            return true;
        }
        let Some(greed) = self.greed else { return true };
        !bare.iter().any(|disk| {
            let paths = all.iter().filter(|other| other.wwid == disk.wwid).count();
            is_claimed(&self.run, disk)
                || greed == Greed::Every
                || (greed == Greed::TwoPaths && paths > 1 && !disk.wwid.is_empty())
        })
    }
}

/// The kernel's disk driver comes to a disk in its own time; what is no disk never gets a name.
fn is_named(disk: &Disk) -> bool {
    !disk.name.is_empty() || !disk.is_disk
}

/// udev found the disk to be a path of a multipath map.
pub(super) fn is_claimed(run: &Path, disk: &Disk) -> bool {
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
    use crate::backend::{atomic::Dir, sysfs};

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
        assert!(!look.is_ready(), "udev has not seen the disks");
        let data = folder.path().join("run/udev/data");
        std::fs::create_dir_all(&data).unwrap();
        let dir = Dir::open(&data).unwrap();
        dir.replace("b8:0", b"I:1\n", 0o644).unwrap();
        assert!(!look.is_ready(), "one is still to come");
        dir.replace("b8:16", b"I:1\n", 0o644).unwrap();
        assert!(!look.is_ready(), "the link to the map is still to come");
        let mapper = folder.path().join("dev/mapper");
        std::fs::create_dir_all(&mapper).unwrap();
        Dir::open(&mapper).unwrap().replace("mpatha", b"", 0o600).unwrap();
        assert!(look.is_ready(), "no multipathd, no other map to wait for");
        let unnamed = Disk { is_disk: true, ..Disk::default() };
        assert!(!is_named(&unnamed) && is_named(&Disk::default()));
    }
}
