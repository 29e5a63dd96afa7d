//! Node and discovery records: lists, creates and changes them.
//! Must not change an existing record except for the keys that it was asked to set.

use iscsi_initiator_dbus::{
    Iqn, Portal,
    results::{ChapMode, Startup},
};
use rustix::io::Errno;

use super::{
    Database, DatabaseError, Node, NodeKey,
    chap::{DefaultChap, chap_mode},
    defaults::place,
    iface_name::is_iface,
    ifaces::{self, Binding},
    in_record, io, open, parse_folder, read,
    record::Record,
};

/// Whether a discovered node had a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It had none, or one that was damaged beyond use.
    New,
    /// The same, and the default CHAP was left out of the new one.
    NewWithoutChap,
    /// It had one, which was not changed.
    Known,
}

/// The source of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// This portal listed it.
    Portal(Portal),
    /// The administrator, without contacting a portal.
    Static,
}

impl Database {
    /// Every node, sorted. Malformed names are left out; damaged records are included and marked.
    pub(crate) fn nodes(&self) -> Result<Vec<Node>, DatabaseError> {
        if !self.root.exists() {
            return Ok(Vec::new());
        }
        all(&open(&self.root)?)
    }

    /// Creates the missing records, from iscsid.conf's defaults, and as manual unless `startup` says
    /// otherwise; existing ones stay as they are.
    /// Returns one result for each node, in order. If the daemon is killed, every record is
    /// complete or missing.
    pub(crate) fn add(
        &self,
        nodes: &[NodeKey],
        origin: &Origin,
        startup: Option<Startup>,
        binding: Option<&Binding>,
        chap: DefaultChap,
    ) -> Result<Vec<Made>, DatabaseError> {
        let defaults = self.node_defaults()?;
        let dir = self.dir()?;
        let _lock = self.locked()?;
        let there = all(&dir)?;
        let places = defaults.places(chap, &dir, &there, nodes);
        if let Some(binding) = binding {
            ifaces::make(&dir, binding)?;
        }
        nodes
            .iter()
            .map(|node| {
                let is_there = |other: &Node| {
                    // A discovery has the group; a record made by hand may not. Without a known
                    // group, the record is the portal's only one.
                    let is_it = *origin == Origin::Static || other.key.tpgt.is_none() || other.key.tpgt == node.tpgt;
                    is_it && other.key.is_same(node) && other.damage.is_none()
                };
                if there.iter().any(is_there) {
                    return Ok(Made::Known);
                }
                let path = node.path();
                match read(&dir, &path) {
                    Ok(Some(_)) => return Ok(Made::Known),
                    Ok(None) => {}
                    Err(DatabaseError::Record { error, .. }) => {
                        // iscsiadm can neither use nor delete such a record.
                        tracing::warn!(target = %node.target, portal = %node.portal, %error, "replacing a damaged record");
                        dir.remove(&path).map_err(io(&dir, &path))?;
                    }
                    Err(error) => return Err(error),
                }
                let with_chap = places.as_ref().is_none_or(|places| places.contains(&place(node)));
                let record = new_record(node, origin, startup, binding, defaults.lines(with_chap))
                    .map_err(in_record(&dir, &path))?;
                dir.make_dirs(&node.folder()).map_err(io(&dir, &path))?;
                match dir.create(&path, &record.to_bytes(), 0o600) {
                    // A program that ignores the lock created it first.
                    Err(Errno::EXIST) => Ok(Made::Known),
                    result => result
                        .map(|()| if with_chap { Made::New } else { Made::NewWithoutChap })
                        .map_err(io(&dir, &path)),
                }
            })
            .collect()
    }

    /// Sets the startup of these nodes: both keys, since iscsiadm checks either.
    pub(crate) fn set_startup(&self, nodes: &[NodeKey], startup: Startup) -> Result<(), DatabaseError> {
        self.edit(nodes, |record| {
            record.set("node.startup", startup.as_str())?;
            record.set("node.conn[0].startup", startup.as_str())
        })
    }
}

/// See [`Database::nodes`].
pub(super) fn all(dir: &super::Dir) -> Result<Vec<Node>, DatabaseError> {
    let mut nodes = Vec::new();
    for target_name in dir.list("nodes").map_err(io(dir, "nodes"))? {
        let Some(target) = target_name.to_str().and_then(|name| Iqn::recorded(name).ok()) else {
            continue;
        };
        let folder = format!("nodes/{target}");
        for portal_name in list(dir, &folder)? {
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
                    nodes.push(look(dir, key("default"))?);
                }
                continue;
            }
            for iface in list(dir, &path)? {
                if let Some(iface) = iface.to_str().filter(|name| is_iface(name)) {
                    nodes.push(look(dir, key(iface))?);
                }
            }
        }
    }
    Ok(nodes)
}

/// The names in a folder. open-iscsi creates no symlinks here, so a symlink counts as empty.
fn list(dir: &super::Dir, folder: &str) -> Result<Vec<std::ffi::OsString>, DatabaseError> {
    match dir.list(folder) {
        Err(Errno::LOOP) => Ok(Vec::new()),
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
        Ok(None) => node.damage = Some(super::RecordError::Empty),
        Err(DatabaseError::Record { error, .. }) => node.damage = Some(error),
        // One bad file must not hide the others.
        Err(DatabaseError::Io { error: Errno::PERM | Errno::LOOP | Errno::INVAL | Errno::FBIG, .. }) => {
            node.damage = Some(super::RecordError::Unsafe);
        }
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

fn new_record<'a>(
    node: &NodeKey,
    origin: &Origin,
    startup: Option<Startup>,
    binding: Option<&Binding>,
    defaults: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Record, super::RecordError> {
    let mut record = Record::new();
    record.set("node.name", node.target.as_str())?;
    if let Some(tpgt) = node.tpgt {
        record.set("node.tpgt", &tpgt.to_string())?;
    }
    record.set("node.startup", startup.unwrap_or(Startup::Manual).as_str())?;
    record.set("iface.iscsi_ifacename", &node.iface)?;
    if let Some(binding) = binding {
        record.set("iface.net_ifacename", &binding.interface)?;
    }
    record.set("iface.transport_name", "tcp")?;
    match origin {
        Origin::Portal(portal) => {
            record.set("node.discovery_address", &portal.host().to_string())?;
            record.set("node.discovery_port", &portal.port().to_string())?;
            record.set("node.discovery_type", "send_targets")?;
        }
        Origin::Static => record.set("node.discovery_type", "static")?,
    }
    for (key, value) in defaults {
        record.set(key, value)?;
    }
    record.set("node.conn[0].address", &node.portal.host().to_string())?;
    record.set("node.conn[0].port", &node.portal.port().to_string())?;
    // Without the line it is manual: open-iscsi's compiled default.
    if let Some(startup) = startup {
        record.set("node.conn[0].startup", startup.as_str())?;
    }
    Ok(record)
}

#[cfg(test)]
mod tests;
