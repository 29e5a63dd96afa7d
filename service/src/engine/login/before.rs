//! What a login begins with, read in one go: the target's records and sessions, and what of this machine it depends on.
//! Must not change anything but what a killed iscsid left half made, and that only for a login that is not refused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use iscsi_initiator_dbus::{Fault, Iqn, Portal, fault::Result};

use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        kernel::sysfs::{Map, Scope, Session},
        open_iscsi::{
            database::{Node, NodeKey, for_login::ForLogin},
            initiator_name, iscsid,
            known_luns::Wwids,
        },
    },
    engine::{
        Engine,
        leftovers::stale_sessions::{self, Reach},
        records::{
            lookup::{meant_among, none},
            startup,
        },
        state::snapshot::Snapshot,
        turns::places::check_number,
    },
};

/// What of a login's options decides before it begins.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    /// Whether it waits for disks.
    pub(super) waits: bool,
    /// Whether it changes when the nodes are logged in to.
    pub(super) sets_startup: bool,
}

/// Which nodes of a target are meant.
#[derive(Clone)]
enum Meant {
    All,
    At(Vec<Portal>),
    /// These, which were recorded before the look.
    Those(BTreeSet<NodeKey>),
}

impl Meant {
    fn has(&self, node: &NodeKey) -> bool {
        match self {
            Self::All => true,
            Self::At(portals) => portals.contains(&node.portal),
            Self::Those(nodes) => nodes.contains(node),
        }
    }
}

/// A target before a login.
pub(super) struct Before {
    /// Those that are meant.
    pub(super) nodes: Vec<Node>,
    /// Those that are meant as well, and were removed meanwhile.
    pub(super) gone: Vec<NodeKey>,
    /// What a login needs of each record that can be used, of a node without a session.
    pub(super) records: BTreeMap<NodeKey, ForLogin>,
    /// The nodes whose records leave the scan for LUNs to a person.
    pub(super) unscanned: BTreeSet<NodeKey>,
    /// Whether records are as a login before has left them, which could not restore them.
    pub(super) has_debts: bool,
    /// The target's sessions; if the login waits, with what their disks are shared with.
    pub(super) sessions: Arc<Snapshot>,
    /// What is known of its LUNs.
    pub(super) known_luns: Result<Wwids>,
    /// The maps without a path, if one may be the target's.
    pub(super) pathless: Vec<Map>,
    /// What a login at a node without a session needs.
    pub(super) needs: Option<Needs>,
    /// Whether there is a session that a killed iscsid left half made, and a node has none that is whole.
    has_stale: bool,
}

impl Before {
    /// Refuses the login for what was read, before anything is changed. `asked` is the portal as the caller named it.
    async fn refuse(
        self,
        engine: &Engine,
        target: &Iqn,
        asked: Option<&Portal>,
        terms: Terms,
    ) -> Result<Self> {
        if self.nodes.is_empty() && self.gone.is_empty() {
            return Err(none(engine, target, asked).await);
        }
        check_number(self.nodes.len())?;
        if terms.sets_startup {
            startup::refuse_boots(&self.nodes)?;
        }
        // Of a login that waits, an unreadable file stops it before it begins.
        if terms.waits {
            self.known_luns.as_ref().map_err(Fault::clone)?;
        }
        Ok(self)
    }
}

/// What of this machine a login needs.
pub(super) struct Needs {
    /// Whether root listens on iscsid's socket.
    pub(super) iscsid: Result<()>,
    /// The machine's name, which a record may have its own instead of.
    pub(super) initiator: Result<Iqn>,
}

impl Needs {
    /// Looked at now.
    pub(super) async fn look(engine: &Engine) -> Result<Self> {
        let (socket, config) = (iscsid::Socket::new(&engine.layout), engine.layout.config.clone());
        reading(move || Self::look_now(&socket, &config)).await
    }

    fn look_now(socket: &iscsid::Socket, config: &std::path::Path) -> Self {
        let iscsid = socket.check_now();
        Self { iscsid, initiator: initiator_name::look(config).and_then(|file| file.name()) }
    }
}

/// Looks at the target for a login at this portal or at all, without what a killed iscsid left half made.
pub(super) async fn look(
    engine: &Engine,
    target: &Iqn,
    asked: Option<&Portal>,
    terms: Terms,
    limit: &Limit,
) -> Result<Before> {
    let as_named = asked.map_or(Meant::All, |asked| Meant::At(vec![asked.clone()]));
    let (mut before, others) = read(engine, target, &as_named, terms.waits).await?;
    let mut meant = as_named;
    if before.nodes.is_empty()
        && let Some(portals) = meant_among(engine, &others, asked, limit).await?
    {
        // Resolving names takes its time: what there is, is what there is after it.
        meant = Meant::At(portals);
        before = read(engine, target, &meant, terms.waits).await?.0;
    }
    let before = before.refuse(engine, target, asked, terms).await?;
    without_stale_sessions(engine, target, before, &meant, asked, terms, limit).await
}

/// The same for a login at these nodes, which were recorded for it.
pub(super) async fn look_at(
    engine: &Engine,
    target: &Iqn,
    nodes: BTreeSet<NodeKey>,
    terms: Terms,
    limit: &Limit,
) -> Result<Before> {
    let meant = Meant::Those(nodes);
    let before = read(engine, target, &meant, terms.waits).await?.0;
    let before = before.refuse(engine, target, None, terms).await?;
    without_stale_sessions(engine, target, before, &meant, None, terms, limit).await
}

/// Looks again if stale sessions had to be removed first: nothing stands in the way of the login.
async fn without_stale_sessions(
    engine: &Engine,
    target: &Iqn,
    before: Before,
    meant: &Meant,
    asked: Option<&Portal>,
    terms: Terms,
    limit: &Limit,
) -> Result<Before> {
    if !before.has_stale {
        return Ok(before);
    }
    // With its secrets.
    drop(before);
    stale_sessions::remove(engine, Reach::Restart, limit).await;
    read(engine, target, meant, terms.waits).await?.0.refuse(engine, target, asked, terms).await
}

/// Reads it, and which other nodes of the target there are. `waits` says whether the login waits for disks.
async fn read(engine: &Engine, target: &Iqn, meant: &Meant, waits: bool) -> Result<(Before, Vec<Node>)> {
    let (database, journal, known_luns) =
        (engine.database.clone(), engine.journal.clone(), engine.known_luns.clone());
    let (sysfs, stale_sessions) = (engine.state.sysfs.clone(), engine.stale_sessions.clone());
    let (socket, config) = (iscsid::Socket::new(&engine.layout), engine.layout.config.clone());
    let (state, target, meant) = (engine.state.clone(), target.clone(), meant.clone());
    let reading = reading(move || {
        // Of an attempt before. Asked before the records are read: one that is settled in between counts as a debt, and
        // what was read of its record is not relied on. If it is not known, it is found out when the records are changed.
        let has_debts = journal.has_login_retries().unwrap_or(true);
        let (sessions, all) = sysfs.sessions_and_numbers(&Scope::of([&target]), waits);
        let sessions = Snapshot::of_sessions(sessions);
        let is_up = |node: &NodeKey| sessions.session_of(node).is_some();
        let recorded = database.records_for_login(&target, |node| meant.has(node) && !is_up(node))?;
        state.report(recorded.left_out.as_deref());
        let (nodes, others): (Vec<_>, Vec<_>) =
            recorded.nodes.into_iter().partition(|node| meant.has(&node.key));
        let mut gone = match meant {
            Meant::Those(expected) => expected,
            Meant::All | Meant::At(_) => BTreeSet::new(),
        };
        gone.retain(|gone| nodes.iter().all(|node| node.key != *gone));
        // What has disks is not half made.
        let is_whole = |session: &Session| session.state == "LOGGED_IN" && !session.disks.is_empty();
        let are_whole = nodes.iter().all(|node| sessions.session_of(&node.key).is_some_and(is_whole));
        let has_stale = !are_whole && stale_sessions.are_among(&all);
        let are_up = nodes.iter().all(|node| is_up(&node.key));
        let known_luns = known_luns.of(&target);
        let is_its = |session: &Arc<Session>| session.target == target.as_str();
        // Their paths come back to those that something has open. With a session there is none, and a map is a target's
        // by what is known of its LUNs.
        let may_have_left = !sessions.all_sessions().iter().any(is_its)
            && known_luns.as_ref().map_or(true, |known| !known.is_empty());
        let before = Before {
            gone: gone.into_iter().collect(),
            records: recorded.for_login,
            unscanned: recorded.unscanned,
            has_debts,
            needs: (!are_up).then(|| Needs::look_now(&socket, &config)),
            pathless: if may_have_left { sysfs.pathless_maps() } else { Vec::new() },
            sessions: Arc::new(sessions),
            known_luns,
            nodes,
            has_stale,
        };
        Ok((before, others))
    });
    reading.await?
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, time::Duration};

    use iscsi_initiator_dbus::{Kind, options::LoginOptions, results::Startup};
    use iscsi_initiator_fake::{Bus, Machine, target::Chap};
    use iscsi_initiator_polkit::{Action, Details, Grant};

    use super::*;
    use crate::{
        Activity, Layout,
        backend::host::cancel::Cancel,
        engine::{
            call::{Call, Progress},
            login::{Hold, Wishes, log_in},
        },
    };

    const TARGET: &str = "iqn.2003-01.com.example:disks";
    const SECRET: &str = "mypassword12";

    struct World {
        machine: Machine,
        engine: Arc<Engine>,
        target: Iqn,
        portals: [SocketAddr; 2],
        // The bus that systemd would be asked on.
        _bus: Bus,
    }

    impl World {
        /// A target with a record of each of its two portals.
        async fn new() -> Self {
            let (machine, bus) = (Machine::new(), Bus::session());
            let portals = machine.add_gateway(TARGET, Chap::new("libvirtd", SECRET));
            machine.start_multipathd();
            let engine =
                Engine::new(Layout::below(&machine.root()), &bus.connect().await, Activity::default());
            let world = Self { machine, engine, target: TARGET.parse().unwrap(), portals, _bus: bus };
            portals.iter().for_each(|portal| world.record(*portal, ""));
            world
        }

        fn record(&self, portal: SocketAddr, more: &str) {
            let chap = "node.session.auth.username = libvirtd\nnode.session.auth.password = ";
            let text = format!("{chap}{SECRET}\n{more}");
            self.machine.record(TARGET, &portal.ip().to_string(), portal.port(), &text);
        }

        /// A session that an iscsid was killed over.
        fn leave_stale_session(&self) {
            let sid = self.machine.session("iqn.2003-01.com.example:other", "192.0.2.99", "3260");
            let session = format!("sys/class/iscsi_session/session{sid}");
            self.machine.remove(&format!("{session}/targetname"));
            // No process has this number.
            self.machine.put(&format!("{session}/creator"), "4194303\n", 0o444);
        }

        async fn read(&self, meant: &Meant) -> Before {
            read(&self.engine, &self.target, meant, true).await.unwrap().0
        }

        /// Which nodes a look has the secrets of.
        async fn secrets(&self, meant: &Meant) -> Vec<String> {
            let before = self.read(meant).await;
            before.records.into_keys().map(|node| node.portal.to_string()).collect()
        }

        async fn log_in(&self, portal: Option<&Portal>, options: LoginOptions) -> Result<usize> {
            let details = Details { target: Some(&self.target), portal, interface: None };
            let grant = Grant::forged(Action::Login, details);
            let call = Call::new(grant, None, Cancel::default(), Progress::none());
            self.engine.login(&call, &options).await.map(|entries| entries.len())
        }
    }

    #[tokio::test]
    async fn a_login_that_is_refused_does_not_begin_with_the_removal_of_stale_sessions() {
        let world = World::new().await;
        world.record(world.portals[1], "node.discovery_type = fw\n");
        world.leave_stale_session();
        assert!(world.read(&Meant::All).await.has_stale);
        // Whoever removes them waits for this, with all the time of its call.
        let _turn = Arc::clone(&world.engine.turns.acts.stale_sessions).lock_owned().await;
        let refused = async |portal: Option<&str>, startup| {
            let mut options = LoginOptions::new();
            options.startup = startup;
            let portal = portal.map(|portal| portal.parse().unwrap());
            let login = world.log_in(portal.as_ref(), options);
            let soon = tokio::time::timeout(Duration::from_secs(10), login).await;
            soon.expect("it waits for its turn to remove stale sessions").unwrap_err()
        };
        let fault = refused(Some("192.0.2.254:3260"), None).await;
        assert_eq!(fault.kind(), Kind::NoSuchNode, "{fault}");
        let fault = refused(None, Some(Startup::Automatic)).await;
        assert!(fault.message().contains("node.discovery_type = fw"), "{fault}");
    }

    #[tokio::test]
    async fn only_the_secrets_that_the_login_proves_are_kept() {
        let world = World::new().await;
        let [one, other] = world.portals.map(|portal| portal.to_string());
        assert_eq!(world.secrets(&Meant::All).await, [one.clone(), other.clone()]);
        let at = Meant::At(vec![other.parse().unwrap()]);
        assert_eq!(world.secrets(&at).await, [other.as_str()]);
        world.log_in(Some(&other.parse().unwrap()), LoginOptions::new()).await.unwrap();
        assert_eq!(world.secrets(&at).await, [""; 0], "it is up");
        assert_eq!(world.secrets(&Meant::All).await, [one]);
    }

    #[tokio::test]
    async fn a_node_whose_record_was_removed_meanwhile_has_an_entry_that_says_so() {
        let world = World::new().await;
        let mut nodes: BTreeSet<NodeKey> =
            world.read(&Meant::All).await.nodes.into_iter().map(|node| node.key).collect();
        let mut gone = nodes.first().unwrap().clone();
        gone.portal = "192.0.2.254:3260".parse().unwrap();
        nodes.insert(gone.clone());
        let wishes =
            Wishes { startup: None, wait: true, accept_changed_luns: false, progress: Progress::none() };
        let (engine, limit) = (&world.engine, &Limit::of(Duration::from_secs(60)));
        let log_in_at = async |nodes: BTreeSet<NodeKey>| {
            let hold = Hold::new(engine.turns.claims.claim(&world.target)?);
            let share = engine.turns.places.share(nodes.len(), limit);
            let before = look_at(engine, &world.target, nodes, wishes.terms(), limit).await?;
            log_in(engine, &world.target, before, &hold, &share, &wishes, limit).await
        };
        let entries = log_in_at(nodes).await.unwrap();
        assert_eq!(entries.iter().filter(|entry| entry.error.is_empty()).count(), 2, "{entries:?}");
        let failed = entries.iter().find(|entry| entry.portal == gone.portal.to_string()).unwrap();
        assert_eq!(failed.error, Kind::NoSuchNode.name(), "{failed:?}");
        assert!(failed.message.contains("removed"), "{failed:?}");
        let fault = log_in_at([gone].into()).await.unwrap_err();
        assert!(fault.kind() == Kind::NoSuchNode && fault.message().contains("removed"), "{fault}");
    }
}
