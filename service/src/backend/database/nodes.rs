//! Node and discovery records: listed, made, changed.
//! It may not touch an existing record but for the keys it was asked to set.

use iscsi_initiator_dbus::{
    Iqn, Portal, Secret,
    results::{ChapMode, Startup},
};
use rustix::io::Errno;

use super::{
    Database, DatabaseError, Node, NodeKey, in_record, io, open, parse_folder, read, record::Record, write,
};

/// CHAP as a record keeps it.
pub(crate) struct ChapSecrets {
    pub(crate) username: String,
    pub(crate) secret: Secret,
    /// What the target must prove.
    pub(crate) target: Option<(String, Secret)>,
}

/// Where CHAP is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keys {
    /// For sessions: node records and the defaults in iscsid.conf.
    Session,
    /// For discovery: discovery records and the defaults in iscsid.conf.
    Discovery,
}

impl Keys {
    fn key(self, name: &str) -> String {
        match self {
            Self::Session => format!("node.session.auth.{name}"),
            Self::Discovery => format!("discovery.sendtargets.auth.{name}"),
        }
    }
}

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

    /// What a node's record asks a login to prove.
    pub(crate) fn node_chap(&self, node: &NodeKey) -> Result<Option<ChapSecrets>, DatabaseError> {
        let dir = open(&self.root)?;
        let record = read(&dir, &node.path())?.ok_or(DatabaseError::NoSuchNode)?;
        Ok(chap(&record, Keys::Session))
    }

    /// Sets or clears CHAP in the records of these nodes.
    pub(crate) fn set_node_chap(
        &self,
        nodes: &[NodeKey],
        secrets: Option<&ChapSecrets>,
    ) -> Result<(), DatabaseError> {
        self.edit(nodes, |record| set_chap(record, Keys::Session, secrets))
    }

    /// Sets when these nodes are logged in to: both keys, since iscsiadm looks at either.
    pub(crate) fn set_startup(&self, nodes: &[NodeKey], startup: Startup) -> Result<(), DatabaseError> {
        self.edit(nodes, |record| {
            record.set("node.startup", startup.as_str())?;
            record.set("node.conn[0].startup", startup.as_str())
        })
    }

    /// All of them are changed in memory before the first is written.
    fn edit(
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

    /// What a discovery at this portal must prove: its own record's, or else iscsid.conf's.
    pub(crate) fn discovery_chap(&self, portal: &Portal) -> Result<Option<ChapSecrets>, DatabaseError> {
        if self.root.exists() {
            let dir = open(&self.root)?;
            if let Some(record) = read(&dir, &discovery_path(portal))? {
                return Ok(chap(&record, Keys::Discovery));
            }
        }
        Ok(chap(&self.conf()?, Keys::Discovery))
    }

    /// Sets or clears CHAP for discovery at this portal.
    pub(crate) fn set_discovery_chap(
        &self,
        portal: &Portal,
        secrets: Option<&ChapSecrets>,
    ) -> Result<(), DatabaseError> {
        let dir = self.dir()?;
        let _lock = self.locked()?;
        let path = discovery_path(portal);
        let mut record = match read(&dir, &path)? {
            Some(record) => record,
            None => new_discovery_record(portal).map_err(in_record(&dir, &path))?,
        };
        set_chap(&mut record, Keys::Discovery, secrets).map_err(in_record(&dir, &path))?;
        if let Some((folder, _)) = path.rsplit_once('/') {
            dir.make_dirs(folder).map_err(io(&dir, &path))?;
        }
        write(&dir, &path, &record)
    }

    /// Sets or clears the CHAP of nodes yet to be discovered, in iscsid.conf, which becomes 0600:
    /// open-iscsi has no other place for it, and Debian ships that file readable by everybody.
    pub(crate) fn set_default_chap(&self, secrets: Option<&ChapSecrets>) -> Result<(), DatabaseError> {
        let dir = open(&self.config)?;
        let _lock = self.locked()?;
        let mut conf = self.conf()?;
        set_chap(&mut conf, Keys::Session, secrets).map_err(in_record(&dir, CONF))?;
        dir.replace(CONF, &conf.to_bytes(), 0o600).map_err(io(&dir, CONF))
    }

    fn conf(&self) -> Result<Record, DatabaseError> {
        let dir = open(&self.config)?;
        let bytes = dir.read(CONF).map_err(io(&dir, CONF))?.unwrap_or_default();
        Record::parse_plain(&bytes).map_err(in_record(&dir, CONF))
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

const CONF: &str = "iscsid.conf";

fn discovery_path(portal: &Portal) -> String {
    format!("send_targets/{},{}/st_config", portal.host(), portal.port())
}

/// A name that open-iscsi gives an iface: it becomes an argument and a path.
fn is_iface(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':'))
        && !name.starts_with(['.', '-'])
}

fn look(dir: &super::Dir, key: NodeKey) -> Result<Node, DatabaseError> {
    let mut node =
        Node { key, startup: Startup::Manual, chap: ChapMode::None, discovered_at: None, damage: None };
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
            node.chap = chap_mode(&record);
            let port = record.get("node.discovery_port").and_then(|port| port.parse().ok());
            node.discovered_at = record.get("node.discovery_address").map(str::to_owned).zip(port);
        }
    }
    Ok(node)
}

/// `authmethod` decides nothing: a password does (usr/initiator_common.c, `iscsi_setup_authentication`).
fn chap_mode(record: &Record) -> ChapMode {
    let has = |name: &str| record.get(&Keys::Session.key(name)).is_some();
    match (has("password"), has("username_in") || has("password_in")) {
        (false, _) => ChapMode::None,
        (true, false) => ChapMode::OneWay,
        (true, true) => ChapMode::Mutual,
    }
}

fn chap(record: &Record, keys: Keys) -> Option<ChapSecrets> {
    let text = |name: &str| record.get(&keys.key(name)).map(str::to_owned);
    let secret = |name: &str| text(name).and_then(|text| Secret::new(text).ok());
    let target = secret("password_in").map(|secret| (text("username_in").unwrap_or_default(), secret));
    Some(ChapSecrets { username: text("username").unwrap_or_default(), secret: secret("password")?, target })
}

fn set_chap(
    record: &mut Record,
    keys: Keys,
    secrets: Option<&ChapSecrets>,
) -> Result<(), super::RecordError> {
    for name in ["authmethod", "username", "password", "username_in", "password_in"] {
        // Also the lengths that an administrator may have put there: they would no longer fit.
        record.remove(&keys.key(&format!("{name}_length")));
        if secrets.is_none() || name.ends_with("_in") {
            record.remove(&keys.key(name));
        }
    }
    let Some(secrets) = secrets else { return record.set(&keys.key("authmethod"), "None") };
    record.set(&keys.key("authmethod"), "CHAP")?;
    record.set(&keys.key("username"), &secrets.username)?;
    record.set(&keys.key("password"), secrets.secret.expose())?;
    if let Some((username, secret)) = &secrets.target {
        record.set(&keys.key("username_in"), username)?;
        record.set(&keys.key("password_in"), secret.expose())?;
    }
    Ok(())
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

fn new_discovery_record(portal: &Portal) -> Result<Record, super::RecordError> {
    let mut record = Record::new();
    record.set("discovery.startup", "manual")?;
    record.set("discovery.type", "sendtargets")?;
    record.set("discovery.sendtargets.address", &portal.host().to_string())?;
    record.set("discovery.sendtargets.port", &portal.port().to_string())?;
    Ok(record)
}

#[cfg(test)]
mod tests;
