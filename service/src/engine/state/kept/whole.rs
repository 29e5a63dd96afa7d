//! The whole machine as the kernel shows it, and how an update reads no more of it than has changed.
//! Must not wait, or ask multipathd.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::backend::kernel::{
    sysfs::{Disk, Map, Scope, Session, Sysfs},
    uevents::Subjects,
};

/// What an event was about is read again by every update for so long: the kernel reports what it is about to do, and
/// multipathd is a moment behind.
pub(super) const SETTLES: Duration = Duration::from_secs(1);
/// Older than that, everything is read again: what is neither reported nor a state, such as an identifier that the
/// kernel reads again at a scan.
pub(super) const OLDEST: Duration = Duration::from_secs(10);
/// The states of all sessions and LUNs, which have no event, are not read more often.
const PAUSE: Duration = Duration::from_millis(100);
/// Nor more often than this many times what it takes.
const SHARE: u32 = 4;
/// Up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How far an update goes beyond what events report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// No further: what events report is seen in as little time as possible.
    Events,
    /// To the states of these sessions and their LUNs, which have no event, and to everything that is too old.
    Now(Scope),
}

impl Freshness {
    /// Everything.
    pub(crate) fn now() -> Self {
        Self::Now(Scope::all())
    }
}

/// What may have changed since the last update.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine::state) struct Changed {
    pub(in crate::engine::state) devices: Subjects,
    /// The targets of acts that have ended, in lower case.
    pub(in crate::engine::state) targets: BTreeSet<String>,
}

/// Sessions with their disks and maps.
#[derive(Debug)]
pub(in crate::engine::state) struct Whole {
    /// By number.
    sessions: Arc<Vec<Session>>,
    /// The maps without a path, by their devices.
    pathless: BTreeMap<String, Map>,
    /// Those with something on its way or out of order, of which not every change is reported.
    unsteady: BTreeSet<u32>,
    /// What is read again, until when.
    due_sessions: BTreeMap<u32, Instant>,
    due_maps: BTreeMap<String, Instant>,
    /// When a change was reported last.
    touched: Option<Instant>,
    good_until: Instant,
    /// When the states are to be read next.
    states: Instant,
}

/// What an update was about: what multipathd says of it may be other than before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::engine::state) struct Touched {
    /// The names of disks that are, or were, in these maps or sessions.
    pub(super) disks: BTreeSet<String>,
    /// The names of their maps.
    pub(super) maps: BTreeSet<String>,
}

/// What an update has found.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) sessions: Arc<Vec<Session>>,
    pub(super) pathless: Vec<Map>,
    /// Whether all of it was read.
    pub(super) is_anew: bool,
    pub(super) touched: Touched,
    /// When a change was reported last.
    pub(super) at: Option<Instant>,
    pub(super) is_steady: bool,
}

impl Whole {
    /// Reads everything.
    pub(in crate::engine::state) fn read(sysfs: &Sysfs, now: Instant) -> Self {
        let sessions = sysfs.sessions();
        let unsteady = sessions.iter().filter(|session| !session.is_steady());
        let pathless = sysfs.pathless_maps().into_iter();
        Self {
            unsteady: unsteady.map(|session| session.sid).collect(),
            sessions: Arc::new(sessions),
            pathless: pathless.map(|map| (map.device.clone(), map)).collect(),
            due_sessions: BTreeMap::new(),
            due_maps: BTreeMap::new(),
            touched: None,
            good_until: now + OLDEST,
            states: now + PAUSE,
        }
    }

    /// The same, as it is after these changes. What they are about is still settling.
    pub(super) fn read_after(sysfs: &Sysfs, changed: &Changed, now: Instant) -> Self {
        let mut whole = Self::read(sysfs, now);
        whole.note(changed, now);
        if changed.devices.everything {
            (whole.touched, whole.good_until) = (Some(now), now + SETTLES / 2);
        }
        whole
    }

    #[cfg(any(test, feature = "measure"))]
    pub(in crate::engine::state) fn sessions(&self) -> &Arc<Vec<Session>> {
        &self.sessions
    }

    /// What there is now; after an update, with what that was about.
    pub(super) fn seen(&self, touched: Option<Touched>) -> Seen {
        Seen {
            sessions: Arc::clone(&self.sessions),
            pathless: self.pathless.values().cloned().collect(),
            is_anew: touched.is_none(),
            touched: touched.unwrap_or_default(),
            at: self.touched,
            is_steady: self.unsteady.is_empty(),
        }
    }

    /// Whether it need not be read from the start.
    pub(super) fn is_good_at(&self, now: Instant) -> bool {
        now < self.good_until
    }

    /// Reads again what has changed, and what is settling.
    pub(in crate::engine::state) fn update(
        &mut self,
        sysfs: &Sysfs,
        changed: &Changed,
        freshness: &Freshness,
        now: Instant,
    ) -> Touched {
        self.note(changed, now);
        let mut touched = Touched::default();
        self.add_touched(&mut touched);
        let mut sids = self.due(sysfs);
        let scope = match freshness {
            Freshness::Now(scope) if !scope.is_all() || now >= self.states => Some(scope),
            _ => None,
        };
        let begun = Instant::now();
        let read = sysfs.again(&mut sids, &self.sessions, scope);
        self.replace(&sids, read);
        if scope.is_some_and(Scope::is_all) {
            self.states = now + begun.elapsed().saturating_mul(SHARE).clamp(PAUSE, LONGEST_PAUSE);
        }
        for device in self.due_maps.keys() {
            match sysfs.pathless_map(device) {
                Some(map) => drop(self.pathless.insert(device.clone(), map)),
                None => drop(self.pathless.remove(device)),
            }
        }
        self.add_touched(&mut touched);
        self.due_sessions.retain(|_, until| now < *until);
        self.due_maps.retain(|_, until| now < *until);
        touched
    }

    fn note(&mut self, changed: &Changed, now: Instant) {
        let Changed { devices, targets } = changed;
        if devices.is_nothing() && targets.is_empty() {
            return;
        }
        let until = now + SETTLES;
        let is_of =
            |session: &&Session| !targets.is_empty() && targets.contains(&session.target.to_lowercase());
        let acted_on = self.sessions.iter().filter(is_of).map(|session| session.sid);
        self.due_sessions.extend(acted_on.chain(devices.sessions.iter().copied()).map(|sid| (sid, until)));
        self.due_maps.extend(devices.maps.iter().map(|device| (device.clone(), until)));
        self.touched = Some(now);
    }

    /// The sessions to read again.
    fn due(&self, sysfs: &Sysfs) -> BTreeSet<u32> {
        let mut sids: BTreeSet<u32> = self.due_sessions.keys().chain(&self.unsteady).copied().collect();
        if !self.due_maps.is_empty() {
            let with_map =
                self.sessions.iter().filter(|session| session.disks.iter().any(|disk| self.is_in_due(disk)));
            sids.extend(with_map.map(|session| session.sid));
            sids.extend(self.due_maps.keys().flat_map(|device| sysfs.sessions_below(device)));
        }
        sids
    }

    fn is_in_due(&self, disk: &Disk) -> bool {
        disk.map.as_ref().is_some_and(|map| self.due_maps.contains_key(&map.device))
    }

    fn add_touched(&self, touched: &mut Touched) {
        let mut add = |disk: &Disk| {
            touched.disks.insert(disk.name.clone());
            touched.maps.extend(disk.map.as_ref().map(|map| map.name.clone()));
        };
        for sid in self.due_sessions.keys() {
            let place = self.sessions.binary_search_by_key(sid, |session| session.sid);
            let session = place.ok().and_then(|at| self.sessions.get(at));
            session.into_iter().flat_map(|session| &session.disks).for_each(&mut add);
        }
        if !self.due_maps.is_empty() {
            let disks = self.sessions.iter().flat_map(|session| &session.disks);
            disks.filter(|disk| self.is_in_due(disk)).for_each(&mut add);
        }
    }

    /// Puts what was read of these sessions in the place of what was known of them. Whoever has that keeps it.
    fn replace(&mut self, sids: &BTreeSet<u32>, read: Vec<Session>) {
        let mut read: BTreeMap<u32, Session> =
            read.into_iter().map(|session| (session.sid, session)).collect();
        for sid in sids {
            let place = self.sessions.binary_search_by_key(sid, |session| session.sid);
            let now = read.remove(sid);
            match &now {
                Some(session) if !session.is_steady() => drop(self.unsteady.insert(*sid)),
                _ => drop(self.unsteady.remove(sid)),
            }
            match (place, now) {
                (Ok(at), Some(session)) => {
                    if self.sessions.get(at) != Some(&session)
                        && let Some(known) = Arc::make_mut(&mut self.sessions).get_mut(at)
                    {
                        *known = session;
                    }
                }
                (Err(at), Some(session)) => Arc::make_mut(&mut self.sessions).insert(at, session),
                (Ok(at), None) => drop(Arc::make_mut(&mut self.sessions).remove(at)),
                (Err(_), None) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
