//! Lists node records: all of them, or those of a few targets. A folder that cannot be read, or one
//! with too many names, hides nothing but itself; what is not a record is listed as such.

use std::{collections::BTreeSet, ffi::OsStr};

use iscsi_initiator_dbus::{Iqn, Portal, results::Startup};
use rustix::io::Errno;

use super::{
    Database, DatabaseError, Dir, Node, NodeKey, RecordError,
    chap::chap_mode,
    identity::{Place, iface_of, parse_folder},
    iface_name::is_iface,
    io, open, read, read_as,
    record::Record,
};
use crate::backend::host::atomic::{Kind, Names};

/// More nodes than this are not listed: a list of them must fit into a message and into memory.
const MOST_NODES: usize = 20_000;

/// Node records.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Sorted by target and portal. Malformed names are left out; damaged records are included and
    /// marked.
    pub(crate) nodes: Vec<Node>,
    /// What lies among the records and is none.
    pub(crate) strays: Vec<Stray>,
    /// Why others are left out, if they are: the first reason.
    pub(crate) left_out: Option<String>,
}

/// A file or folder among the records that is not one. iscsiadm may read it as a record, or fail
/// because of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stray {
    /// Relative to the database.
    pub(crate) path: String,
    /// The target whose folder it is in.
    pub(crate) target: Option<Iqn>,
    /// The portal whose folder it is in.
    pub(crate) portal: Option<Portal>,
    pub(crate) why: &'static str,
}

impl Database {
    /// Every node, as far as the limits allow.
    pub(crate) fn list(&self) -> Result<Listing, DatabaseError> {
        if !self.root.exists() {
            return Ok(Listing::default());
        }
        all(&open(&self.root)?)
    }

    /// The spellings under which a target is recorded, the given one first: a name is the same in any
    /// case (RFC 3722).
    pub(crate) fn spellings(&self, target: &Iqn) -> Result<Vec<Iqn>, DatabaseError> {
        if !self.root.exists() {
            return Ok(Vec::new());
        }
        let dir = open(&self.root)?;
        let mut spellings: Vec<Iqn> = has(&dir, target)?.then(|| target.clone()).into_iter().collect();
        let found = dir.list_some("nodes").map_err(io(&dir, "nodes"))?.names;
        let canonical = target.canonical();
        let others = found.iter().filter_map(|name| target_of(name));
        spellings.extend(others.filter(|name| name != target && name.canonical() == canonical));
        Ok(spellings)
    }

    /// The first of them: the others are looked for only if the given one is not there.
    pub(crate) fn spelling(&self, target: &Iqn) -> Result<Option<Iqn>, DatabaseError> {
        if self.root.exists() && has(&open(&self.root)?, target)? {
            return Ok(Some(target.clone()));
        }
        Ok(self.spellings(target)?.into_iter().next())
    }

    /// The nodes of these targets, however many others there are.
    pub(crate) fn list_of(&self, targets: &[Iqn]) -> Result<Listing, DatabaseError> {
        if !self.root.exists() {
            return Ok(Listing::default());
        }
        of(&open(&self.root)?, targets)
    }

    /// The same, and shows each record that can be read, once, also if it is damaged.
    pub(super) fn list_and_show(
        &self,
        target: &Iqn,
        show: &mut dyn FnMut(&Node, &Record),
    ) -> Result<Listing, DatabaseError> {
        let mut listing = Listing::default();
        if self.root.exists() {
            add(&open(&self.root)?, target, &mut listing, show)?;
        }
        Ok(listing)
    }

    /// Whether these are all nodes of their target, and nothing lies among them that iscsiadm could take for one: by
    /// the names of files alone, after they were listed.
    pub(crate) fn are_all(&self, nodes: &[NodeKey]) -> Result<bool, DatabaseError> {
        let Some(target) = nodes.first().map(|node| &node.target) else { return Ok(false) };
        let expected: BTreeSet<String> = nodes.iter().map(NodeKey::path).collect();
        let (dir, folder) = (open(&self.root)?, folder(target));
        let Found::Folder(portals) = find(&dir, &folder)? else { return Ok(false) };
        let found = portals.names().map_err(io(&dir, &folder))?;
        let mut paths = BTreeSet::new();
        for name in &found.names {
            let Some((name, place)) = name.to_str().and_then(|name| Some((name, parse_folder(name)?))) else {
                return Ok(false);
            };
            let path = format!("{folder}/{name}");
            if place.tpgt.is_none() {
                paths.insert(path);
                continue;
            }
            match find(&portals, name)? {
                Found::Stray(_) => return Ok(false),
                Found::Nothing => {}
                Found::Folder(ifaces) => {
                    let found = ifaces.names().map_err(io(&portals, name))?;
                    // More than can be listed are more than these.
                    paths.extend(found.names.iter().map(|name| format!("{path}/{}", name.display())));
                }
            }
        }
        Ok(found.is_all && paths == expected)
    }
}

/// See [`Database::list`].
pub(super) fn all(dir: &Dir) -> Result<Listing, DatabaseError> {
    let found = dir.list_some("nodes").map_err(io(dir, "nodes"))?;
    let mut listing = Listing::default();
    if !found.is_all {
        listing.leave_out(too_many(dir, "nodes", found.names.len()));
    }
    for name in &found.names {
        let Some(target) = target_of(name) else {
            listing.stray(format!("nodes/{}", name.display()), None, None, "it is not named like a target");
            continue;
        };
        if listing.nodes.len() >= MOST_NODES {
            let root = dir.path().join("nodes");
            listing.leave_out(format!("more than {MOST_NODES} nodes in {}", root.display()));
            break;
        }
        if let Err(error) = add(dir, &target, &mut listing, &mut |_, _| ()) {
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
    targets.into_iter().try_for_each(|target| add(dir, target, &mut listing, &mut |_, _| ()))?;
    Ok(listing)
}

/// How many targets and nodes there are, counted by their folders; `None` if there may be more.
pub(super) fn count(dir: &Dir) -> Result<Option<(usize, usize)>, DatabaseError> {
    let found = dir.list_some("nodes").map_err(io(dir, "nodes"))?;
    let (mut targets, mut nodes, mut is_all) = (0, 0, found.is_all);
    for target in found.names.iter().filter_map(|name| target_of(name)) {
        let folder = folder(&target);
        // What cannot be listed counts as one node: it is no reason not to record another.
        let portals = names(dir, &folder).map(|found| (found.names.len(), found.is_all)).unwrap_or((1, true));
        targets += 1;
        nodes += portals.0;
        is_all &= portals.1;
    }
    Ok(is_all.then_some((targets, nodes)))
}

/// Whether a target is recorded in just this spelling.
fn has(dir: &Dir, target: &Iqn) -> Result<bool, DatabaseError> {
    let path = folder(target);
    Ok(dir.modes(&path).map_err(io(dir, &path))?.is_some())
}

fn target_of(name: &OsStr) -> Option<Iqn> {
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

    fn stray(&mut self, path: String, target: Option<&Iqn>, portal: Option<&Portal>, why: &'static str) {
        self.strays.push(Stray { path, target: target.cloned(), portal: portal.cloned(), why });
    }
}

/// Adds the nodes of one target.
fn add(
    dir: &Dir,
    target: &Iqn,
    listing: &mut Listing,
    show: &mut dyn FnMut(&Node, &Record),
) -> Result<(), DatabaseError> {
    let folder = folder(target);
    let at = match find(dir, &folder)? {
        Found::Folder(at) => at,
        Found::Nothing => return Ok(()),
        Found::Stray(why) => {
            listing.stray(folder, Some(target), None, why);
            return Ok(());
        }
    };
    let portals = at.names().map_err(io(dir, &folder))?;
    if !portals.is_all {
        listing.leave_out(too_many(dir, &folder, portals.names.len()));
    }
    for name in portals.names {
        let path = format!("{folder}/{}", name.display());
        match name.to_str().and_then(|name| Some((name, parse_folder(name)?))) {
            Some((name, place)) => at_portal(&at, name, target, &place, path, listing, show)?,
            None => listing.stray(path, Some(target), None, "it is not named like a portal"),
        }
    }
    Ok(())
}

/// Adds the nodes of one target at one portal: `name` in the target's folder, `path` in the database.
fn at_portal(
    at: &Dir,
    name: &str,
    target: &Iqn,
    place: &Place,
    path: String,
    listing: &mut Listing,
    show: &mut dyn FnMut(&Node, &Record),
) -> Result<(), DatabaseError> {
    let Place { portal, tpgt, spelled } = place;
    let key = |iface: &str| NodeKey {
        target: target.clone(),
        portal: portal.clone(),
        tpgt: *tpgt,
        iface: iface.to_owned(),
        spelled: spelled.clone(),
    };
    if tpgt.is_none() {
        match not_a_folder(at, name)? {
            None => listing.stray(path, Some(target), Some(portal), "it is not named with a group"),
            Some(_) => listing.nodes.push(look(at, name, key("default"), show)?),
        }
        return Ok(());
    }
    let own = match find(at, name)? {
        Found::Folder(own) => own,
        Found::Nothing => return Ok(()),
        Found::Stray(why) => {
            listing.stray(path, Some(target), Some(portal), why);
            return Ok(());
        }
    };
    let ifaces = own.names().map_err(io(at, name))?;
    if !ifaces.is_all {
        listing.leave_out(too_many(at, name, ifaces.names.len()));
    }
    let there: Vec<&str> = ifaces.names.iter().filter_map(|name| name.to_str()).collect();
    for name in &ifaces.names {
        let file = format!("{path}/{}", name.display());
        let Some(iface) = name.to_str().filter(|name| is_iface(name)) else {
            listing.stray(file, Some(target), Some(portal), "it is not named like an iface");
            continue;
        };
        let node = look(&own, iface, key(iface), show)?;
        if node.damage == Some(RecordError::OtherIface) && is_copy(&own, iface, &there) {
            listing.stray(file, Some(target), Some(portal), "it is a copy of the record beside it");
        } else {
            listing.nodes.push(node);
        }
    }
    Ok(())
}

/// Whether a record is for an iface that has a record of its own beside it.
fn is_copy(at: &Dir, name: &str, there: &[&str]) -> bool {
    let Ok(Some(record)) = read(at, name) else { return false };
    std::str::from_utf8(iface_of(&record)).is_ok_and(|iface| there.contains(&iface))
}

/// What is in the place of a folder.
enum Found {
    Folder(Dir),
    /// Removed since the folder around it was listed.
    Nothing,
    /// Something else, and why it is none.
    Stray(&'static str),
}

/// Opens a folder. One look at what is there follows only if that fails.
fn find(dir: &Dir, path: &str) -> Result<Found, DatabaseError> {
    let error = match dir.folder(path) {
        Ok(folder) => return Ok(Found::Folder(folder)),
        Err(error) => error,
    };
    match (not_a_folder(dir, path)?, error) {
        (Some(why), _) => Ok(Found::Stray(why)),
        (None, Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(Found::Nothing),
        (None, error) => Err(io(dir, path)(error)),
    }
}

/// Why there is no folder here, if there is none.
fn not_a_folder(dir: &Dir, path: &str) -> Result<Option<&'static str>, DatabaseError> {
    Ok(match dir.kind(path).map_err(io(dir, path))? {
        // Removed since the folder around it was listed.
        None | Some(Kind::Folder) => None,
        Some(Kind::Symlink) => Some(
            "it is a symlink that leads nowhere, or where other users can change something, and is not followed",
        ),
        Some(_) => Some("it is a file, where iscsiadm expects a folder"),
    })
}

/// The names in a folder; a symlink that is not followed counts as empty.
fn names(dir: &Dir, folder: &str) -> Result<Names, DatabaseError> {
    match dir.list_some(folder) {
        Err(Errno::LOOP) => Ok(Names { names: Vec::new(), is_all: true }),
        names => names.map_err(io(dir, folder)),
    }
}

/// The node whose record has this name in the open folder.
fn look(
    at: &Dir,
    name: &str,
    key: NodeKey,
    show: &mut dyn FnMut(&Node, &Record),
) -> Result<Node, DatabaseError> {
    let damaged = |damage| Ok(node(key.clone(), &Record::parse(b""), Some(damage)));
    match read_as(at, name, &key) {
        // Removed since the folder was listed: treated as truncated.
        Ok(None) => damaged(RecordError::Empty),
        // What can be read of it is shown.
        Err(DatabaseError::Record { error, .. }) => {
            let record = read(at, name)?.unwrap_or_else(Record::new);
            let node = node(key, &record, Some(error));
            show(&node, &record);
            Ok(node)
        }
        // One bad file must not hide the others.
        Err(DatabaseError::Io { error: Errno::LOOP, .. }) => damaged(RecordError::Link),
        Err(DatabaseError::Io { error: Errno::PERM | Errno::INVAL | Errno::FBIG, .. }) => {
            damaged(RecordError::Unsafe)
        }
        Err(DatabaseError::Io { .. }) => damaged(RecordError::Unreadable),
        Err(error) => Err(error),
        Ok(Some(record)) => {
            let node = node(key, &record, None);
            show(&node, &record);
            Ok(node)
        }
    }
}

/// The node with what is in its record.
fn node(mut key: NodeKey, record: &Record, damage: Option<RecordError>) -> Node {
    if key.tpgt.is_none()
        && let Some(iface) = record.get("iface.iscsi_ifacename").filter(|name| is_iface(name))
    {
        iface.clone_into(&mut key.iface);
    }
    let [of_node, of_connection] =
        ["node.startup", "node.conn[0].startup"].map(|key| record.choice::<Startup>(key));
    let both = [of_node, of_connection];
    // iscsiadm treats either one as automatic (usr/iscsiadm.c, `rec_match…startup`).
    let startup = if both.contains(&Some(Startup::Automatic)) {
        Startup::Automatic
    } else {
        of_node.unwrap_or(Startup::Manual)
    };
    let boot = if both.contains(&Some(Startup::Onboot)) {
        Some("node.startup = onboot")
    } else {
        (record.get("node.discovery_type") == Some("fw")).then_some("node.discovery_type = fw")
    };
    // open-iscsi's word for none (usr/iscsi_settings.h, `DEFAULT_NETDEV`, `DEFAULT_HWADDRESS`).
    let bound = |key: &str| record.get(key).filter(|value| *value != "default");
    let interface = bound("iface.net_ifacename").filter(|name| is_iface(name)).map(str::to_owned);
    let hardware = bound("iface.hwaddress").filter(|_| key.iface != "default");
    let bound_to = interface.as_deref().or(hardware).unwrap_or_default().to_owned();
    let port = record.number("node.discovery_port").and_then(|port| u16::try_from(port).ok());
    Node {
        startup,
        chap: chap_mode(record),
        discovered_at: record.get("node.discovery_address").map(str::to_owned).zip(port),
        interface,
        bound_to,
        initiator: record.value("iface.initiatorname").map(|name| String::from_utf8_lossy(name).into_owned()),
        boot,
        is_given_up: record.number("node.session.reopen_max").is_some_and(|tries| tries > 0),
        damage,
        key,
    }
}
