//! What is kept of the last look at the whole machine, so that the next one reads what has changed since.
//!
//! The kernel reports which session or map has changed (`Watch::changed_devices`). What it does not report is read
//! each time or from time to time; `docs/architecture.md` says what, and how old it may be. Acts do not use it:
//! what they decide rests on a look of their own.
//!
//! | room | what it is |
//! |---|---|
//! | `replies` | what multipathd last said of the paths |
//! | `turns` | one update at a time, and one for all that wait for it |
//! | `whole` | the machine as the kernel shows it, and its update |

mod replies;
mod turns;
pub(super) mod whole;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use iscsi_initiator_dbus::{Iqn, fault::Result};

pub(crate) use self::whole::Freshness;
use self::{
    replies::Replies,
    turns::{Turn, Turns},
    whole::{Changed, Seen, Whole},
};
use super::{
    path_states::PathStates,
    reader::{Parts, State, maps_of},
    snapshot::Snapshot,
};
use crate::backend::{
    host::threads::reading,
    kernel::sysfs::{Map, Scope},
};

/// Acts on more targets than these are acts on all.
const MOST: usize = 64;

/// What is kept. Copies share it.
#[derive(Clone)]
pub(in crate::engine) struct Kept {
    state: State,
    turns: Turns,
    acted: Arc<Mutex<Acted>>,
    replies: Arc<Replies>,
}

/// What acts have changed since the last update.
#[derive(Debug, Default)]
struct Acted {
    on_all: bool,
    /// In lower case.
    targets: BTreeSet<String>,
}

/// The machine now.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Current {
    /// With the states of the paths, without nodes.
    pub(in crate::engine) snapshot: Snapshot,
    /// The maps without a path, if they are known.
    pub(in crate::engine) pathless: Option<Vec<Map>>,
}

impl Kept {
    pub(in crate::engine) fn new(state: &State) -> Self {
        let state = state.clone();
        Self { state, turns: Turns::default(), acted: Arc::default(), replies: Arc::default() }
    }

    /// An act has ended: what it changed is read again, also what the kernel does not report.
    pub(in crate::engine) fn acted_on(&self, target: Option<&Iqn>) {
        let mut acted = self.acted();
        match target {
            Some(target) if acted.targets.len() < MOST => drop(acted.targets.insert(target.canonical())),
            _ => acted.on_all = true,
        }
    }

    fn acted(&self) -> MutexGuard<'_, Acted> {
        self.acted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The whole machine with the states of the paths, for a user: what is kept, brought up to date.
    pub(in crate::engine) async fn current(
        &self,
        freshness: &Freshness,
        user: Option<u32>,
    ) -> Result<Current> {
        let Some(seen) = self.update(freshness).await? else {
            let snapshot = self.state.look(Parts::PATHS.for_user(user)).await?;
            return Ok(Current { snapshot, pathless: None });
        };
        let paths = match seen.has_map {
            true => self.replies.paths(&self.state, &seen, freshness).await,
            false => PathStates::default(),
        };
        let snapshot = Snapshot::shared(Arc::clone(&seen.sessions), Arc::default(), None, paths);
        Ok(Current { snapshot, pathless: Some(seen.pathless) })
    }

    /// These sessions, and of the others the disks that count as one with a disk of these, with the states of the
    /// paths, for a user. Only these are read where nothing is kept.
    pub(in crate::engine) async fn current_around(&self, scope: Scope, user: Option<u32>) -> Result<Current> {
        let is_other_everywhere = self.acted().on_all;
        let seen = match is_other_everywhere {
            true => None,
            false => self.update_if_good(&Freshness::Now(scope.clone())).await?,
        };
        let Some(seen) = seen else {
            return Ok(Current { snapshot: self.state.paths_around(scope, user).await?, pathless: None });
        };
        let sessions = scope.around(&seen.sessions);
        let maps = maps_of(&sessions);
        let paths = match self.replies.known(&seen).await {
            Some(paths) => paths,
            None if maps.is_empty() => PathStates::default(),
            None => self.state.paths(user, move |multipathd| multipathd.paths_of(&maps)).await.into(),
        };
        let snapshot = Snapshot::shared(Arc::new(sessions), Arc::default(), None, paths);
        Ok(Current { snapshot, pathless: Some(seen.pathless) })
    }

    /// Brings what is kept up to date. `None` if another update hangs.
    async fn update(&self, freshness: &Freshness) -> Result<Option<Seen>> {
        match self.turns.take(freshness).await {
            Some(Turn::Mine(turn)) => self.take_turn(turn, freshness).await.map(Some),
            Some(Turn::Served(seen)) => Ok(Some(seen)),
            None => Ok(None),
        }
    }

    /// The same; `None` also if everything would have to be read.
    async fn update_if_good(&self, freshness: &Freshness) -> Result<Option<Seen>> {
        match self.turns.take_if_kept(freshness).await {
            Some(Turn::Mine(turn)) if turn.is_good_at(Instant::now()) => {
                self.take_turn(turn, freshness).await.map(Some)
            }
            Some(Turn::Served(seen)) => Ok(Some(seen)),
            Some(Turn::Mine(_)) | None => Ok(None),
        }
    }

    async fn take_turn(&self, mut turn: turns::Mine, freshness: &Freshness) -> Result<Seen> {
        let (kept, freshness) = (self.clone(), freshness.clone());
        // Brought to its end whatever becomes of the call: no event is lost.
        reading(move || {
            turn.begin();
            let seen = kept.updated(turn.whole(), &freshness);
            turn.end(&freshness, &seen);
            seen
        })
        .await
    }

    fn updated(&self, kept: &mut Option<Whole>, freshness: &Freshness) -> Seen {
        let Acted { on_all, targets } = std::mem::take(&mut *self.acted());
        let devices = self.state.watch.changed_devices();
        let is_heard = devices.is_some();
        let mut changed = Changed { devices: devices.unwrap_or_default(), targets };
        changed.devices.everything |= on_all;
        let now = Instant::now();
        let is_good = |whole: &Whole| *freshness == Freshness::Events || whole.is_good_at(now);
        let known = kept.take().filter(|whole| is_heard && !changed.devices.everything && is_good(whole));
        let (whole, touched) = match known {
            Some(mut whole) => {
                let touched = whole.update(&self.state.sysfs, &changed, freshness, now);
                (whole, Some(touched))
            }
            None => (Whole::read_after(&self.state.sysfs, &changed, now), None),
        };
        let seen = whole.seen(touched);
        *kept = is_heard.then_some(whole);
        seen
    }
}

#[cfg(test)]
mod tests;
