//! One try at a portal: whether anything accepts a connection there, and if so, the logins of its missing nodes, each
//! target by itself.
//! Must not hold a target's claim before its portal has answered: calls would get `Busy` for a portal that is away.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, Portal,
    fault::Result,
    results::{self, Startup},
};
use tokio::task::JoinSet;

use crate::{
    backend::{
        host::{cancel::Cancel, limit::Limit},
        open_iscsi::database::{NodeKey, chap::Proofs},
    },
    engine::{
        Engine,
        ask::{addresses::first_answer, asked::Asked},
        call::Progress,
        login::{Wishes, before, hold::Hold, log_in},
        turns::missing::plan::Way,
    },
};

/// How long a portal may take to accept a connection.
const REACHED: Duration = Duration::from_secs(5);
/// The same for another portal of a target, one of whose portals has just done so: the login waits for that.
const REACHED_WITH: Duration = Duration::from_millis(500);
/// How long a login may take, with the disks and maps.
const LOGIN: Duration = Duration::from_secs(60);

/// What became of a try.
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// What each node failed with.
    pub(super) faults: BTreeMap<NodeKey, Fault>,
    /// The session of each that has one: a record may have its portal's name, and the kernel its address.
    pub(super) sessions: BTreeMap<NodeKey, u32>,
}

/// Tries it. Ends soon after the daemon is asked to stop.
pub(super) async fn attempt(engine: &Arc<Engine>, way: &Way, nodes: &[NodeKey]) -> Tried {
    let mut tried = Tried::default();
    let Some(first) = nodes.first() else { return tried };
    if let Err(fault) = reach(engine, way, &first.target, REACHED).await {
        tried.faults = nodes.iter().map(|node| (node.clone(), fault.clone())).collect();
        return tried;
    }
    let mut by_target: BTreeMap<Iqn, BTreeSet<NodeKey>> = BTreeMap::new();
    for node in nodes {
        by_target.entry(node.target.clone()).or_default().insert(node.clone());
    }
    let with = returned_with(engine, way, nodes).await;
    let mut logins = JoinSet::new();
    for (target, nodes) in by_target {
        let engine = Arc::clone(engine);
        let with: BTreeSet<NodeKey> = with.iter().filter(|node| node.target == target).cloned().collect();
        logins.spawn(async move {
            let all = nodes.union(&with).cloned().collect();
            let mut entries = log_in_to(&engine, &target, all).await;
            // The error may be another portal's.
            if !with.is_empty() && entries.as_ref().is_err_and(|fault| fault.kind() != Kind::Cancelled) {
                entries = log_in_to(&engine, &target, nodes.clone()).await;
            }
            (nodes, with, entries)
        });
    }
    while let Some(ended) = logins.join_next().await {
        let Ok((nodes, with, entries)) = ended else { continue };
        for node in nodes.iter().chain(&with) {
            // What the others failed with is for their own tries.
            let is_own = nodes.contains(node);
            match entries.as_ref().map(|entries| entry_of(entries, node)) {
                // A call came first: that is no reason why the node is missing.
                Err(fault) if fault.kind() == Kind::Cancelled => {}
                Err(fault) if is_own => drop(tried.faults.insert(node.clone(), fault.clone())),
                Ok(Some(Err(fault))) if is_own => drop(tried.faults.insert(node.clone(), fault)),
                Ok(Some(Ok(sid))) => drop(tried.sessions.insert(node.clone(), sid)),
                Err(_) | Ok(_) => {}
            }
        }
    }
    tried
}

/// What of these nodes' targets is missing at other portals that answer by now, too: a gateway returns with all of its
/// portals, and a second login to the target would have to wait for the disks and maps of the first.
async fn returned_with(engine: &Arc<Engine>, way: &Way, nodes: &[NodeKey]) -> BTreeSet<NodeKey> {
    let targets = nodes.iter().map(|node| node.target.clone()).collect();
    let others = engine.turns.missing.plan().others(way, &targets);
    let mut asked = JoinSet::new();
    for (other, nodes) in others {
        let engine = Arc::clone(engine);
        asked.spawn(async move {
            let target = &nodes.first()?.target;
            reach(&engine, &other, target, REACHED_WITH).await.ok().map(|()| nodes)
        });
    }
    let mut returned = BTreeSet::new();
    while let Some(ended) = asked.join_next().await {
        if let Ok(Some(nodes)) = ended {
            returned.extend(nodes);
        }
    }
    returned
}

/// Whether any address of the portal accepts a connection within this time.
async fn reach(engine: &Engine, way: &Way, target: &Iqn, time: Duration) -> Result<()> {
    let limit = Limit::of(time);
    let portals = engine.resolver.portals(&way.portal, &limit).await?;
    let ask = |portal: Portal| {
        let (interface, target, at, limit) =
            (way.interface.clone(), target.clone(), portal.clone(), limit.clone());
        let asked = async move {
            let nothing = Proofs::with(None);
            // No name is sent.
            let asked = Asked::new(&target, None, &portal, &nothing)?.through(interface.as_deref());
            asked.reach(&limit).await.map_err(|refusal| asked.fault(&refusal))
        };
        (at, asked)
    };
    first_answer(portals.into_iter().map(ask).collect(), &limit).await.map(drop)
}

/// Logs in to those of the nodes that are still wished for.
async fn log_in_to(
    engine: &Arc<Engine>,
    target: &Iqn,
    nodes: BTreeSet<NodeKey>,
) -> Result<Vec<results::Login>> {
    let _at_work = engine.turns.activity.begin();
    let cancel = Cancel::default();
    let limit = &Limit::new(LOGIN, cancel.clone());
    let login = async {
        let claim = engine.turns.claims.claim_last(target, cancel.clone(), limit).await?;
        let hold = Hold::new(claim);
        // A person may have logged out, or changed the records, in the meantime.
        let nodes = engine.turns.missing.wishes.still(nodes).await?;
        if nodes.is_empty() {
            return Ok(Vec::new());
        }
        let wishes =
            Wishes { startup: None, wait: true, accept_changed_luns: false, progress: Progress::none() };
        let mut before = before::look_at(engine, target, nodes, wishes.terms(), limit).await?;
        before.gone.clear();
        before.nodes.retain(|node| node.startup == Startup::Automatic && node.boot.is_none());
        if before.nodes.is_empty() {
            return Ok(Vec::new());
        }
        let share = engine.turns.places.share(before.nodes.len(), limit);
        log_in(engine, target, before, &hold, &share, &wishes, limit).await
    };
    let mut login = std::pin::pin!(login);
    let entries = tokio::select! {
        entries = &mut login => entries,
        () = engine.turns.activity.stopping() => {
            cancel.cancel();
            login.await
        }
    };
    engine.kept.acted_on(Some(target));
    engine.show().await;
    entries
}

/// The number of the node's session, or what it failed with, as its entry says.
fn entry_of(entries: &[results::Login], node: &NodeKey) -> Option<Result<u32>> {
    let portal = node.portal.to_string();
    let mut entries = entries.iter().filter(|entry| entry.portal == portal);
    let entry = entries.next()?;
    if entry.error.is_empty() {
        return (entry.sid != 0).then_some(Ok(entry.sid));
    }
    let kind: Kind = entry.error.parse().unwrap_or(Kind::Failed);
    Some(Err(Fault::new(kind, entry.message.clone()).hint(entry.hint.clone())))
}
