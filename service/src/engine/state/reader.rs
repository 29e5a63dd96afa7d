//! Makes snapshots of sessions, disks, records and path states. A predicate of a wait that needs more than a snapshot
//! holds (udev's view, sizes, links) reads that in its own look.
//!
//! A snapshot takes time in proportion to what there is: some thirty small files for each path, one or two for each node,
//! and one answer of multipathd's. `docs/architecture.md` has the figures.

use std::collections::HashMap;

use iscsi_initiator_dbus::fault::Result;

use super::{snapshot::Snapshot, watch::Watch};
use crate::backend::{
    host::{layout::Layout, threads::reading},
    kernel::{sysfs::Sysfs, udev::Udev},
    multipath::daemon::{Multipathd, MultipathdError},
    open_iscsi::database::Database,
};

/// What a snapshot is to hold, beside sessions with their disks and maps.
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

/// What is read, and the events that are a reason to read it again.
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

    /// Looks at the machine. Records that cannot be read are an error; a multipathd that does not answer is none, since
    /// the kernel's view stands without it.
    pub(in crate::engine) async fn look(&self, parts: Parts) -> Result<Snapshot> {
        let state = self.clone();
        reading(move || state.read(parts)).await?
    }

    fn read(&self, parts: Parts) -> Result<Snapshot> {
        let sessions = self.sysfs.sessions();
        let nodes = if parts.nodes { self.database.nodes()? } else { Vec::new() };
        let has_map = || sessions.iter().flat_map(|session| &session.disks).any(|disk| disk.map.is_some());
        let paths = if parts.paths && has_map() { self.multipathd.paths() } else { Ok(HashMap::new()) };
        let paths = paths.unwrap_or_else(|error| {
            if !matches!(error, MultipathdError::NotRunning) {
                tracing::warn!(%error, "cannot query multipathd");
            }
            HashMap::new()
        });
        Ok(Snapshot::new(sessions, nodes, paths))
    }
}
