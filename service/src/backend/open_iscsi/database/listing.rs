//! Lists node records: all of them, or those of a few targets. A folder that cannot be read, or one
//! with too many names, hides nothing but itself.

use std::ffi::OsString;

use iscsi_initiator_dbus::{
    Iqn,
    results::{ChapMode, Startup},
};
use rustix::io::Errno;

use super::{
    Database, DatabaseError, Dir, Node, NodeKey, RecordError, chap::chap_mode, iface_name::is_iface, io,
    open, parse_folder, read,
};
use crate::backend::host::atomic::Names;

/// More nodes than this are not listed: a list of them must fit into a message and into memory.
const MOST_NODES: usize = 20_000;

/// Node records.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Sorted by target and portal. Malformed names are left out; damaged records are included and
    /// marked.
    pub(crate) nodes: Vec<Node>,
    /// Why others are left out, if they are: the first reason.
    pub(crate) left_out: Option<String>,
}

impl Database {
    /// Every node, as far as the limits allow.
    pub(crate) fn list(&self) -> Result<Listing, DatabaseError> {
        if !self.root.exists() {
            return Ok(Listing::default());
        }
        all(&open(&self.root)?)
    }

    /// The nodes of these targets, however many others there are.
    pub(crate) fn list_of(&self, targets: &[Iqn]) -> Result<Listing, DatabaseError> {
        if !self.root.exists() {
            return Ok(Listing::default());
        }
        of(&open(&self.root)?, targets)
    }
}

/// See [`Database::list`].
pub(super) fn all(dir: &Dir) -> Result<Listing, DatabaseError> {
    let found = dir.list_some("nodes").map_err(io(dir, "nodes"))?;
    let mut listing = Listing::default();
    if !found.is_all {
        listing.leave_out(too_many(dir, "nodes", found.names.len()));
    }
    for target in found.names.iter().filter_map(target_of) {
        if listing.nodes.len() >= MOST_NODES {
            let root = dir.path().join("nodes");
            listing.leave_out(format!("more than {MOST_NODES} nodes in {}", root.display()));
            break;
        }
        if let Err(error) = add(dir, &target, &mut listing) {
            listing.leave_out(error.to_string());
        }
    }
    Ok(listing)
}

/// See [`Database::list_of`].
pub(super) fn of<'a>(
    dir: &Dir,
    targets: impl IntoIterator<Item = &'a Iqn>,
) -> Result<Listing, DatabaseError> {
    let mut listing = Listing::default();
    targets.into_iter().try_for_each(|target| add(dir, target, &mut listing))?;
    Ok(listing)
}

/// How many targets and nodes there are, counted by their folders; `None` if there may be more.
pub(super) fn count(dir: &Dir) -> Result<Option<(usize, usize)>, DatabaseError> {
    let found = dir.list_some("nodes").map_err(io(dir, "nodes"))?;
    let (mut targets, mut nodes, mut is_all) = (0, 0, found.is_all);
    for target in found.names.iter().filter_map(target_of) {
        let folder = folder(&target);
        // What cannot be listed counts as one node: it is no reason not to record another.
        let portals = names(dir, &folder).map(|found| (found.names.len(), found.is_all)).unwrap_or((1, true));
        targets += 1;
        nodes += portals.0;
        is_all &= portals.1;
    }
    Ok(is_all.then_some((targets, nodes)))
}

fn target_of(name: &OsString) -> Option<Iqn> {
    name.to_str().and_then(|name| Iqn::recorded(name).ok())
}

fn folder(target: &Iqn) -> String {
    format!("nodes/{target}")
}

fn too_many(dir: &Dir, folder: &str, most: usize) -> String {
    format!("more than {most} names in {}", dir.path().join(folder).display())
}

impl Listing {
    fn leave_out(&mut self, why: String) {
        self.left_out.get_or_insert(why);
    }
}

/// Adds the nodes of one target.
fn add(dir: &Dir, target: &Iqn, listing: &mut Listing) -> Result<(), DatabaseError> {
    let folder = folder(target);
    let portals = names(dir, &folder)?;
    if !portals.is_all {
        listing.leave_out(too_many(dir, &folder, portals.names.len()));
    }
    for portal_name in portals.names {
        let Some(name) = portal_name.to_str() else { continue };
        let Some((portal, tpgt)) = parse_folder(name) else { continue };
        let path = format!("{folder}/{name}");
        let key = |iface: &str| NodeKey {
            target: target.clone(),
            portal: portal.clone(),
            tpgt,
            iface: iface.to_owned(),
        };
        if tpgt.is_none() {
            // A folder in place of a file: open-iscsi never creates that.
            if dir.read(&path) != Err(Errno::INVAL) {
                listing.nodes.push(look(dir, key("default"))?);
            }
            continue;
        }
        let ifaces = names(dir, &path)?;
        if !ifaces.is_all {
            listing.leave_out(too_many(dir, &path, ifaces.names.len()));
        }
        for iface in ifaces.names {
            if let Some(iface) = iface.to_str().filter(|name| is_iface(name)) {
                listing.nodes.push(look(dir, key(iface))?);
            }
        }
    }
    Ok(())
}

/// The names in a folder. open-iscsi creates no symlinks here, so a symlink counts as empty.
fn names(dir: &Dir, folder: &str) -> Result<Names, DatabaseError> {
    match dir.list_some(folder) {
        Err(Errno::LOOP) => Ok(Names { names: Vec::new(), is_all: true }),
        names => names.map_err(io(dir, folder)),
    }
}

fn look(dir: &super::Dir, key: NodeKey) -> Result<Node, DatabaseError> {
    let mut node = Node {
        key,
        startup: Startup::Manual,
        chap: ChapMode::None,
        discovered_at: None,
        interface: None,
        bound_to: String::new(),
        boot: None,
        damage: None,
    };
    match read(dir, &node.key.path()) {
        // Removed since the folder was listed: treated as truncated.
        Ok(None) => node.damage = Some(RecordError::Empty),
        Err(DatabaseError::Record { error, .. }) => node.damage = Some(error),
        // One bad file must not hide the others.
        Err(DatabaseError::Io { error: Errno::PERM | Errno::LOOP | Errno::INVAL | Errno::FBIG, .. }) => {
            node.damage = Some(RecordError::Unsafe);
        }
        Err(DatabaseError::Io { .. }) => node.damage = Some(RecordError::Unreadable),
        Err(error) => return Err(error),
        Ok(Some(record)) => {
            if node.key.tpgt.is_none()
                && let Some(iface) = record.get("iface.iscsi_ifacename").filter(|name| is_iface(name))
            {
                iface.clone_into(&mut node.key.iface);
            }
            let startup = |key| record.get(key).and_then(|value| value.parse::<Startup>().ok());
            let both = [startup("node.startup"), startup("node.conn[0].startup")];
            // iscsiadm treats either one as automatic (usr/iscsiadm.c, `rec_match…startup`).
            node.startup = if both.contains(&Some(Startup::Automatic)) {
                Startup::Automatic
            } else {
                both.into_iter().flatten().next().unwrap_or(Startup::Manual)
            };
            node.boot = if both.contains(&Some(Startup::Onboot)) {
                Some("node.startup = onboot")
            } else {
                (record.get("node.discovery_type") == Some("fw")).then_some("node.discovery_type = fw")
            };
            node.chap = chap_mode(&record);
            node.interface =
                record.get("iface.net_ifacename").filter(|name| is_iface(name)).map(str::to_owned);
            let hardware = || record.get("iface.hwaddress").filter(|_| node.key.iface != "default");
            node.bound_to = node.interface.as_deref().or_else(hardware).unwrap_or_default().to_owned();
            let port = record.get("node.discovery_port").and_then(|port| port.parse().ok());
            node.discovered_at = record.get("node.discovery_address").map(str::to_owned).zip(port);
        }
    }
    Ok(node)
}
