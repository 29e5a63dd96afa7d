//! Sessions, disks and maps as they are, and the nodes that are recorded.
//! It may not start a program, wait for a daemon beyond its limit, or change anything.

use iscsi_initiator_dbus::{
    Fault, Portal,
    fault::Result,
    options::PathFilter,
    results::{self, NodeState},
};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::time::Instant;

use crate::backend::{
    kernel::sysfs::{Disk, Session},
    multipath::daemon::{MultipathdError, PathState},
    open_iscsi::database::Node,
};
use crate::engine::{Engine, blocking, require};

impl Engine {
    /// A path for each LUN of each session; a session without a LUN is one entry without a device.
    pub(crate) async fn list_paths(&self, grant: &Grant, filter: &PathFilter) -> Result<Vec<results::Path>> {
        require(grant, Action::ListPaths)?;
        let portals = numeric(filter)?;
        let wanted = |session: &Session| match &filter.target {
            Some(target) => session.matches(target, portals.as_deref()),
            None => portals
                .as_ref()
                .is_none_or(|p| session.portal.as_ref().is_some_and(|portal| p.contains(portal))),
        };
        let sessions: Vec<Session> = self.all_sessions().await?.into_iter().filter(wanted).collect();
        let has_map = sessions.iter().flat_map(|session| &session.disks).any(|disk| disk.map.is_some());
        let multipathd = self.multipathd.clone();
        let states =
            if has_map { blocking(move || multipathd.paths()).await? } else { Ok(Default::default()) };
        let states = states.unwrap_or_else(|error| {
            // The kernel's view stands without it; the keys that only multipathd knows stay empty.
            if !matches!(error, MultipathdError::NotRunning) {
                tracing::warn!(%error, "multipathd could not be asked");
            }
            Default::default()
        });
        let mut paths = Vec::new();
        for session in &sessions {
            if session.disks.is_empty() {
                paths.push(path_of(session));
            }
            paths.extend(
                session.disks.iter().map(|disk| with_disk(path_of(session), disk, states.get(&disk.name))),
            );
        }
        Ok(paths)
    }

    /// The recorded nodes; no portal is asked.
    pub(crate) async fn list_nodes(&self, grant: &Grant, filter: &PathFilter) -> Result<Vec<results::Node>> {
        require(grant, Action::ListPaths)?;
        let portals = numeric(filter)?;
        let sessions = self.sessions().await?;
        let wanted = |node: &Node| {
            filter.target.as_ref().is_none_or(|target| node.key.target == *target)
                && portals.as_ref().is_none_or(|portals| portals.contains(&node.key.portal))
        };
        let nodes = self.nodes().await?;
        Ok(nodes
            .iter()
            .filter(|node| wanted(node))
            .map(|node| node_of(node, NodeState::Known, &sessions))
            .collect())
    }
}

/// The filter's portal. Everybody may list, so nobody may make the daemon resolve names for it.
fn numeric(filter: &PathFilter) -> Result<Option<Vec<Portal>>> {
    match &filter.portal {
        Some(portal) if portal.address().is_none() => {
            Err(Fault::invalid("filter.portal", "is numeric here: records and sessions have no host names"))
        }
        portal => Ok(portal.clone().map(|portal| vec![portal])),
    }
}

/// What a record of the old kind says of its group: iscsiadm's -1.
const NO_GROUP: u16 = u16::MAX;

/// A node as the bus shows it.
pub(in crate::engine) fn node_of(node: &Node, state: NodeState, sessions: &[Session]) -> results::Node {
    results::Node {
        target: node.key.target.to_string(),
        portal: node.key.portal.to_string(),
        tpgt: node.key.tpgt.unwrap_or(NO_GROUP),
        startup: node.startup,
        chap: node.chap,
        state,
        interface: node.interface.clone(),
        logged_in: sessions.iter().any(|session| session.is_of(&node.key)),
    }
}

fn path_of(session: &Session) -> results::Path {
    results::Path {
        target: session.target.clone(),
        portal: session.portal.as_ref().map(ToString::to_string).unwrap_or_default(),
        sid: session.sid,
        session_state: session.state.clone(),
        host: session.host,
        priority: -1,
        ..results::Path::default()
    }
}

fn with_disk(path: results::Path, disk: &Disk, state: Option<&PathState>) -> results::Path {
    let map = disk.map.clone().unwrap_or_default();
    results::Path {
        channel: disk.channel,
        id: disk.id,
        lun: disk.lun,
        device: disk.name.clone(),
        size: disk.size,
        vendor: disk.vendor.clone(),
        model: disk.model.clone(),
        wwid: disk.wwid.clone(),
        device_state: disk.state.clone(),
        map: map.name,
        map_device: map.device,
        dm_state: state.map(|state| state.dm_state.clone()).unwrap_or_default(),
        checker_state: state.map(|state| state.checker_state.clone()).unwrap_or_default(),
        group: state.map(|state| state.group).unwrap_or_default(),
        priority: state.map_or(-1, |state| state.priority),
        ..path
    }
}

/// Used by the waits that poll nothing: a deadline in the past looks once.
pub(in crate::engine) fn passed(deadline: Instant) -> bool {
    Instant::now() >= deadline
}
