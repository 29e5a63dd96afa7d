//! Makes snapshots of sessions, disks, records and path states. A predicate that needs more than a
//! snapshot holds (udev's view, sizes, links) reads that itself.
//!
//! A snapshot takes time in proportion to its size: some thirty small files for each path, one or
//! two for each node, and one reply of multipathd. `docs/architecture.md` has the figures.

use std::{collections::HashMap, time::Duration};

use iscsi_initiator_dbus::{Fault, fault::Result};

use super::{snapshot::Snapshot, watch::Watch};
use crate::backend::{
    host::{
        layout::Layout,
        threads::{asking_multipathd_within, reading},
    },
    kernel::{sysfs::Sysfs, udev::Udev},
    multipath::daemon::{Multipathd, MultipathdError, PathState},
    open_iscsi::database::Database,
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
}

/// Reads the state, and holds the events that trigger reading it again.
#[derive(Clone)]
pub(in crate::engine) struct State {
    pub(in crate::engine) sysfs: Sysfs,
    pub(in crate::engine) udev: Udev,
    pub(in crate::engine) database: Database,
    pub(in crate::engine) multipathd: Multipathd,
    pub(in crate::engine) watch: Watch,
}

impl State {
    pub(in crate::engine) fn new(layout: &Layout, database: &Database) -> Self {
        Self {
            sysfs: Sysfs::new(&layout.sys),
            udev: Udev::new(layout),
            database: database.clone(),
            multipathd: Multipathd::new(layout),
            watch: Watch::start(layout),
        }
    }

    /// Reads the machine. Unreadable records are an error. A multipathd that does not answer is
    /// not, because the kernel's view is complete without it.
    pub(in crate::engine) async fn look(&self, parts: Parts) -> Result<Snapshot> {
        let (sysfs, database) = (self.sysfs.clone(), self.database.clone());
        let (sessions, nodes) = reading(move || {
            let nodes = if parts.nodes { database.nodes()? } else { Vec::new() };
            Ok::<_, Fault>((sysfs.sessions(), nodes))
        })
        .await??;
        let has_map = || sessions.iter().flat_map(|session| &session.disks).any(|disk| disk.map.is_some());
        let paths = if parts.paths && has_map() { self.paths().await } else { HashMap::new() };
        Ok(Snapshot::new(sessions, nodes, paths))
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
