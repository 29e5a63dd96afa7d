//! The whole machine as the kernel shows it, and how an update reads no more of it than has changed.
//! Must not wait, or ask multipathd.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    backend::kernel::{
        sysfs::{Disk, Map, Scope, Session, Sysfs},
        uevents::Subjects,
    },
    engine::state::snapshot::Sessions,
};

/// What an event was about is read again by every update for so long: the kernel reports what it is about to do, and
/// multipathd is a moment behind.
pub(super) const SETTLES: Duration = Duration::from_secs(1);
/// Older than that, everything is read again: what is neither reported nor a state, such as an identifier that the
/// kernel reads again at a scan.
pub(super) const OLDEST: Duration = Duration::from_secs(10);
/// The states of all sessions and LUNs, which have no event, are not read more often.
const PAUSE: Duration = Duration::from_millis(100);
/// Nor for more than a tenth of the time.
const SHARE: u32 = 10;
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
    sessions: Sessions,
    /// The numbers of those with a disk in a map, by the map's device.
    members: Members,
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
    pub(in crate::engine::state) disks: BTreeSet<String>,
    /// The names of their maps.
    pub(super) maps: BTreeSet<String>,
}

/// What an update has found.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) sessions: Sessions,
    /// Whether any disk is in a map.
    pub(super) has_map: bool,
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
        let sessions: Vec<_> = sysfs.sessions().into_iter().map(Arc::new).collect();
        let unsteady = sessions.iter().filter(|session| !session.is_steady());
        let mut members = Members::default();
        sessions.iter().for_each(|session| members.add(session));
        let pathless = sysfs.pathless_maps().into_iter();
        Self {
            unsteady: unsteady.map(|session| session.sid).collect(),
            sessions: Arc::new(sessions),
            members,
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
    pub(in crate::engine::state) fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// What there is now; after an update, with what that was about.
    pub(super) fn seen(&self, touched: Option<Touched>) -> Seen {
        Seen {
            sessions: Arc::clone(&self.sessions),
            has_map: !self.members.is_empty(),
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
        let mut sids: BTreeSet<u32> = self.due_sessions.keys().chain(&self.unsteady).copied().collect();
        let mut read = Vec::new();
        for (sid, luns) in self.due_luns(sysfs) {
            if sids.contains(&sid) {
                continue;
            }
            match self.session(sid).and_then(|known| sysfs.with_luns(known, &luns)) {
                Some(session) => read.push(session),
                None => drop(sids.insert(sid)),
            }
        }
        let scope = match freshness {
            Freshness::Now(scope) if !scope.is_all() || now >= self.states => Some(scope),
            _ => None,
        };
        let begun = Instant::now();
        let of_maps: BTreeSet<u32> = read.iter().map(|session| session.sid).collect();
        // What is read of a whole session comes last, and counts.
        read.extend(sysfs.again(&mut sids, &self.sessions, scope));
        sids.extend(of_maps);
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
            |session: &&Arc<Session>| !targets.is_empty() && targets.contains(&session.target.to_lowercase());
        let acted_on = self.sessions.iter().filter(is_of).map(|session| session.sid);
        self.due_sessions.extend(acted_on.chain(devices.sessions.iter().copied()).map(|sid| (sid, until)));
        self.due_maps.extend(devices.maps.iter().map(|device| (device.clone(), until)));
        self.touched = Some(now);
    }

    /// The LUNs to read again because of their maps, by their sessions: what was in the maps, and what is.
    fn due_luns(&self, sysfs: &Sysfs) -> BTreeMap<u32, BTreeSet<String>> {
        let mut luns: BTreeMap<u32, BTreeSet<String>> = BTreeMap::new();
        for device in self.due_maps.keys() {
            let known = self.disks_of(device).map(|(sid, disk)| (sid, disk.address()));
            for (sid, address) in known.chain(sysfs.luns_below(device)) {
                luns.entry(sid).or_default().insert(address);
            }
        }
        luns
    }

    /// The disks that are known to be in a map, each with its session.
    fn disks_of(&self, device: &str) -> impl Iterator<Item = (u32, &Disk)> {
        let sessions = self.members.of(device).filter_map(move |sid| self.session(sid));
        let disks = sessions.flat_map(|session| session.disks.iter().map(move |disk| (session.sid, disk)));
        disks.filter(move |(_, disk)| disk.map.as_ref().is_some_and(|map| map.device == device))
    }

    fn session(&self, sid: u32) -> Option<&Session> {
        let place = self.sessions.binary_search_by_key(&sid, |session| session.sid).ok()?;
        self.sessions.get(place).map(Arc::as_ref)
    }

    fn add_touched(&self, touched: &mut Touched) {
        let of_sessions = self.due_sessions.keys().filter_map(|sid| self.session(*sid));
        let all = of_sessions.flat_map(|session| &session.disks);
        let of_maps = self.due_maps.keys().flat_map(|device| self.disks_of(device)).map(|(_, disk)| disk);
        for disk in all.chain(of_maps) {
            touched.disks.insert(disk.name.clone());
            touched.maps.extend(disk.map.as_ref().map(|map| map.name.clone()));
        }
    }

    /// Puts what was read of these sessions in the place of what was known of them. Whoever has that keeps it.
    fn replace(&mut self, sids: &BTreeSet<u32>, read: Vec<Session>) {
        let mut read: BTreeMap<u32, Session> =
            read.into_iter().map(|session| (session.sid, session)).collect();
        for sid in sids {
            let place = self.sessions.binary_search_by_key(sid, |session| session.sid);
            let known = place.ok().and_then(|at| self.sessions.get(at));
            let now = read.remove(sid);
            if known.map(Arc::as_ref) == now.as_ref() {
                continue;
            }
            if let Some(known) = known {
                self.members.remove(known);
            }
            if let Some(now) = &now {
                self.members.add(now);
            }
            match now.as_ref().is_some_and(|session| !session.is_steady()) {
                true => drop(self.unsteady.insert(*sid)),
                false => drop(self.unsteady.remove(sid)),
            }
            // Who has the list has a copy of it from now on: of pointers, the sessions are where they were.
            let sessions = Arc::make_mut(&mut self.sessions);
            match (place, now.map(Arc::new)) {
                (Ok(at), Some(now)) => drop(sessions.get_mut(at).map(|known| *known = now)),
                (Err(at), Some(now)) => sessions.insert(at, now),
                (Ok(at), None) => drop(sessions.remove(at)),
                (Err(_), None) => {}
            }
        }
    }
}

/// The sessions that have a disk in a map, by the map's device: an event of a map costs no look at the others.
#[derive(Debug, Default, PartialEq, Eq)]
struct Members(BTreeMap<String, BTreeSet<u32>>);

impl Members {
    fn add(&mut self, session: &Session) {
        for map in session.disks.iter().filter_map(|disk| disk.map.as_ref()) {
            match self.0.get_mut(&map.device) {
                Some(sids) => drop(sids.insert(session.sid)),
                None => drop(self.0.insert(map.device.clone(), BTreeSet::from([session.sid]))),
            }
        }
    }

    fn remove(&mut self, session: &Session) {
        for map in session.disks.iter().filter_map(|disk| disk.map.as_ref()) {
            if let Some(sids) = self.0.get_mut(&map.device) {
                sids.remove(&session.sid);
                if sids.is_empty() {
                    self.0.remove(&map.device);
                }
            }
        }
    }

    fn of(&self, device: &str) -> impl Iterator<Item = u32> {
        self.0.get(device).into_iter().flatten().copied()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests;
