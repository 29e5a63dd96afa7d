//! What can be done: each act takes a Grant, acts through the backend, and looks again.
//! It may not know the bus, polkit's questions, a program or a file; it never records a wish.

mod ask;
mod diagnose;
mod examine;
mod login;
mod logout;
mod multipath;
mod records;
mod rescan;
mod stale_sessions;
mod state;
pub(crate) mod turns;

use std::{path::PathBuf, sync::Arc, time::Duration};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::{
    sync::{Mutex, RwLock, watch},
    time::Instant,
};
use zbus::Connection;

use self::turns::activity::Activity;
use self::{stale_sessions::Reach, turns::claims::Busy};
use crate::backend::{
    host::{layout::Layout, resolve},
    kernel::{
        stale_sessions::Abandoned,
        sysfs::{Session, Sysfs},
        usage::Usage,
    },
    multipath::{config::Multipath, daemon::Multipathd},
    open_iscsi::{
        database::{Database, Node, NodeKey},
        known_luns::Luns,
        undo::{Journal, settle},
    },
    systemd::Systemd,
};

pub(crate) use self::{
    login::connect::{Connection as Connecting, Progress},
    records::discover::Discovery,
};
pub(crate) use crate::backend::open_iscsi::database::chap::ChapSecrets;

/// Shorter than the 25 s after which common D-Bus clients give up.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// The engine; one for the daemon.
pub(crate) struct Engine {
    layout: Layout,
    database: Database,
    sysfs: Sysfs,
    abandoned: Abandoned,
    /// One at a time removes what was abandoned.
    removing: Arc<Mutex<()>>,
    /// Held, shared, by who asks iscsid for a session: it is not restarted under them. An iscsiadm that goes on after its
    /// call is seen among the processes.
    iscsid_in_use: Arc<RwLock<()>>,
    luns: Luns,
    /// What has to be put back if a change is cut off.
    journal: Journal,
    multipathd: Multipathd,
    multipath: Multipath,
    /// One setup at a time.
    multipath_turn: tokio::sync::Mutex<()>,
    usage: Usage,
    systemd: Systemd,
    busy: Busy,
    /// One logout at a time tears down: two that share a map would each leave it to the other.
    leaving: Mutex<()>,
    /// One examination at a time: everybody may ask for one, and each starts programs.
    examining: Mutex<()>,
    /// For what goes on after its call was answered.
    activity: Activity,
    changed: watch::Sender<()>,
}

impl Engine {
    /// An engine on this machine. `bus` is where systemd is asked.
    pub(crate) fn new(layout: Layout, bus: &Connection, activity: Activity) -> Arc<Self> {
        let database = Database::new(&layout.find_database(), &layout.config, &layout.lock);
        let sysfs = Sysfs::new(&layout.sys);
        let multipathd = Multipathd::new(&layout);
        let usage = Usage::new(&sysfs, &layout.proc, &layout.dev);
        let multipath = Multipath::new(&layout);
        let abandoned = Abandoned::new(&sysfs, &layout.sys, &layout.proc);
        let luns = Luns::new(&layout.state);
        let journal = Journal::new(&layout);
        let (changed, _) = watch::channel(());
        let engine = Self {
            layout,
            database,
            sysfs,
            abandoned,
            removing: Arc::default(),
            iscsid_in_use: Arc::default(),
            luns,
            journal,
            multipathd,
            multipath,
            multipath_turn: tokio::sync::Mutex::new(()),
            usage,
            systemd: Systemd::new(bus),
            busy: Busy::new(),
            leaving: Mutex::default(),
            examining: Mutex::default(),
            activity,
            changed,
        };
        let half_set_up = engine.recover();
        let engine = Arc::new(engine);
        let at_start = Arc::clone(&engine);
        let at_work = at_start.activity.begin();
        tokio::spawn(async move {
            at_start.take_back_setups(half_set_up).await;
            // Nobody was asked yet: what anybody can start does no more than that.
            at_start.remove_abandoned(Reach::Remove, deadline(None)).await;
            drop(at_work);
        });
        engine
    }

    /// Puts right, before the first call, what daemons that were killed left behind. Returns what has to wait for
    /// systemd: setups of multipath that were cut off.
    fn recover(&self) -> settle::Left {
        self.database.recover();
        let left = match self.journal.left() {
            Ok(left) => left,
            Err(error) => {
                tracing::warn!(%error, "what a killed daemon left cannot be looked at");
                return settle::Left::new();
            }
        };
        let left = settle::settle_login_retries(&self.database, left);
        let sessions = self.sysfs.sessions();
        let is_up = |node: &NodeKey| sessions.iter().any(|session| session.is_of(node));
        let left = settle::settle_records(&self.database, left, is_up);
        let (left, settled) = settle::settle_initiator_names(&self.layout.config, &self.layout.proc, left);
        if let Err(fault) = settled {
            tracing::warn!(error = fault.message(), "the initiator name is put back later");
        }
        left
    }

    /// Tells when the state may have changed through this daemon.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// iscsiadm, or what to install.
    fn iscsiadm(&self) -> Result<PathBuf> {
        self.layout.find_iscsiadm().map(PathBuf::from).ok_or_else(|| {
            Fault::new(Kind::BackendUnavailable, "open-iscsi is not installed: there is no iscsiadm")
                .hint("install the package open-iscsi (Debian) or open-iscsi (Arch)")
        })
    }

    /// Every session that something can be done with.
    async fn sessions(&self) -> Result<Vec<Session>> {
        let mut sessions = self.all_sessions().await?;
        sessions.retain(Session::is_made);
        Ok(sessions)
    }

    /// Also those that are being made, or never will be: nothing hides.
    async fn all_sessions(&self) -> Result<Vec<Session>> {
        let sysfs = self.sysfs.clone();
        blocking(move || sysfs.sessions()).await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        let database = self.database.clone();
        Ok(blocking(move || database.nodes()).await??)
    }

    /// The recorded nodes of a target, at one portal or at all.
    async fn nodes_of(&self, target: &Iqn, portals: Option<&[Portal]>) -> Result<Vec<Node>> {
        let mut nodes = self.nodes().await?;
        nodes.retain(|node| {
            node.key.target == *target && portals.is_none_or(|p| p.contains(&node.key.portal))
        });
        Ok(nodes)
    }
}

/// Every portal that the argument stands for; `None` stays "all".
async fn resolved(portal: Option<&Portal>, deadline: Instant) -> Result<Option<Vec<Portal>>> {
    match portal {
        None => Ok(None),
        Some(portal) => resolve::portals(portal, deadline).await.map(Some),
    }
}

fn no_such_node(target: &Iqn, portal: Option<&Portal>) -> Fault {
    let at = portal.map(|portal| format!(" at {portal}")).unwrap_or_default();
    let discover = portal.map_or_else(|| "ADDRESS".to_owned(), Portal::to_string);
    Fault::new(Kind::NoSuchNode, format!("no node is recorded for {target}{at}"))
        .hint(format!("discover it first: iscsictl discover {discover}"))
}

fn damaged(node: &NodeKey, why: impl std::fmt::Display) -> Fault {
    Fault::new(
        Kind::InvalidConfiguration,
        format!("the record of {} at {} is damaged: {why}", node.target, node.portal),
    )
    .hint(format!(
        "remove it and discover it again: iscsictl forget {} {}, then iscsictl discover {}",
        node.target, node.portal, node.portal
    ))
}

/// The deadline that the caller set, or ours.
fn deadline(timeout: Option<Duration>) -> Instant {
    Instant::now() + timeout.unwrap_or(DEFAULT_TIMEOUT)
}

/// A Grant is for one action: the wrong one opens nothing.
fn require(grant: &Grant, action: Action) -> Result<()> {
    if grant.action() == action {
        return Ok(());
    }
    Err(Fault::new(Kind::AccessDenied, "this was not what was allowed"))
}

/// The target that was granted.
fn target_of(grant: &Grant) -> Result<Iqn> {
    grant.target().cloned().ok_or_else(|| Fault::invalid("target", "an iSCSI name is missing"))
}

/// Runs what blocks where blocking is allowed.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Fault::new(Kind::Failed, "an internal task failed; the journal has the details"))
}

/// Writes down what became of an act: who, what, where, and how it ended.
fn log_act<T>(grant: &Grant, result: &Result<T>) {
    let caller = grant.caller();
    let target = grant.target().map_or("any", Iqn::as_str);
    let portal = grant.portal().map_or_else(|| "any".to_owned(), Portal::to_string);
    let (outcome, error) = match result {
        Ok(_) => ("done", None),
        // Shown with its unsafe characters escaped, as every text in the log is.
        Err(fault) => (fault.kind().short(), Some(fault.message())),
    };
    tracing::info!(
        uid = caller.uid(),
        pid = caller.pid(),
        unit = caller.unit(),
        action = %grant.action(),
        target,
        portal,
        outcome,
        error,
        "act"
    );
}

/// What the backend calls itself, for the property `Features`.
pub(crate) const FEATURES: &[&str] = &[
    "list-nodes",
    "discovery-chap",
    "mutual-chap",
    "secret-fd",
    "diagnose",
    "connect",
    "connect-progress",
    "forget",
    "add-node",
    "set-startup",
    "rescan",
    "interface",
    "setup-multipath",
    "lun-changed",
    "examine",
];
