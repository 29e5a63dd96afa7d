//! CHAP in open-iscsi's files: in node and discovery records, and the defaults in iscsid.conf.
//! Must not touch another key or show a secret.

use iscsi_initiator_dbus::{Portal, Secret, results::ChapMode};
use iscsi_initiator_probe::Algorithm;

use super::{
    Database, DatabaseError, NodeKey, RecordError, in_record, io, open, read, read_node, record::Record,
    write,
};

/// open-iscsi's configuration.
pub(super) const CONF: &str = "iscsid.conf";

/// CHAP credentials as in a record.
pub(crate) struct ChapSecrets {
    pub(crate) username: String,
    pub(crate) secret: Secret,
    /// The credentials of the target, for mutual CHAP.
    pub(crate) target: Option<(String, Secret)>,
}

/// The credentials that a login uses, and the digests.
pub(crate) struct Proofs {
    /// `None`: without CHAP.
    pub(crate) chap: Option<ChapSecrets>,
    /// The preferred one first; never empty.
    pub(crate) algorithms: Vec<Algorithm>,
    /// Whether there are stored ones that must not be proven here.
    pub(crate) is_withheld: bool,
}

impl Proofs {
    /// These credentials, or none, with the digests that open-iscsi offers by default.
    pub(crate) fn with(chap: Option<ChapSecrets>) -> Self {
        Self { chap, algorithms: Algorithm::DEFAULT.to_vec(), is_withheld: false }
    }

    /// Those in a node's record.
    pub(super) fn of_node(record: &Record) -> Result<Self, RecordError> {
        proofs(record, Keys::Session)
    }

    /// The same without the credentials.
    pub(crate) fn withheld(self) -> Self {
        Self { is_withheld: self.is_withheld || self.chap.is_some(), chap: None, ..self }
    }
}

/// Where the secrets of iscsid.conf may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DefaultChap {
    /// To every portal: the caller may store secrets.
    Everywhere,
    /// To the portals that they are recorded for: whoever listens elsewhere could be anyone.
    WhereRecorded,
}

impl DefaultChap {
    /// What a caller who may store secrets, or may not, is given.
    pub(crate) fn of(may_store: bool) -> Self {
        if may_store { Self::Everywhere } else { Self::WhereRecorded }
    }
}

/// Where CHAP is stored.
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

impl Database {
    /// The credentials in a node's record.
    pub(crate) fn node_proofs(&self, node: &NodeKey) -> Result<Proofs, DatabaseError> {
        let dir = open(&self.root)?;
        let record = read_node(&dir, node)?.ok_or(DatabaseError::NoSuchNode)?;
        Proofs::of_node(&record).map_err(in_record(&dir, &node.path()))
    }

    /// Whether iscsid.conf has CHAP for discoveries.
    pub(crate) fn has_default_discovery_chap(&self) -> Result<bool, DatabaseError> {
        Ok(self.conf()?.value(&Keys::Discovery.key("password")).is_some())
    }

    /// The credentials for a discovery at this portal: from its own record, or else from
    /// iscsid.conf, if they may go there.
    pub(crate) fn discovery_proofs(
        &self,
        portal: &Portal,
        defaults: DefaultChap,
    ) -> Result<Proofs, DatabaseError> {
        if self.root.exists() {
            let (dir, path) = (open(&self.root)?, discovery_path(portal));
            // An empty one, as a crash leaves it, has nothing to say.
            if let Some(record) = read(&dir, &path)?.filter(|record| !record.is_empty()) {
                return proofs(&record, Keys::Discovery).map_err(in_record(&dir, &path));
            }
        }
        let proofs = proofs(&self.conf()?, Keys::Discovery).map_err(in_record(&open(&self.config)?, CONF))?;
        Ok(match defaults {
            DefaultChap::Everywhere => proofs,
            DefaultChap::WhereRecorded => proofs.withheld(),
        })
    }

    /// Sets or clears CHAP in the records of these nodes.
    pub(crate) fn set_node_chap(
        &self,
        nodes: &[NodeKey],
        secrets: Option<&ChapSecrets>,
    ) -> Result<(), DatabaseError> {
        self.edit(nodes, |record| set_chap(record, Keys::Session, secrets))
    }

    /// Has iscsid offer this digest to the node, which accepts it.
    pub(crate) fn set_algorithm(&self, node: &NodeKey, algorithm: Algorithm) -> Result<(), DatabaseError> {
        self.edit(std::slice::from_ref(node), |record| {
            record.set(&Keys::Session.key("chap_algs"), algorithm.name())
        })
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
            Some(record) if !record.is_empty() => record,
            _ => new_discovery_record(portal).map_err(in_record(&dir, &path))?,
        };
        set_chap(&mut record, Keys::Discovery, secrets).map_err(in_record(&dir, &path))?;
        if let Some((folder, _)) = path.rsplit_once('/') {
            dir.make_dirs(folder).map_err(io(&dir, &path))?;
        }
        write(&dir, &path, &record)
    }

    /// Sets or clears the CHAP of nodes yet to be discovered, in iscsid.conf, which becomes 0600.
    /// open-iscsi has no other place for it, and on Debian every user can read that file.
    pub(crate) fn set_default_chap(&self, secrets: Option<&ChapSecrets>) -> Result<(), DatabaseError> {
        let dir = open(&self.config)?;
        let _lock = self.locked()?;
        let mut conf = self.conf()?;
        set_chap(&mut conf, Keys::Session, secrets).map_err(in_record(&dir, CONF))?;
        dir.replace(CONF, &conf.to_bytes(), 0o600).map_err(io(&dir, CONF))
    }

    pub(super) fn conf(&self) -> Result<Record, DatabaseError> {
        let dir = open(&self.config)?;
        Ok(read(&dir, CONF)?.unwrap_or_else(|| Record::parse(b"")))
    }
}

fn discovery_path(portal: &Portal) -> String {
    format!("send_targets/{},{}/st_config", portal.host(), portal.port())
}

/// `authmethod` has no effect: CHAP is used if there is a password (usr/initiator_common.c,
/// `iscsi_setup_authentication`).
pub(super) fn chap_mode(record: &Record) -> ChapMode {
    let has = |name: &str| record.value(&Keys::Session.key(name)).is_some();
    match (has("password"), has("username_in") || has("password_in")) {
        (false, _) => ChapMode::None,
        (true, false) => ChapMode::OneWay,
        (true, true) => ChapMode::Mutual,
    }
}

fn chap(record: &Record, keys: Keys) -> Result<Option<ChapSecrets>, RecordError> {
    let text = |name: &str| match record.value(&keys.key(name)) {
        None => Ok(None),
        Some(value) => std::str::from_utf8(value).map(Some).map_err(|_| RecordError::BadSecret),
    };
    let secret = |name: &str| match text(name)? {
        None => Ok(None),
        Some(text) => Secret::new(text.to_owned()).map(Some).map_err(|_| RecordError::BadSecret),
    };
    let user = |name: &str| Ok(text(name)?.unwrap_or_default().to_owned());
    let Some(password) = secret("password")? else { return Ok(None) };
    let target = match secret("password_in")? {
        Some(secret) => Some((user("username_in")?, secret)),
        None => None,
    };
    Ok(Some(ChapSecrets { username: user("username")?, secret: password, target }))
}

fn proofs(record: &Record, keys: Keys) -> Result<Proofs, RecordError> {
    // A discovery record has the list under the name for sessions (usr/idbm.c,
    // `idbm_recinfo_discovery`).
    let named = [keys, Keys::Session].into_iter().find_map(|keys| record.get(&keys.key("chap_algs")));
    let named = named.unwrap_or_default();
    // open-iscsi also leaves out names that it does not know.
    let names = named.split([',', ' ', '\n']);
    let algorithms: Vec<Algorithm> = names.filter_map(|name| name.parse().ok()).collect();
    let proofs = Proofs::with(chap(record, keys)?);
    Ok(if algorithms.is_empty() { proofs } else { Proofs { algorithms, ..proofs } })
}

fn set_chap(record: &mut Record, keys: Keys, secrets: Option<&ChapSecrets>) -> Result<(), RecordError> {
    for name in ["authmethod", "username", "password", "username_in", "password_in"] {
        // Also removes lengths that an administrator may have set: they would no longer fit.
        record.remove(&keys.key(&format!("{name}_length")));
        if secrets.is_none() || name.ends_with("_in") {
            record.remove(&keys.key(name));
        }
        // What has no effect any more is still a secret.
        record.remove_earlier(&keys.key(name));
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

fn new_discovery_record(portal: &Portal) -> Result<Record, RecordError> {
    let mut record = Record::new();
    record.set("discovery.startup", "manual")?;
    record.set("discovery.type", "sendtargets")?;
    record.set("discovery.sendtargets.address", portal.host().to_string())?;
    record.set("discovery.sendtargets.port", portal.port().to_string())?;
    Ok(record)
}
