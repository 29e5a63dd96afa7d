//! Makes snapshots of sessions, disks, records and path states. A predicate that needs more than a
//! snapshot holds (udev's view, sizes, links) reads that itself.
//!
//! A snapshot takes time in proportion to its size: some thirty small files for each path, one or
//! two for each node, and one reply of multipathd. `docs/architecture.md` has the figures.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iscsi_initiator_dbus::{Iqn, fault::Result};

use super::{snapshot::Snapshot, watch::Watch};
use crate::backend::{
    host::{
        layout::Layout,
        threads::{asking_multipathd_within, reading},
    },
    kernel::{
        sysfs::{Session, Sysfs},
        udev::Udev,
    },
    multipath::daemon::{Multipathd, MultipathdError, PathState},
    open_iscsi::database::{Database, DatabaseError, listing::Listing},
};

/// How long multipathd may take for the states of the paths. The kernel's view is complete without
/// them, and any local user may ask for it.
const PATHS: Duration = Duration::from_secs(4);

/// What a snapshot includes, in addition to sessions with their disks and maps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::engine) struct Parts {
    nodes: bool,
    paths: bool,
}

impl Parts {
    pub(in crate::engine) const SESSIONS: Self = Self { nodes: false, paths: false };
    pub(in crate::engine) const NODES: Self = Self { nodes: true, paths: false };
    pub(in crate::engine) const PATHS: Self = Self { nodes: false, paths: true };
    pub(in crate::engine) const ALL: Self = Self { nodes: true, paths: true };
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

    /// Reads the machine. A database that cannot be opened is an error; what is left out of its
    /// nodes is not. Neither is a multipathd that does not answer, because the kernel's view is
    /// complete without it.
    pub(in crate::engine) async fn look(&self, parts: Parts) -> Result<Snapshot> {
        let state = self.clone();
        let reading = reading(move || {
            let nodes =
                |database: &Database| if parts.nodes { database.list() } else { Ok(Listing::default()) };
            state.read(nodes)
        });
        let (sessions, listing) = reading.await??;
        let has_map = || sessions.iter().flat_map(|session| &session.disks).any(|disk| disk.map.is_some());
        let paths = if parts.paths && has_map() { self.paths().await } else { HashMap::new() };
        Ok(Snapshot::new(sessions, listing.nodes, listing.left_out, paths))
    }

    /// Reads the machine with the nodes of these targets, however many others there are.
    pub(in crate::engine) async fn look_at(&self, targets: &[Iqn]) -> Result<Snapshot> {
        let (state, targets) = (self.clone(), targets.to_vec());
        let reading = reading(move || state.read(|database: &Database| database.list_of(&targets)));
        let (sessions, listing) = reading.await??;
        Ok(Snapshot::new(sessions, listing.nodes, listing.left_out, HashMap::new()))
    }

    fn read(
        &self,
        nodes: impl FnOnce(&Database) -> std::result::Result<Listing, DatabaseError>,
    ) -> std::result::Result<(Vec<Session>, Listing), DatabaseError> {
        let sessions = self.sysfs.sessions();
        let listing = nodes(&self.database)?;
        self.report(listing.left_out.as_deref());
        Ok((sessions, listing))
    }

    /// Logs why nodes are left out, once for each reason: any local user may list them.
    fn report(&self, left_out: Option<&str>) {
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
        let maps =
            asking_multipathd_within(PATHS, move || multipathd.maps()).await.ok().and_then(|maps| maps.ok());
        let queueing = maps.unwrap_or_default().into_iter().filter(|(_, map)| map.is_queueing);
        queueing.map(|(name, _)| name).collect()
    }

    async fn paths(&self) -> HashMap<String, PathState> {
        let multipathd = self.multipathd.clone();
        match asking_multipathd_within(PATHS, move || multipathd.paths()).await {
            Ok(Ok(paths)) => return paths,
            Ok(Err(MultipathdError::NotRunning)) => {}
            Ok(Err(error)) => tracing::warn!(%error, "cannot query multipathd"),
            Err(fault) => tracing::warn!(error = fault.message(), "cannot query multipathd"),
        }
        HashMap::new()
    }
}
