//! Makes snapshots of sessions, disks, records and path states. A predicate that needs more than a
//! snapshot holds (udev's view, sizes, links) reads that itself.
//!
//! A snapshot takes time in proportion to what is asked about: some ten small files for each path, one or
//! two for each node, and one reply of multipathd. `docs/performance.md` has the figures.

use std::{
    borrow::Borrow,
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iscsi_initiator_dbus::{Iqn, fault::Result};

use super::{snapshot::Snapshot, watch::Watch};
use crate::backend::{
    host::{
        layout::Layout,
        threads::{asking_multipathd_for, reading},
    },
    kernel::{
        sysfs::{Scope, Session, Sysfs},
        udev::Udev,
    },
    multipath::daemon::{Multipathd, MultipathdError, PathState},
    open_iscsi::database::{Database, DatabaseError, Node, listing::Listing},
};

/// How long multipathd may take for the states of the paths. The kernel's view is complete without
/// them, and any local user may ask for it.
const PATHS: Duration = Duration::from_secs(4);

/// What a snapshot includes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Parts {
    nodes: bool,
    disks: bool,
    paths: bool,
    /// The user who asks for the paths; `None`: the daemon itself.
    user: Option<u32>,
}

impl Parts {
    /// Sessions with their disks and maps.
    pub(in crate::engine) const SESSIONS: Self = Self { nodes: false, disks: true, paths: false, user: None };
    /// The same, and nodes.
    pub(in crate::engine) const NODES: Self = Self { nodes: true, ..Self::SESSIONS };
    /// The same, and the states of the paths.
    pub(in crate::engine) const PATHS: Self = Self { paths: true, ..Self::SESSIONS };
    /// Nodes, and the sessions without their disks: which nodes have one.
    pub(in crate::engine) const RECORDS: Self = Self { nodes: true, disks: false, ..Self::SESSIONS };

    /// The same for a user, whose share of what asks multipathd counts.
    pub(in crate::engine) fn for_user(self, user: Option<u32>) -> Self {
        Self { user, ..self }
    }
}

/// What multipathd said of the paths.
#[derive(Debug)]
pub(super) enum Asked {
    Answered(HashMap<String, PathState>),
    NotRunning,
    /// It is in the log.
    Failed,
}

/// Reads the state, and holds the events that trigger reading it again.
#[derive(Clone)]
pub(in crate::engine) struct State {
    pub(in crate::engine) sysfs: Sysfs,
    pub(in crate::engine) udev: Udev,
    pub(in crate::engine) database: Database,
    pub(in crate::engine) multipathd: Multipathd,
    pub(in crate::engine) watch: Watch,
    /// Why nodes were left out of the last list, as it was logged.
    reported: Arc<Mutex<Option<String>>>,
}

impl State {
    pub(in crate::engine) fn new(layout: &Layout, database: &Database) -> Self {
        Self {
            sysfs: Sysfs::new(&layout.sys),
            udev: Udev::new(layout),
            database: database.clone(),
            multipathd: Multipathd::new(layout),
            watch: Watch::start(layout),
            reported: Arc::default(),
        }
    }

    /// Reads the whole machine. A database that cannot be opened is an error; what is left out of its
    /// nodes is not. Neither is a multipathd that does not answer, because the kernel's view is
    /// complete without it.
    pub(in crate::engine) async fn look(&self, parts: Parts) -> Result<Snapshot> {
        let nodes =
            move |database: &Database| if parts.nodes { database.list() } else { Ok(Listing::default()) };
        let sessions =
            move |sysfs: &Sysfs| if parts.disks { sysfs.sessions() } else { sysfs.sessions_without_disks() };
        let (sessions, listing) = self.read(sessions, nodes).await?;
        let paths = match parts.paths && !maps_of(&sessions).is_empty() {
            true => self.paths(parts.user, Multipathd::paths).await,
            false => HashMap::new(),
        };
        Ok(Snapshot::new(sessions, listing.nodes, listing.left_out, paths))
    }

    /// The sessions and nodes of these targets, however many others there are.
    pub(in crate::engine) async fn look_at(&self, targets: &[Iqn]) -> Result<Snapshot> {
        let (scope, targets) = (Scope::of(targets), targets.to_vec());
        let nodes = move |database: &Database| database.list_of(&targets);
        let (sessions, listing) = self.read(move |sysfs| sysfs.sessions_in(&scope), nodes).await?;
        Ok(Snapshot::new(sessions, listing.nodes, listing.left_out, HashMap::new()))
    }

    /// Every node alone; sorted.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>> {
        let (_, listing) = self.read(|_| Vec::new(), Database::list).await?;
        Ok(listing.nodes)
    }

    /// The nodes of these targets alone.
    pub(in crate::engine) async fn nodes_of(&self, targets: &[Iqn]) -> Result<Snapshot> {
        let targets = targets.to_vec();
        let nodes = move |database: &Database| database.list_of(&targets);
        let (_, listing) = self.read(|_| Vec::new(), nodes).await?;
        Ok(Snapshot::new(Vec::new(), listing.nodes, listing.left_out, HashMap::new()))
    }

    /// These sessions alone.
    pub(in crate::engine) async fn sessions(&self, scope: Scope) -> Result<Snapshot> {
        let none = |_: &Database| Ok(Listing::default());
        let (sessions, _) = self.read(move |sysfs| sysfs.sessions_in(&scope), none).await?;
        Ok(Snapshot::of_sessions(sessions))
    }

    /// These sessions, and of the others the disks that count as one with a disk of these. What is wrong
    /// with disks and their maps can be found in it, as far as these sessions are concerned.
    pub(in crate::engine) async fn sessions_around(&self, scope: Scope) -> Result<Snapshot> {
        let none = |_: &Database| Ok(Listing::default());
        let (sessions, _) = self.read(move |sysfs| sysfs.sessions_around(&scope), none).await?;
        Ok(Snapshot::of_sessions(sessions))
    }

    /// The same with the states of the paths, for a user.
    pub(in crate::engine) async fn paths_around(&self, scope: Scope, user: Option<u32>) -> Result<Snapshot> {
        let none = |_: &Database| Ok(Listing::default());
        let (sessions, _) = self.read(move |sysfs| sysfs.sessions_around(&scope), none).await?;
        let maps = maps_of(&sessions);
        let paths = match maps.is_empty() {
            true => HashMap::new(),
            false => self.paths(user, move |multipathd| multipathd.paths_of(&maps)).await,
        };
        Ok(Snapshot::new(sessions, Vec::new(), None, paths))
    }

    async fn read(
        &self,
        sessions: impl FnOnce(&Sysfs) -> Vec<Session> + Send + 'static,
        nodes: impl FnOnce(&Database) -> std::result::Result<Listing, DatabaseError> + Send + 'static,
    ) -> Result<(Vec<Session>, Listing)> {
        let state = self.clone();
        let reading = reading(move || {
            let sessions = sessions(&state.sysfs);
            let listing = nodes(&state.database)?;
            state.report(listing.left_out.as_deref());
            Ok::<_, DatabaseError>((sessions, listing))
        });
        Ok(reading.await??)
    }

    /// Logs why nodes are left out, once for each reason: any local user may list them.
    pub(in crate::engine) fn report(&self, left_out: Option<&str>) {
        let Some(why) = left_out else { return };
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.as_deref() != Some(why) {
            tracing::warn!(%why, "some node records are not listed");
            *reported = Some(why.to_owned());
        }
    }

    /// The maps that let I/O wait while no path works, by their names; as far as multipathd says.
    pub(in crate::engine) async fn queueing_maps(&self) -> BTreeSet<String> {
        let multipathd = self.multipathd.clone();
        // What is wrong with multipathd was logged when it was asked for the paths.
        let maps = asking_multipathd_for(None, PATHS, move || multipathd.maps())
            .await
            .ok()
            .and_then(|maps| maps.ok());
        let queueing = maps.unwrap_or_default().into_iter().filter(|(_, map)| map.is_queueing);
        queueing.map(|(name, _)| name).collect()
    }

    /// The states of paths; none from a multipathd that does not answer.
    pub(super) async fn paths(
        &self,
        user: Option<u32>,
        ask: impl FnOnce(&Multipathd) -> std::result::Result<HashMap<String, PathState>, MultipathdError>
        + Send
        + 'static,
    ) -> HashMap<String, PathState> {
        match self.ask_paths(user, ask).await {
            Asked::Answered(paths) => paths,
            Asked::NotRunning | Asked::Failed => HashMap::new(),
        }
    }

    /// Asks multipathd for the states of paths.
    pub(super) async fn ask_paths(
        &self,
        user: Option<u32>,
        ask: impl FnOnce(&Multipathd) -> std::result::Result<HashMap<String, PathState>, MultipathdError>
        + Send
        + 'static,
    ) -> Asked {
        let multipathd = self.multipathd.clone();
        match asking_multipathd_for(user, PATHS, move || ask(&multipathd)).await {
            Ok(Ok(paths)) => return Asked::Answered(paths),
            Ok(Err(MultipathdError::NotRunning { .. })) => return Asked::NotRunning,
            Ok(Err(error)) => tracing::warn!(%error, "cannot query multipathd"),
            Err(fault) => tracing::warn!(error = fault.message(), "cannot query multipathd"),
        }
        Asked::Failed
    }
}

/// The names of the maps over the disks of these sessions.
pub(super) fn maps_of<S: Borrow<Session>>(sessions: &[S]) -> BTreeSet<String> {
    let disks = sessions.iter().map(Borrow::borrow).flat_map(|session: &Session| &session.disks);
    disks.filter_map(|disk| disk.map.as_ref()).map(|map| map.name.clone()).collect()
}
