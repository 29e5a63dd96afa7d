//! `ListPaths` and `ListNodes`: a snapshot as the bus shows it.

use std::sync::Arc;

use iscsi_initiator_dbus::{
    Fault, Iqn, Portal,
    fault::Result,
    hint,
    options::PathFilter,
    results::{self, NodeState},
};
use iscsi_initiator_polkit::Action;

use super::{
    kept::{Current, Freshness},
    reader::Parts,
    troubles::{self, Trouble},
};
use crate::{
    backend::{
        host::threads::reading,
        kernel::sysfs::{Disk, Scope, Session},
        leases::Held,
        multipath::daemon::PathState,
        open_iscsi::database::Node,
    },
    engine::{
        Engine,
        call::{Call, look},
        leftovers::pathless_maps::{self, PathlessMap},
        records::{devices::targets_of, lookup::damaged},
        turns::missing::Waiting,
    },
};

impl Engine {
    /// A path for each LUN of each session. A session without a LUN is one entry without a device.
    pub(crate) async fn list_paths(&self, call: &Call, filter: &PathFilter) -> Result<Vec<results::Path>> {
        look(call, Action::ListPaths, async {
            let portals = numeric(filter)?;
            let canonical = filter.target.as_ref().map(Iqn::canonical);
            let wanted = |session: &&Session| {
                canonical.as_ref().is_none_or(|name| session.target.to_lowercase() == *name)
                    && portals
                        .as_ref()
                        .is_none_or(|p| session.portal.as_ref().is_some_and(|portal| p.contains(portal)))
            };
            let user = call.limit().user();
            let Current { snapshot: now, pathless } = match scope(filter, portals.as_deref()) {
                None => self.kept.current(&Freshness::now(), user).await?,
                // A map may have disks that the filter leaves out.
                Some(scope) => self.kept.current_around(scope, user).await?,
            };
            let troubles = troubles::look(self, now.all_sessions()).await?;
            // A logout that cannot read them is refused; the list is not.
            let held = self.turns.leases.all().await.unwrap_or_default();
            let mut paths = Vec::new();
            for session in now.all_sessions().iter().map(Arc::as_ref).filter(wanted) {
                let holds = held.iter().find(|held| held.is_of(&session.target));
                if session.disks.is_empty() {
                    paths.push(with_holds(path_of(session), holds));
                }
                paths.extend(session.disks.iter().map(|disk| {
                    let path = path_of_disk(session, disk, now.path(&disk.name), troubles.of([disk]));
                    with_holds(path, holds)
                }));
            }
            // There is no portal that a map without a path would be reached through.
            if portals.is_none() {
                let mut pathless = match pathless {
                    Some(maps) => pathless_maps::of_targets(self, maps).await?,
                    None => pathless_maps::find(self).await?,
                };
                pathless.retain(|map| filter.target.as_ref().is_none_or(|target| map.target == *target));
                paths.extend(pathless.into_iter().map(without_path));
            }
            for waiting in self.turns.missing.waiting() {
                let node = &waiting.node;
                if canonical.as_ref().is_none_or(|name| node.target.canonical() == *name)
                    && portals.as_ref().is_none_or(|portals| portals.contains(&node.portal))
                    && now.session_of(node).is_none()
                {
                    paths.push(awaited(&waiting));
                }
            }
            let is_down =
                |held: &&Held| !now.all_sessions().iter().any(|session| held.is_of(&session.target));
            for held in held.iter().filter(is_down) {
                if portals.is_none() && canonical.as_ref().is_none_or(|name| held.is_of(name)) {
                    paths.push(without_session(held));
                }
            }
            Ok(paths)
        })
        .await
    }

    /// The recorded nodes; no portal is contacted.
    pub(crate) async fn list_nodes(&self, call: &Call, filter: &PathFilter) -> Result<Vec<results::Node>> {
        look(call, Action::ListPaths, async {
            let portals = numeric(filter)?;
            let canonical = filter.target.as_ref().map(Iqn::canonical);
            let wanted = |node: &&Node| {
                canonical.as_ref().is_none_or(|name| node.key.target.canonical() == *name)
                    && portals.as_ref().is_none_or(|portals| portals.contains(&node.key.portal))
            };
            let now = match &filter.target {
                Some(target) => {
                    let (database, target) = (self.database.clone(), target.clone());
                    self.state.look_at(&reading(move || database.spellings(&target)).await??).await?
                }
                None => self.state.look(Parts::RECORDS).await?,
            };
            let of_device = match &filter.device {
                Some(path) => Some(targets_of(self, path).await?),
                None => None,
            };
            let has_device = |node: &&Node| {
                of_device.as_ref().is_none_or(|targets| targets.contains(&node.key.target.canonical()))
            };
            let nodes = now.nodes().iter().filter(wanted).filter(has_device);
            Ok(nodes
                .map(|node| {
                    let is_up = now.session_of(&node.key).is_some();
                    let mut entry = node_of(node, NodeState::Known, is_up);
                    if !is_up {
                        entry.waiting = self.turns.missing.why(node);
                    }
                    entry
                })
                .collect())
        })
        .await
    }
}

/// What is read for a filter; everything without one.
fn scope(filter: &PathFilter, portals: Option<&[Portal]>) -> Option<Scope> {
    let of_target = filter.target.as_ref().map(|target| Scope::of([target]));
    match portals {
        Some(portals) => Some(of_target.unwrap_or_else(Scope::all).through(portals.to_vec())),
        None => of_target,
    }
}

/// The filter's portal. Any local user may list, so the daemon does not resolve names here.
fn numeric(filter: &PathFilter) -> Result<Option<Vec<Portal>>> {
    match &filter.portal {
        Some(portal) if portal.address().is_none() => {
            Err(Fault::invalid("filter.portal", "is numeric here: records and sessions have no host names"))
        }
        portal => Ok(portal.clone().map(|portal| vec![portal])),
    }
}

/// The group in a record of the old format: iscsiadm's -1.
const NO_GROUP: u16 = u16::MAX;

/// A node as the bus shows it.
pub(in crate::engine) fn node_of(node: &Node, state: NodeState, is_up: bool) -> results::Node {
    let (target, portal) = (node.key.target.as_str(), node.key.portal.to_string());
    let mut entry = results::Node::new(target, portal, node.startup, node.chap, state);
    entry.tpgt = node.key.tpgt.unwrap_or(NO_GROUP);
    entry.interface.clone_from(&node.bound_to);
    entry.logged_in = is_up;
    if let Some(why) = &node.damage {
        let fault = damaged(&node.key, why);
        fault.message().clone_into(&mut entry.message);
        fault.next_step().clone_into(&mut entry.hint);
    }
    entry
}

/// A path as the bus shows it.
pub(super) fn path_of_disk(
    session: &Session,
    disk: &Disk,
    state: Option<&PathState>,
    trouble: Option<&Trouble>,
) -> results::Path {
    with_trouble(with_disk(path_of(session), disk, state), trouble)
}

fn path_of(session: &Session) -> results::Path {
    let mut path = results::Path::default();
    path.target.clone_from(&session.target);
    path.portal = session.portal.as_ref().map(ToString::to_string).unwrap_or_default();
    path.sid = session.sid;
    path.session_state.clone_from(&session.state);
    path.host = session.host;
    path
}

/// A map that outlived its sessions.
fn without_path(pathless: PathlessMap) -> results::Path {
    let mut path = results::Path::default();
    path.message = format!("the map {} outlived its sessions: something has it open", pathless.map.name);
    path.hint = hint!(
        "see what that is: iscsictl doctor; once nothing has, remove it: iscsictl logout {TARGET}",
        TARGET = pathless.target
    );
    path.target = pathless.target.to_string();
    path.map = pathless.map.name;
    path.map_device = pathless.map.device;
    path.size = pathless.size;
    path
}

/// A target that is held, and has no session.
fn without_session(held: &Held) -> results::Path {
    let mut path = results::Path::default();
    path.target = held.target.to_string();
    path.message = format!("{} is held, and has no session", held.target);
    path.hint = hint!("log in: iscsictl login {TARGET}", TARGET = held.target);
    with_holds(path, Some(held))
}

/// A node that has no session, and is to have one.
fn awaited(waiting: &Waiting) -> results::Path {
    let mut path = results::Path::default();
    (path.target, path.portal) = (waiting.node.target.to_string(), waiting.node.portal.to_string());
    path.message = format!("no session yet: {}", waiting.sentence());
    path.hint = match waiting.why.as_ref().map(Fault::next_step).filter(|hint| !hint.is_empty()) {
        Some(hint) => hint.to_owned(),
        None => "see what is waited for: iscsictl nodes".to_owned(),
    };
    path
}

/// A path with who holds its target.
pub(super) fn with_holds(mut path: results::Path, held: Option<&Held>) -> results::Path {
    let Some(held) = held else { return path };
    path.holds = held.names();
    if let Some(damage) = held.damage.as_ref().filter(|_| path.problem.as_str().is_empty()) {
        (path.message, path.hint) = damage.report(&held.target);
    }
    path
}

fn with_disk(mut path: results::Path, disk: &Disk, state: Option<&PathState>) -> results::Path {
    let map = disk.map.clone().unwrap_or_default();
    path.channel = disk.channel;
    path.id = disk.id;
    path.lun = disk.lun;
    path.device.clone_from(&disk.name);
    path.size = disk.size;
    path.vendor.clone_from(&disk.vendor);
    path.model.clone_from(&disk.model);
    path.wwid.clone_from(&disk.wwid);
    path.device_state.clone_from(&disk.state);
    path.map = map.name;
    path.map_device = map.device;
    if let Some(state) = state {
        path.dm_state.clone_from(&state.dm_state);
        path.checker_state.clone_from(&state.checker_state);
        path.group = state.group;
        path.priority = state.priority;
    }
    path
}

fn with_trouble(mut path: results::Path, trouble: Option<&Trouble>) -> results::Path {
    if let Some(Trouble { problem, what, hint, .. }) = trouble {
        path.problem = *problem;
        path.message.clone_from(what);
        path.hint.clone_from(hint);
    }
    path
}
