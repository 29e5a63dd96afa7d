//! open-iscsi's database of node and discovery records.
//!
//! Must only be changed under its lock, and whole files at a time.
//!
//! | room | what it is |
//! |---|---|
//! | `backup` | a backup of a target's records before a call changes them |
//! | `chap` | the CHAP of nodes and of discoveries |
//! | `defaults` | what iscsid.conf puts into new records, and where its CHAP may go |
//! | `discoveries` | all discovery records |
//! | `for_login` | what a login needs of its records, read once |
//! | `forget` | removes node records |
//! | `half_automatic` | nodes that are automatic by one of their two keys only |
//! | `identity` | where a node's record is, and whether it is that node's |
//! | `iface_name` | validates the name of an iface |
//! | `ifaces` | open-iscsi's ifaces, which bind a node to a network interface |
//! | `listing` | lists node records, within limits |
//! | `lock` | open-iscsi's lock of the database |
//! | `login_retries` | lowers iscsid's retries of a first login for one attempt |
//! | `nodes` | node records: creates and changes them |
//! | `record` | the text of a record; what is not changed stays byte for byte |
//! | `recover` | cleans up what a killed daemon left in the database |
//! | `replaced` | keeps a copy of a damaged record that is replaced |
//! | `unlisted` | lines for which `iscsiadm -m node` lists no record |
//! | `written` | whether a record is as this daemon has written it |

pub(crate) mod backup;
pub(crate) mod chap;
mod defaults;
pub(crate) mod discoveries;
pub(crate) mod for_login;
mod forget;
mod half_automatic;
mod identity;
mod iface_name;
pub(crate) mod ifaces;
pub(crate) mod listing;
pub(crate) mod lock;
pub(crate) mod login_retries;
pub(crate) mod nodes;
pub(crate) mod record;
mod recover;
mod replaced;
pub(crate) mod unlisted;
pub(crate) mod written;

use std::path::{Path, PathBuf};

use iscsi_initiator_dbus::{
    Fault, Kind, hint,
    results::{ChapMode, Startup},
    shell::quoted,
};
use rustix::io::Errno;

pub(crate) use self::identity::NodeKey;
use self::{
    identity::check,
    lock::{Lock, LockError},
    record::{Record, RecordError},
};
use crate::backend::host::atomic::Dir;

/// A node with the content of its record, without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) key: NodeKey,
    pub(crate) startup: Startup,
    pub(crate) chap: ChapMode,
    /// The portal whose discovery recorded it.
    pub(crate) discovered_at: Option<(String, u16)>,
    /// The name of the network interface that it is bound to.
    pub(crate) interface: Option<String>,
    /// The same for display, or the hardware address if it is bound to that; empty if it is not
    /// bound.
    pub(crate) bound_to: String,
    /// The initiator name of its own, under which iscsid logs in instead of the machine's, valid or
    /// not.
    pub(crate) initiator: Option<String>,
    /// The line of its record that marks it for the boot, if there is one.
    pub(crate) boot: Option<&'static str>,
    /// Whether iscsid ends its session when it cannot connect again (`node.session.reopen_max`); by default it tries
    /// without end.
    pub(crate) is_given_up: bool,
    /// Why its record is unusable, if it is.
    pub(crate) damage: Option<RecordError>,
}

/// Why the database cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DatabaseError {
    #[error("{0}")]
    Lock(#[from] LockError),
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: Errno },
    #[error("{path}: {error}")]
    Record { path: PathBuf, error: RecordError },
    /// There is no room for more.
    #[error("{0}")]
    Full(String),
    #[error("no such node")]
    NoSuchNode,
    #[error("the open-iscsi iface {0} does not bind to the network interface of that name")]
    IfaceTaken(String),
}

impl From<DatabaseError> for Fault {
    fn from(error: DatabaseError) -> Self {
        match &error {
            DatabaseError::Lock(LockError::Held(path)) => {
                Self::new(Kind::Busy, "open-iscsi's database is locked by another program")
                    .hint(hint!("if no iscsiadm is running: sudo rm {FILE}", FILE = path.display()))
            }
            DatabaseError::Lock(_) | DatabaseError::Record { .. } => {
                Self::new(Kind::InvalidConfiguration, error.to_string())
            }
            DatabaseError::Io { error: Errno::LOOP, path } => {
                let at = path.display();
                Self::new(
                    Kind::InvalidConfiguration,
                    format!("{at}: a symlink in this path leads where other users can change something, and is not followed"),
                )
                .hint(format!("see who can: namei -l {}", quoted(at.to_string())))
            }
            DatabaseError::Io { error: Errno::XDEV, path } => Self::new(
                Kind::InvalidConfiguration,
                format!(
                    "{} is on another file system than open-iscsi's database, where it cannot be replaced as a \
                     whole",
                    path.display()
                ),
            )
            .hint("mount that file system at the database itself, instead of linking to it"),
            DatabaseError::Io { error: Errno::PERM | Errno::INVAL | Errno::FBIG, path } => {
                Self::new(
                    Kind::InvalidConfiguration,
                    format!("{} is not a regular file owned by root", path.display()),
                )
            }
            DatabaseError::Io { error: Errno::NOENT, path } => Self::new(
                Kind::BackendUnavailable,
                format!("{} is missing: open-iscsi is not installed", path.display()),
            )
            .hint("install the package open-iscsi"),
            DatabaseError::Io { error: Errno::NOSPC | Errno::DQUOT, path } => {
                Self::new(Kind::Failed, format!("the disk is full: {} is unchanged", path.display()))
            }
            DatabaseError::Io { .. } => Self::new(Kind::Failed, error.to_string()),
            DatabaseError::IfaceTaken(name) => {
                Self::new(Kind::InvalidConfiguration, error.to_string()).hint(hint!(
                    "if nothing needs it, delete it: sudo iscsiadm -m iface -I {INTERFACE} -o delete",
                    INTERFACE = name
                ))
            }
            DatabaseError::Full(_) => Self::new(Kind::Failed, format!("nothing was recorded: {error}"))
                .hint("forget what is not needed; see what is recorded: iscsictl nodes"),
            DatabaseError::NoSuchNode => Self::new(Kind::NoSuchNode, error.to_string()),
        }
    }
}

/// The database and the files next to it. Every method blocks: call it where blocking is allowed.
#[derive(Clone, Debug)]
pub(crate) struct Database {
    /// The folder of `nodes` and `send_targets`, which is compiled into open-iscsi.
    root: PathBuf,
    /// The folder of iscsid.conf.
    config: PathBuf,
    lock: PathBuf,
}

impl Database {
    pub(crate) fn new(root: &Path, config: &Path, lock: &Path) -> Self {
        Self { root: root.to_owned(), config: config.to_owned(), lock: lock.to_owned() }
    }

    /// The records in another folder.
    pub(crate) fn at(&self, root: &Path) -> Self {
        Self { root: root.to_owned(), ..self.clone() }
    }

    /// Whether any node may be recorded: a glance, without reading a record.
    pub(crate) fn may_have_nodes(&self) -> bool {
        match std::fs::read_dir(self.root.join("nodes")) {
            Ok(mut targets) => targets.next().is_some(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        }
    }

    fn locked(&self) -> Result<Lock, DatabaseError> {
        Ok(Lock::take(&self.lock)?)
    }

    /// The database's directory, created if open-iscsi has not yet done so.
    fn dir(&self) -> Result<Dir, DatabaseError> {
        if let Err(error) = std::fs::create_dir_all(&self.root) {
            let error = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            return Err(DatabaseError::Io { path: self.root.clone(), error });
        }
        open(&self.root)
    }

    /// Changes the records of these nodes. All of them are changed in memory before the first is
    /// written.
    fn edit(
        &self,
        nodes: &[NodeKey],
        change: impl Fn(&mut Record) -> Result<(), RecordError>,
    ) -> Result<(), DatabaseError> {
        let dir = open(&self.root)?;
        let _lock = self.locked()?;
        let mut changed = Vec::with_capacity(nodes.len());
        for node in nodes {
            let path = node.path();
            let mut record = read_node(&dir, node)?.ok_or(DatabaseError::NoSuchNode)?;
            change(&mut record).map_err(in_record(&dir, &path))?;
            changed.push((path, record));
        }
        changed.iter().try_for_each(|(path, record)| write(&dir, path, record))
    }
}

fn open(path: &Path) -> Result<Dir, DatabaseError> {
    Dir::open_with_links(path).map_err(|error| DatabaseError::Io { path: path.to_owned(), error })
}

fn io(dir: &Dir, relative: &str) -> impl FnOnce(Errno) -> DatabaseError {
    let path = dir.path().join(relative);
    move |error| DatabaseError::Io { path, error }
}

fn in_record(dir: &Dir, relative: &str) -> impl FnOnce(RecordError) -> DatabaseError {
    let path = dir.path().join(relative);
    move |error| DatabaseError::Record { path, error }
}

/// An open-iscsi file, whatever is in it.
fn read(dir: &Dir, relative: &str) -> Result<Option<Record>, DatabaseError> {
    let bytes = dir.read_of_any_owner(relative).map_err(io(dir, relative))?;
    Ok(bytes.map(|bytes| Record::parse(&bytes)))
}

/// The record of a node, if it is one that open-iscsi can use for it.
fn read_node(dir: &Dir, node: &NodeKey) -> Result<Option<Record>, DatabaseError> {
    read_as(dir, &node.path(), node)
}

/// The same by its path from an open folder.
fn read_as(dir: &Dir, path: &str, node: &NodeKey) -> Result<Option<Record>, DatabaseError> {
    let Some(record) = read(dir, path)? else { return Ok(None) };
    check(&record, node).map_err(in_record(dir, path))?;
    Ok(Some(record))
}

fn write(dir: &Dir, relative: &str, record: &Record) -> Result<(), DatabaseError> {
    dir.replace(relative, &record.to_bytes(), 0o600).map_err(io(dir, relative))
}
