//! Node and discovery records: listed, made, changed.
//! It may not touch an existing record but for the keys it was asked to set.

use iscsi_initiator_dbus::{
    Iqn, Portal,
    results::{ChapMode, Startup},
};
use rustix::io::Errno;

use super::{
    Database, DatabaseError, Node, NodeKey, chap::chap_mode, in_record, io, open, parse_folder, read,
    record::Record, write,
};

/// Whether a discovered node had a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// It had none, or one that was damaged beyond use.
    New,
    /// It had one, which was not touched.
    Known,
}

impl Database {
    /// Every node, sorted; names that are none are left out, damaged records are there and say so.
    pub(crate) fn nodes(&self) -> Result<Vec<Node>, DatabaseError> {
        if !self.root.exists() {
            return Ok(Vec::new());
        }
        let dir = open(&self.root)?;
        let mut nodes = Vec::new();
        for target_name in dir.list("nodes").map_err(io(&dir, "nodes"))? {
            let Some(target) = target_name.to_str().and_then(|name| name.parse::<Iqn>().ok()) else {
                continue;
            };
            let folder = format!("nodes/{target}");
            let portals = match dir.list(&folder) {
                // Not open-iscsi's: it makes no symlinks here.
                Err(Errno::LOOP) => continue,
                portals => portals.map_err(io(&dir, &folder))?,
            };
            for portal_name in portals {
                let Some(name) = portal_name.to_str() else { continue };
                let Some((portal, tpgt)) = parse_folder(name) else { continue };
                let folder = format!("{folder}/{name}");
                for iface in dir.list(&folder).map_err(io(&dir, &folder))? {
                    let Some(iface) = iface.to_str().filter(|name| is_iface(name)) else { continue };
                    let key =
                        NodeKey { target: target.clone(), portal: portal.clone(), tpgt, iface: iface.into() };
                    nodes.push(look(&dir, key)?);
                }
            }
        }
        Ok(nodes)
    }

    /// Makes the records that are not there, from iscsid.conf's defaults; existing ones stay as they are.
    /// One answer for each node, in their order. A kill in between leaves whole records only.
    pub(crate) fn add(
        &self,
        nodes: &[NodeKey],
        discovered_at: &Portal,
        startup: Option<Startup>,
    ) -> Result<Vec<Made>, DatabaseError> {
        let defaults = self.node_defaults()?;
        let dir = self.dir()?;
        let _lock = self.locked()?;
        nodes
            .iter()
            .map(|node| {
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
                let record = new_record(node, discovered_at, startup, &defaults).map_err(in_record(&dir, &path))?;
                dir.make_dirs(&node.folder()).map_err(io(&dir, &path))?;
                match dir.create(&path, &record.to_bytes(), 0o600) {
                    // A program that does without the lock was quicker.
                    Err(Errno::EXIST) => Ok(Made::Known),
                    result => result.map(|()| Made::New).map_err(io(&dir, &path)),
                }
            })
            .collect()
    }

    /// Sets when these nodes are logged in to: both keys, since iscsiadm looks at either.
    pub(crate) fn set_startup(&self, nodes: &[NodeKey], startup: Startup) -> Result<(), DatabaseError> {
        self.edit(nodes, |record| {
            record.set("node.startup", startup.as_str())?;
            record.set("node.conn[0].startup", startup.as_str())
        })
    }

    /// All of them are changed in memory before the first is written.
    pub(super) fn edit(
        &self,
        nodes: &[NodeKey],
        change: impl Fn(&mut Record) -> Result<(), super::RecordError>,
    ) -> Result<(), DatabaseError> {
        let dir = open(&self.root)?;
        let _lock = self.locked()?;
        let mut changed = Vec::with_capacity(nodes.len());
        for node in nodes {
            let path = node.path();
            let mut record = read(&dir, &path)?.ok_or(DatabaseError::NoSuchNode)?;
            if record.get("node.name").is_some_and(|name| name != node.target.as_str()) {
                return Err(in_record(&dir, &path)(super::RecordError::CutOff));
            }
            change(&mut record).map_err(in_record(&dir, &path))?;
            changed.push((path, record));
        }
        changed.iter().try_for_each(|(path, record)| write(&dir, path, record))
    }

    /// The lines of iscsid.conf that go into every new record, as iscsiadm copies them
    /// (`idbm_node_setup_from_conf`); what is not there gets open-iscsi's compiled default when read.
    fn node_defaults(&self) -> Result<Vec<(String, zeroize::Zeroizing<String>)>, DatabaseError> {
        let wanted = |key: &str| {
            ["node.session.", "node.conn[0].", "node.startup", "node.leading_login"]
                .iter()
                .any(|prefix| key.starts_with(prefix))
                && !key.ends_with("_length")
        };
        let conf = self.conf()?;
        let pairs = conf.pairs().filter(|(key, _)| wanted(key));
        Ok(pairs.map(|(key, value)| (key.to_owned(), zeroize::Zeroizing::new(value.to_owned()))).collect())
    }
}

/// A name that open-iscsi gives an iface: it becomes an argument and a path.
fn is_iface(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':'))
        && !name.starts_with(['.', '-'])
}

fn look(dir: &super::Dir, key: NodeKey) -> Result<Node, DatabaseError> {
    let mut node = Node {
        key,
        startup: Startup::Manual,
        chap: ChapMode::None,
        discovered_at: None,
        boot: None,
        damage: None,
    };
    match read(dir, &node.key.path()) {
        // Gone since the folder was listed: as if cut off.
        Ok(None) => node.damage = Some(super::RecordError::Empty),
        Err(DatabaseError::Record { error, .. }) => node.damage = Some(error),
        // One bad file must not hide the others.
        Err(DatabaseError::Io { error: Errno::PERM | Errno::LOOP | Errno::INVAL | Errno::FBIG, .. }) => {
            node.damage = Some(super::RecordError::Unsafe);
        }
        Err(error) => return Err(error),
        Ok(Some(record)) => {
            let startup = |key| record.get(key).and_then(|value| value.parse::<Startup>().ok());
            let both = [startup("node.startup"), startup("node.conn[0].startup")];
            // iscsiadm takes either for automatic (usr/iscsiadm.c, `rec_match…startup`).
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
            let port = record.get("node.discovery_port").and_then(|port| port.parse().ok());
            node.discovered_at = record.get("node.discovery_address").map(str::to_owned).zip(port);
        }
    }
    Ok(node)
}

fn new_record(
    node: &NodeKey,
    discovered_at: &Portal,
    startup: Option<Startup>,
    defaults: &[(String, zeroize::Zeroizing<String>)],
) -> Result<Record, super::RecordError> {
    let mut record = Record::new();
    record.set("node.name", node.target.as_str())?;
    record.set("node.tpgt", &node.tpgt.to_string())?;
    record.set("node.startup", "manual")?;
    record.set("iface.iscsi_ifacename", &node.iface)?;
    record.set("iface.transport_name", "tcp")?;
    record.set("node.discovery_address", &discovered_at.host().to_string())?;
    record.set("node.discovery_port", &discovered_at.port().to_string())?;
    record.set("node.discovery_type", "send_targets")?;
    for (key, value) in defaults {
        record.set(key, value)?;
    }
    record.set("node.conn[0].address", &node.portal.host().to_string())?;
    record.set("node.conn[0].port", &node.portal.port().to_string())?;
    if let Some(startup) = startup {
        record.set("node.startup", startup.as_str())?;
        record.set("node.conn[0].startup", startup.as_str())?;
    }
    Ok(record)
}

#[cfg(test)]
mod tests;
