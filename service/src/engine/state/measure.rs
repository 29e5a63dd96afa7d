//! What the benches measure: the parsers, a look at a machine, its update, and the difference of two looks.
//! Must not be part of a program: the feature `measure` is for benches.

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    kept::{
        Freshness,
        whole::{Changed, Whole},
    },
    path_states::PathStates,
    picture::{Found, Picture},
    snapshot::Snapshot,
};
use crate::backend::{
    kernel::{
        sysfs::{Scope, Sysfs},
        uevents::Subjects,
    },
    multipath::daemon,
    open_iscsi::database::record::Record,
};

/// The number of settings in the text of a record.
pub fn record(text: &[u8]) -> usize {
    Record::parse(text).pairs().count()
}

/// The number of paths in multipathd's `show maps json`; `None` if it cannot be parsed.
pub fn multipathd(answer: &[u8]) -> Option<usize> {
    daemon::parse(answer).ok().map(|paths| paths.len())
}

/// A machine whose sysfs is below a folder.
#[derive(Clone, Debug)]
pub struct Machine(Sysfs);

/// What a look has seen.
#[derive(Clone, Debug)]
pub struct Look(Snapshot);

impl Machine {
    /// The first look finds nothing remembered.
    pub fn new(sys: &Path) -> Self {
        Self(Sysfs::new(sys))
    }

    /// The whole machine.
    pub fn all(&self) -> Look {
        self.look(&Scope::all())
    }

    /// One target, and the disks of others that count as one with its own; `None` for a malformed name.
    pub fn target(&self, name: &str) -> Option<Look> {
        name.parse().ok().map(|name| self.look(&Scope::of([&name])))
    }

    fn look(&self, scope: &Scope) -> Look {
        Look(Snapshot::new(self.0.sessions_around(scope), Vec::new(), None, HashMap::new()))
    }
}

/// A machine that is kept up to date.
#[derive(Debug)]
pub struct Kept {
    sysfs: Sysfs,
    whole: Whole,
    now: Instant,
}

/// Between two updates: nothing is settling any more, and the states are due.
const LATER: Duration = Duration::from_secs(2);

impl Kept {
    /// Reads it for the first time.
    pub fn new(sys: &Path) -> Self {
        let (sysfs, now) = (Sysfs::new(sys), Instant::now());
        let whole = Whole::read(&sysfs, now);
        Self { sysfs, whole, now }
    }

    /// After an event, as the kernel sends it: what it is about is read again.
    pub fn after_event(&mut self, event: &[u8]) -> Look {
        let mut devices = Subjects::default();
        devices.add(event);
        self.update(&Changed { devices, ..Changed::default() }, &Freshness::Events)
    }

    /// While nothing is reported: the states of all sessions and LUNs are read.
    pub fn with_states(&mut self) -> Look {
        self.update(&Changed::default(), &Freshness::now())
    }

    fn update(&mut self, changed: &Changed, freshness: &Freshness) -> Look {
        self.now += LATER;
        self.whole.update(&self.sysfs, changed, freshness, self.now);
        Look(Snapshot::shared(Arc::clone(self.whole.sessions()), Arc::default(), None, PathStates::default()))
    }
}

/// A machine that is shown to a watcher.
#[derive(Debug)]
pub struct Shown {
    kept: Kept,
    paths: PathStates,
    picture: Picture,
}

impl Shown {
    /// Shows it for the first time.
    pub fn new(sys: &Path) -> Self {
        let kept = Kept::new(sys);
        let paths = kept.whole.sessions().iter().flat_map(|session| &session.disks).map(|disk| {
            let state = daemon::PathState {
                dm_state: "active".into(),
                checker_state: "ready".into(),
                group: 1,
                priority: 50,
            };
            (disk.name.clone(), state)
        });
        let paths = paths.collect::<HashMap<_, _>>().into();
        let mut shown = Self { kept, paths, picture: Picture::default() };
        shown.look();
        shown
    }

    /// Brings the picture up to date.
    fn look(&mut self) -> usize {
        self.picture.look_at(self.now(), Found::default()).len()
    }

    fn now(&self) -> Snapshot {
        Snapshot::shared(Arc::clone(self.kept.whole.sessions()), Arc::default(), None, self.paths.clone())
    }

    /// The objects, made anew.
    pub fn anew(&self) -> usize {
        let mut picture = Picture::default();
        picture.look_at(self.now(), Found::default());
        picture.objects().count()
    }

    /// After an event of a map one of whose paths failed, or returned: the number of objects that are other than before.
    pub fn after_event(&mut self, event: &[u8]) -> usize {
        let mut devices = Subjects::default();
        devices.add(event);
        self.kept.now += LATER;
        let changed = Changed { devices, ..Changed::default() };
        let touched = self.kept.whole.update(&self.kept.sysfs, &changed, &Freshness::Events, self.kept.now);
        let known = |disk: &String| Some((disk.clone(), self.paths.get(disk)?.clone()));
        let mut said: HashMap<_, _> = touched.disks.iter().filter_map(known).collect();
        if let Some(state) = touched.disks.first().and_then(|disk| said.get_mut(disk)) {
            state.dm_state = if state.dm_state == "active" { "failed" } else { "active" }.to_owned();
        }
        self.paths.replace(&touched.disks, said);
        self.look()
    }
}

impl Look {
    /// The number of paths.
    pub fn paths(&self) -> usize {
        self.0.disks().count()
    }

    /// The number of disks that appeared, changed or vanished until a later look.
    pub fn changes(&self, later: &Self) -> usize {
        let disks = self.0.diff(&later.0).disks;
        disks.appeared.len() + disks.changed.len() + disks.vanished.len()
    }

    /// The same machine with one disk less.
    #[must_use]
    pub fn without_one(&self) -> Self {
        let mut sessions = self.0.copies();
        if let Some(session) = sessions.last_mut() {
            session.disks.pop();
        }
        Self(Snapshot::new(sessions, Vec::new(), None, HashMap::new()))
    }
}
