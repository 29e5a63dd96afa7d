//! Removes maps before their disks, because there the kernel itself refuses to remove what is still
//! open. A map that another session carries stays.

use std::{collections::BTreeSet, time::Duration};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use tokio::{task::AbortHandle, time::Instant};

use super::{plan::Plan, unused::GLANCE};
use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{asking_multipathd, reading},
        },
        kernel::sysfs::{Disk, Map, Sysfs},
        multipath::daemon::{Multipathd, MultipathdError},
    },
    engine::{Engine, State, state::watch::Predicate},
};

/// How long multipathd may take to notice that the paths have gone: it checks each, and a check of a
/// dead path takes its own time.
const LET_GO: Duration = Duration::from_secs(300);
/// How long a map must look as if no I/O waited for a path any more.
const QUIET: Duration = Duration::from_secs(1);

type Answer = std::result::Result<(), MultipathdError>;

/// Removes the maps, and returns which are removed. multipathd refuses to remove a map that is
/// open; then those that were removed before are made again. Afterwards takes the leaving paths out
/// of the maps that stay, so that the I/O on them completes. By force, no removal starts after half
/// of the time: the other half is for the sessions.
pub(super) async fn remove(
    engine: &Engine,
    plan: &Plan,
    force: bool,
    limit: &Limit,
) -> Result<BTreeSet<Map>> {
    let multipathd = &engine.state.multipathd;
    let half = Instant::now() + limit.left() / 2;
    let mut removed = BTreeSet::new();
    for map in &plan.maps {
        let name = map.name.as_str();
        if force {
            if Instant::now() >= half {
                tracing::warn!(map = name, "timed out waiting for multipathd: continuing without it");
                break;
            }
            // Without this, I/O that waits for a path would wait for ever.
            log_refusal(name, "stop queueing", &ask(multipathd, name, Multipathd::stop_queueing).await?);
            if log_refusal(name, "remove", &ask(multipathd, name, Multipathd::remove_map).await?) {
                removed.insert(map.clone());
            }
            continue;
        }
        // Repeats for a moment: udev and blkid open a new map briefly to probe it.
        let mut attempt = Removed { multipathd, name, refused: None };
        let answer = match engine.state.watch.until(&mut attempt, &Limit::of(GLANCE)).await? {
            Some(answer) => answer,
            None => attempt.refused.map_or(Ok(()), Err),
        };
        if let Err(error) = answer {
            make_again(multipathd, &removed).await?;
            return Err(kept(name, error, &removed));
        }
        removed.insert(map.clone());
    }
    for path in plan.leaving_paths() {
        if force && Instant::now() >= half {
            break;
        }
        // If it stays in the map, I/O on it fails, and the kernel continues on another path.
        log_refusal(&path, "take out the path", &ask(multipathd, &path, Multipathd::remove_path).await?);
    }
    Ok(removed)
}

/// multipathd has removed the map, or does not answer.
struct Removed<'a> {
    multipathd: &'a Multipathd,
    name: &'a str,
    /// Why it did not, at the last attempt.
    refused: Option<MultipathdError>,
}

impl Predicate for Removed<'_> {
    type Is = Answer;

    async fn look(&mut self) -> Result<Option<Answer>> {
        match ask(self.multipathd, self.name, Multipathd::remove_map).await? {
            Err(error @ MultipathdError::Refused(_)) => {
                self.refused = Some(error);
                Ok(None)
            }
            answer => Ok(Some(answer)),
        }
    }
}

async fn ask(
    multipathd: &Multipathd,
    name: &str,
    command: impl FnOnce(&Multipathd, &str) -> Answer + Send + 'static,
) -> Result<Answer> {
    let (multipathd, name) = (multipathd.clone(), name.to_owned());
    asking_multipathd(move || command(&multipathd, &name)).await
}

/// Makes I/O that waits for a path of these maps fail.
pub(super) async fn stop_queueing(engine: &Engine, plan: &Plan) -> Result<()> {
    for map in &plan.maps {
        let answer = ask(&engine.state.multipathd, &map.name, Multipathd::stop_queueing).await?;
        log_refusal(&map.name, "stop queueing", &answer);
    }
    Ok(())
}

/// Undoes `stop_queueing` where the map stays: multipathd would not let it queue again without being asked to.
pub(super) async fn queue_again(multipathd: &Multipathd, maps: &BTreeSet<Map>) -> Result<()> {
    for map in maps {
        let answer = ask(multipathd, &map.name, Multipathd::restore_queueing).await?;
        log_refusal(&map.name, "queue again", &answer);
    }
    Ok(())
}

/// What was done for the sessions that remain.
pub(super) struct Restored {
    /// Removed maps that are there again.
    pub(super) again: BTreeSet<Map>,
    /// Maps that were not removed, and queue again as they did.
    pub(super) queueing: BTreeSet<Map>,
}

/// Restores the paths of the remaining sessions after a logout that failed, and of the maps that have one: the `removed`,
/// and the queueing of the others. For the maps, the paths of sessions that are `going` do not count.
pub(super) async fn restore(
    engine: &Engine,
    plan: &Plan,
    removed: &BTreeSet<Map>,
    going: &BTreeSet<u32>,
) -> Result<Restored> {
    let multipathd = &engine.state.multipathd;
    let (maps, paths) = {
        let (sysfs, plan, going) = (engine.state.sysfs.clone(), plan.clone(), going.clone());
        reading(move || still_there(&sysfs, &plan, &going)).await?
    };
    let (again, queueing) = maps.into_iter().partition(|map| removed.contains(map));
    let again = make_again(multipathd, &again).await?;
    queue_again(multipathd, &queueing).await?;
    for path in &paths {
        log_refusal(path, "put back the path", &ask(multipathd, path, Multipathd::add_path).await?);
    }
    Ok(Restored { again, queueing })
}

/// The maps of the plan that keep a path, and the paths of others. Blocks.
fn still_there(sysfs: &Sysfs, plan: &Plan, going: &BTreeSet<u32>) -> (BTreeSet<Map>, Vec<String>) {
    let is_its = |sid: u32| plan.sids.contains(&sid) && !going.contains(&sid);
    let stays = |disk: &Disk| sysfs.session_of_disk(&disk.name).is_some_and(is_its);
    let has_path =
        |map: &&Map| plan.disks.iter().any(|(disk, _)| disk.map.as_ref() == Some(*map) && stays(disk));
    let is_there = |name: &String| sysfs.number(name).is_some();
    (
        plan.maps.iter().filter(has_path).cloned().collect(),
        plan.leaving_paths().into_iter().filter(is_there).collect(),
    )
}

/// Returns those that are there again.
async fn make_again(multipathd: &Multipathd, maps: &BTreeSet<Map>) -> Result<BTreeSet<Map>> {
    let mut made = BTreeSet::new();
    for map in maps {
        if log_refusal(&map.name, "make again", &ask(multipathd, &map.wwid, Multipathd::add_map).await?) {
            made.insert(map.clone());
        }
    }
    Ok(made)
}

/// In a forced logout, makes I/O to the maps that are still in use fail instead of waiting for a path
/// for ever, in a task of its own. multipathd goes back to queueing whenever it lays out a map of
/// which it still knows a path, so this ends only when it has seen the last path leave and has
/// nothing more to do, or the task is aborted.
pub(super) fn let_go(engine: &Engine, plan: &Plan, maps: BTreeSet<Map>) -> AbortHandle {
    let State { watch, sysfs, multipathd, .. } = &engine.state;
    let (sysfs, multipathd, sids) = (sysfs.clone(), multipathd.clone(), plan.sids.clone());
    let mut left = LeftMaps { sysfs, multipathd, sids, maps, quiet_since: None };
    let (watch, at_work) = (watch.clone(), engine.turns.activity.begin());
    let task = tokio::spawn(async move {
        match watch.until(&mut left, &Limit::of(LET_GO)).await {
            Ok(Some(())) => {}
            Ok(None) => {
                let maps = left.maps.iter().map(|map| map.name.as_str()).collect::<Vec<_>>();
                tracing::warn!(?maps, "multipathd may let I/O to these maps wait for a path");
            }
            Err(fault) => tracing::warn!(error = fault.message(), "cannot query multipathd"),
        }
        drop(at_work);
    });
    task.abort_handle()
}

/// No map has a path any more, and none queues.
struct LeftMaps {
    sysfs: Sysfs,
    multipathd: Multipathd,
    /// The sessions whose disks have left.
    sids: BTreeSet<u32>,
    /// Those that are still there.
    maps: BTreeSet<Map>,
    /// Since when that has been so.
    quiet_since: Option<Instant>,
}

impl Predicate for LeftMaps {
    type Is = ();

    async fn look(&mut self) -> Result<Option<()>> {
        let (sysfs, multipathd) = (self.sysfs.clone(), self.multipathd.clone());
        let (sids, mut maps) = (self.sids.clone(), self.maps.clone());
        let looking = asking_multipathd(move || {
            maps.retain(|map| is_left(&sysfs, map, &sids));
            let is_quiet = !maps.is_empty() && hush(&multipathd, &maps);
            (maps, is_quiet)
        });
        let is_quiet;
        (self.maps, is_quiet) = looking.await?;
        if self.maps.is_empty() {
            return Ok(Some(()));
        }
        if !is_quiet {
            self.quiet_since = None;
            return Ok(None);
        }
        // multipathd forgets the last path a moment before it goes back to queueing.
        let quiet = self.quiet_since.get_or_insert_with(Instant::now).elapsed();
        Ok((quiet >= QUIET).then_some(()))
    }
}

/// The map is there, and no disk of a session that came since is in it: it may have the name and the
/// address of one that has left.
fn is_left(sysfs: &Sysfs, map: &Map, gone: &BTreeSet<u32>) -> bool {
    let is_it = |(_, uuid)| uuid == format!("mpath-{}", map.wwid);
    let has_left = |disk: &String| sysfs.session_of_disk(disk).is_some_and(|sid| gone.contains(&sid));
    let is_new = |disk: &String| sysfs.address(disk).is_some() && !has_left(disk);
    sysfs.dm(&map.device).is_some_and(is_it) && !sysfs.slaves(&map.device).iter().any(is_new)
}

/// Has multipathd stop queueing. Returns whether nothing is left to do for it. Blocks.
fn hush(multipathd: &Multipathd, maps: &BTreeSet<Map>) -> bool {
    let states = match multipathd.maps() {
        Ok(states) => states,
        // Then nobody goes back to queueing.
        Err(MultipathdError::NotRunning { .. }) => return true,
        // Busy with the same paths.
        Err(error) => {
            tracing::debug!(%error, "cannot query multipathd");
            return false;
        }
    };
    let mut is_quiet = true;
    for (map, state) in maps.iter().filter_map(|map| Some((map, states.get(&map.name)?))) {
        if state.is_queueing {
            log_refusal(&map.name, "stop queueing", &multipathd.stop_queueing(&map.name));
        }
        is_quiet &= state.paths == 0 && !state.is_queueing;
    }
    is_quiet && !multipathd.is_busy().unwrap_or(true)
}

/// Which map stays and why, and what happened to those before it.
fn kept(name: &str, error: MultipathdError, removed: &BTreeSet<Map>) -> Fault {
    let before = removed.iter().map(|map| map.name.as_str()).collect::<Vec<_>>().join(", ");
    let stand = match before.as_str() {
        "" => "nothing was torn down".to_owned(),
        maps => format!("maps removed before it and made again: {maps}; no session was ended"),
    };
    match error {
        MultipathdError::Refused(why) => Fault::new(
            Kind::InUse,
            format!("multipathd keeps the map {name} ({why}): something has it open; {stand}"),
        )
        .hint("stop what uses it, then log out again"),
        error => {
            let fault = Fault::from(error);
            let what = format!("removing the map {name}: {}; {stand}", fault.message());
            Fault::new(fault.kind(), what).hint(fault.next_step())
        }
    }
}

/// Returns whether it succeeded.
fn log_refusal(map: &str, what: &str, answer: &Answer) -> bool {
    if let Err(error) = answer {
        tracing::warn!(map, what, %error, "continuing without multipathd");
    }
    answer.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kernel::sysfs::tests::sample;

    #[test]
    fn a_map_is_not_left_once_a_disk_of_another_session_is_in_it_whatever_its_address() {
        let folder = sample();
        let sysfs = Sysfs::new(folder.path());
        let map = sysfs.sessions()[0].disks[0].map.clone().unwrap();
        std::fs::create_dir_all(folder.path().join("block/dm-0/slaves/sda")).unwrap();
        let lun = folder.path().join("devices/platform/host3/session1/target3:0:0/3:0:0:0");
        std::os::unix::fs::symlink("../../../3:0:0:0", lun.join("block/sda/device")).unwrap();
        assert!(is_left(&sysfs, &map, &BTreeSet::from([1])));
        assert!(!is_left(&sysfs, &map, &BTreeSet::from([7])), "its host had the same number");
    }

    #[test]
    fn a_map_that_stays_says_what_became_of_those_before_it() {
        let map = |name: &str| Map { name: name.into(), ..Map::default() };
        let refused = || MultipathdError::Refused("map in use".into());
        let alone = kept("mpatha", refused(), &BTreeSet::new());
        assert!(alone.kind() == Kind::InUse && alone.message().ends_with("nothing was torn down"), "{alone}");
        let second = kept("mpathb", refused(), &BTreeSet::from([map("mpatha")]));
        assert!(second.message().contains("maps removed before it and made again: mpatha"), "{second}");
        let gone = kept(
            "mpatha",
            MultipathdError::NotRunning { start: "systemctl start it".to_owned() },
            &BTreeSet::new(),
        );
        assert!(gone.kind() == Kind::BackendUnavailable && !gone.next_step().is_empty(), "{gone}");
    }
}
