//! The maps go before their disks: that is where the kernel itself refuses what is still open.
//! It may not remove a map that another session carries.

use std::{collections::BTreeSet, time::Duration};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use tokio::time::Instant;

use super::{
    super::{Engine, blocking},
    AGAIN, GLANCE,
    plan::Plan,
};
use crate::backend::{
    kernel::sysfs::Map,
    multipath::daemon::{Multipathd, MultipathdError},
};

/// How long multipathd may take to see that the paths have gone.
const NOTICE: Duration = Duration::from_secs(20);

impl Engine {
    /// Removes the maps; multipathd refuses a map that anything has open, and then those that were removed
    /// before it are made again. Then takes the paths that leave out of the maps that stay, so that what
    /// is on its way through them comes to its end. Answers which maps are removed. By force none is begun after half
    /// of the time that there is: the other half is the sessions'.
    pub(super) async fn remove_maps(
        &self,
        plan: &Plan,
        force: bool,
        deadline: Instant,
    ) -> Result<BTreeSet<Map>> {
        let (multipathd, plan) = (self.multipathd.clone(), plan.clone());
        let half = std::time::Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        blocking(move || {
            let mut removed = BTreeSet::new();
            for map in &plan.maps {
                let name = map.name.as_str();
                if force && std::time::Instant::now() >= half {
                    tracing::warn!(map = name, "multipathd takes too long: going on without it");
                    break;
                }
                if force {
                    // Without this, what waits for a path would wait for ever.
                    log_refusal(name, "stop queueing", multipathd.stop_queueing(name));
                    if log_refusal(name, "remove", multipathd.remove_map(name)) {
                        removed.insert(map.clone());
                    }
                    continue;
                }
                if let Err(error) = remove_patiently(&multipathd, name) {
                    make_again(&multipathd, &removed);
                    return Err(kept(name, error, &removed));
                }
                removed.insert(map.clone());
            }
            for path in plan.leaving_paths() {
                if force && std::time::Instant::now() >= half {
                    break;
                }
                // If it stays in the map it fails there, and the kernel goes on with another.
                log_refusal(&path, "take out the path", multipathd.remove_path(&path));
            }
            Ok(removed)
        })
        .await?
    }

    /// What waits for a path of these maps gets an error instead.
    pub(super) async fn stop_queueing(&self, plan: &Plan) -> Result<()> {
        let (multipathd, maps) = (self.multipathd.clone(), plan.maps.clone());
        blocking(move || {
            for map in maps {
                log_refusal(&map.name, "stop queueing", multipathd.stop_queueing(&map.name));
            }
        })
        .await
    }

    /// After a logout that failed: the paths of what is still there, and these maps of it.
    pub(super) async fn restore_maps(&self, plan: &Plan, maps: BTreeSet<Map>) -> Result<()> {
        let (multipathd, plan, sysfs) = (self.multipathd.clone(), plan.clone(), self.sysfs.clone());
        blocking(move || {
            let is_there = |name: &str| sysfs.number(name).is_some();
            let left = |map: &Map| {
                plan.disks.iter().any(|(disk, _)| disk.map.as_ref() == Some(map) && is_there(&disk.name))
            };
            make_again(&multipathd, &maps.into_iter().filter(left).collect());
            for path in plan.leaving_paths().iter().filter(|path| is_there(path)) {
                log_refusal(path, "put back the path", multipathd.add_path(path));
            }
        })
        .await
    }
}

/// After `stop_queueing`, where the map stays.
pub(super) fn queue_again(multipathd: &Multipathd, maps: &BTreeSet<Map>) {
    for map in maps {
        log_refusal(&map.name, "queue again", multipathd.restore_queueing(&map.name));
    }
}

fn make_again(multipathd: &Multipathd, maps: &BTreeSet<Map>) {
    for map in maps {
        log_refusal(&map.name, "make again", multipathd.add_map(&map.wwid));
    }
}

/// Again and again for a moment: udev and blkid open a new map for a short while to look at it.
fn remove_patiently(multipathd: &Multipathd, name: &str) -> std::result::Result<(), MultipathdError> {
    let last = std::time::Instant::now() + GLANCE;
    loop {
        match multipathd.remove_map(name) {
            Err(MultipathdError::Refused(_)) if std::time::Instant::now() < last => {
                std::thread::sleep(AGAIN);
            }
            result => return result,
        }
    }
}

/// After a forced logout: what still uses a map gets errors, instead of waiting for ever for a path.
/// multipathd goes back to queueing when it sees a path leave, so this is over when it has seen the last.
pub(super) async fn let_go(multipathd: Multipathd, mut maps: BTreeSet<Map>) {
    let last = Instant::now() + NOTICE;
    while !maps.is_empty() && Instant::now() < last {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let multipathd = multipathd.clone();
        let look = move || {
            let states = multipathd.maps()?;
            maps.retain(|map| match states.get(&map.name) {
                None => false,
                Some(state) if state.paths == 0 && state.is_queueing => {
                    log_refusal(&map.name, "stop queueing", multipathd.stop_queueing(&map.name));
                    true
                }
                Some(state) => state.paths > 0,
            });
            Ok::<_, MultipathdError>(maps)
        };
        match blocking(look).await {
            Ok(Ok(left)) => maps = left,
            Ok(Err(error)) => return tracing::warn!(%error, "multipathd could not be asked"),
            Err(_) => return,
        }
    }
}

/// Which map stays and why, and what became of those before it.
fn kept(name: &str, error: MultipathdError, removed: &BTreeSet<Map>) -> Fault {
    let before = removed.iter().map(|map| map.name.as_str()).collect::<Vec<_>>().join(", ");
    let stand = match before.as_str() {
        "" => "nothing was torn down".to_owned(),
        maps => format!("{maps} was removed before it and is made again, no session was ended"),
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

/// Whether it was done.
fn log_refusal(map: &str, what: &str, result: std::result::Result<(), MultipathdError>) -> bool {
    if let Err(error) = &result {
        tracing::warn!(map, what, %error, "going on without multipathd");
    }
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_that_stays_says_what_became_of_those_before_it() {
        let map = |name: &str| Map { name: name.into(), ..Map::default() };
        let refused = || MultipathdError::Refused("map in use".into());
        let alone = kept("mpatha", refused(), &BTreeSet::new());
        assert!(alone.kind() == Kind::InUse && alone.message().ends_with("nothing was torn down"), "{alone}");
        let second = kept("mpathb", refused(), &BTreeSet::from([map("mpatha")]));
        assert!(second.message().contains("mpatha was removed before it and is made again"), "{second}");
        let gone = kept("mpatha", MultipathdError::NotRunning, &BTreeSet::new());
        assert!(gone.kind() == Kind::BackendUnavailable && !gone.next_step().is_empty(), "{gone}");
    }
}
