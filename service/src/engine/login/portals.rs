//! Handles all portals at the same time, so that a dead one never delays a live one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result, hint};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    addresses::ask_any,
    answer::{Done, Outcome},
    attempt,
    before::{Before, Needs},
    hold::Hold,
    lost,
    retries::Lowering,
    there,
    together::{Seat, Together},
};
use crate::{
    backend::{
        host::{limit::Limit, threads::blocking},
        kernel::sysfs::Scope,
        open_iscsi::{
            database::{Node, NodeKey, backup::RecordsBackup, for_login::ForLogin},
            iscsiadm::Iscsiadm,
        },
    },
    engine::{
        Engine,
        ask::to_adopt,
        leftovers::pathless_maps::{self, PathlessMap},
        records::{
            initiator_name,
            lookup::{damaged, removed},
        },
        state::{shared_look::SharedLook, snapshot::Snapshot},
        turns::places::Share,
    },
};

/// How long to wait for other portals once one would accept the login. A live portal that loses its
/// first packet answers after a second.
const STRAGGLERS: Duration = Duration::from_millis(1500);

/// What the attempts of one call share.
#[derive(Clone)]
struct Attempts {
    /// The machine's name, which a record may have its own instead of.
    initiator: Result<Iqn>,
    iscsiadm: Iscsiadm,
    /// Held by an attempt that continues after the call.
    hold: Hold,
    /// What became of them.
    looks: Arc<SharedLook>,
    /// A place for each attempt that runs.
    share: Share,
    /// Set when a portal would accept the login.
    welcome: Arc<Notify>,
    /// When to stop waiting for portals that have not answered.
    hurried: watch::Receiver<bool>,
    limit: Limit,
}

/// What became of a login.
pub(super) struct Reached {
    pub(super) outcomes: BTreeMap<NodeKey, Outcome>,
    /// The target's sessions after it, if they were looked at after everything that changed them; in brief, unless that is
    /// the look from before.
    pub(super) now: Option<Arc<Snapshot>>,
    /// Whether that is the look from before the login: there was nothing to do.
    pub(super) is_as_before: bool,
    /// The maps that an earlier logout left, and that something has open.
    pub(super) pathless: Vec<PathlessMap>,
}

/// Logs in at all nodes of this look, with an outcome each. Those that were removed before it have failed. Before it
/// changes anything, it refuses what this machine cannot do.
pub(super) async fn log_in(
    engine: &Arc<Engine>,
    target: &Iqn,
    Before { nodes, gone, mut records, has_debts, sessions: before, needs, pathless, .. }: Before,
    hold: &Hold,
    share: &Share,
    limit: &Limit,
) -> Result<Reached> {
    let mut outcomes: BTreeMap<NodeKey, Outcome> =
        gone.into_iter().map(|node| (node.clone(), Err(removed(&node)))).collect();
    let (mut down, mut lost) = (Vec::new(), Vec::new());
    for node in &nodes {
        let Some(sid) = there::session(engine, &before, &node.key, limit).await else {
            down.push(node);
            continue;
        };
        if before.session(sid).is_some_and(|session| session.state != "LOGGED_IN") {
            lost.push(node.clone());
        }
        outcomes.insert(node.key.clone(), Ok(Done::already(sid)));
    }
    let way = if down.is_empty() { None } else { Some(Way::find(engine, needs).await?) };
    let pathless = pathless_maps::take_away_of(engine, pathless, Some(target)).await?.kept;
    if down.is_empty() && lost.is_empty() {
        return Ok(Reached { outcomes, now: Some(before), is_as_before: true, pathless });
    }
    // What the disks are is looked at once they are waited for.
    let looks = Arc::new(SharedLook::of(Scope::of(down.iter().map(|node| &node.key.target)).in_brief()));
    let down = Down {
        records: down.iter().filter_map(|node| records.remove_entry(&node.key)).collect(),
        nodes: down,
        has_debts,
        way,
    };
    // The rest of the secrets.
    drop(records);
    // Neither waits for the other.
    let (outcomes, words) = tokio::join!(
        attempt_all(engine, down, outcomes, &looks, hold, share, limit),
        lost::ask(engine, lost, share, limit)
    );
    let mut outcomes = outcomes?;
    // Sessions that had lost their connection may have it back meanwhile, and one that was only heard of came
    // after the look.
    let is_seen = |now: &Arc<Snapshot>| {
        let mut up = outcomes.iter().filter_map(|(key, outcome)| Some((key, outcome.as_ref().ok()?)));
        up.all(|(key, done)| !done.sessions(now, key).is_empty())
    };
    let now = if words.is_empty() { looks.last().await.filter(is_seen) } else { None };
    for (key, word) in words {
        if let Some(Ok(done)) = outcomes.get_mut(&key) {
            done.word = Some(word);
        }
    }
    at_inner_addresses(&nodes, &mut outcomes);
    Ok(Reached { outcomes, now, is_as_before: false, pathless })
}

/// The nodes without a session.
struct Down<'a> {
    nodes: Vec<&'a Node>,
    records: BTreeMap<NodeKey, ForLogin>,
    has_debts: bool,
    /// There is one if there are nodes.
    way: Option<Way>,
}

/// What this machine logs in with.
struct Way {
    iscsiadm: Iscsiadm,
    initiator: Result<Iqn>,
}

impl Way {
    /// Refuses a login that could not succeed anywhere.
    async fn find(engine: &Engine, needs: Option<Needs>) -> Result<Self> {
        let iscsiadm = Iscsiadm::find(&engine.layout)?;
        let Needs { iscsid, initiator } = match needs {
            Some(needs) => needs,
            None => Needs::look(engine).await?,
        };
        iscsid?;
        Ok(Self { iscsiadm, initiator })
    }
}

/// Logs in at the nodes that are down, beside those that are up.
async fn attempt_all(
    engine: &Arc<Engine>,
    Down { nodes: down, mut records, has_debts, way }: Down<'_>,
    mut outcomes: BTreeMap<NodeKey, Outcome>,
    looks: &Arc<SharedLook>,
    hold: &Hold,
    share: &Share,
    limit: &Limit,
) -> Result<BTreeMap<NodeKey, Outcome>> {
    let Some(Way { iscsiadm, initiator }) = way else { return Ok(outcomes) };
    let (hurry, hurried) = watch::channel(false);
    let welcome = Arc::new(Notify::new());
    let (hold, share, heard) = (hold.clone(), share.clone(), Arc::clone(&welcome));
    let looks = Arc::clone(looks);
    let shared = Attempts { initiator, iscsiadm, hold, looks, share, welcome, hurried, limit: limit.clone() };
    let retries = records.iter().map(|(node, record)| (node.clone(), record.retries)).collect();
    let one_session =
        records.iter().filter(|(_, record)| record.is_one_session).map(|(node, _)| node.clone());
    let together = Together::of(&down, Lowering { retries, has_debts }, one_session.collect());
    let mut attempts = JoinSet::new();
    for node in down {
        let (engine, node, shared) = (Arc::clone(engine), node.clone(), shared.clone());
        let (seat, record) = (together.seat(&node.key), records.remove(&node.key));
        attempts.spawn(async move {
            let outcome = one_node(&engine, &node, record, seat, shared).await;
            (node.key, outcome)
        });
    }
    // A session that is up counts as a portal that answered.
    let mut hurry_at = outcomes.values().any(Result::is_ok).then(|| Instant::now() + STRAGGLERS);
    let mut has_hurried = false;
    let mut lost = None;
    loop {
        let next = tokio::select! {
            next = attempts.join_next() => next,
            () = heard.notified(), if hurry_at.is_none() => {
                hurry_at = Some(Instant::now() + STRAGGLERS);
                continue;
            }
            () = sleep_until(hurry_at.unwrap_or(limit.deadline())), if hurry_at.is_some() && !has_hurried => {
                hurry.send_replace(true);
                has_hurried = true;
                continue;
            }
        };
        let Some(ended) = next else { break };
        match ended {
            Ok((key, outcome)) => drop(outcomes.insert(key, outcome)),
            // The other attempts run to their end first.
            Err(error) => lost = Some(error),
        }
    }
    match lost {
        None => Ok(outcomes),
        Some(_) => Err(Fault::new(Kind::Failed, "an internal task failed; the journal has the details")),
    }
}

/// Logs in at one node: contacts the target, then iscsid if the target would accept the login, then
/// checks the result.
async fn one_node(
    engine: &Arc<Engine>,
    node: &Node,
    record: Option<ForLogin>,
    seat: Seat,
    mut shared: Attempts,
) -> Outcome {
    if let Some(why) = node.damage {
        return Err(damaged(&node.key, why));
    }
    let key = &node.key;
    let place = shared.share.place(&shared.limit).await?;
    let (begun, answering) = (Instant::now(), shared.share.part(&shared.limit));
    // Removed while it was read.
    let proofs = Arc::new(record.ok_or_else(|| removed(key))?.proofs?);
    let initiator = initiator_name::of_node(node, &shared.initiator)?;
    let accepted = tokio::select! {
        asked = ask_any(engine, node, &initiator, &proofs, &answering) => asked?,
        () = hurry(&mut shared.hurried, begun) => return Err(gave_up(&key.portal)),
    };
    shared.welcome.notify_one();
    if shared.limit.is_cancelled() {
        return Err(shared.limit.fault(""));
    }
    let mut adopted = None;
    if let Some(taken) = to_adopt(&accepted, &proofs) {
        let (database, key) = (engine.database.clone(), key.clone());
        tracing::info!(
            target = %key.target, portal = %key.portal, %taken,
            "the target accepts another digest: stored"
        );
        let storing = blocking(move || {
            let before = database.back_up(&key.target, std::slice::from_ref(&key))?;
            database.set_algorithm(&key, taken).map(|()| before)
        });
        adopted = Some(storing.await??);
    }
    drop(proofs);
    let Attempts { iscsiadm, looks, hold, limit, .. } = &shared;
    let done = match attempt::log_in(engine, key, iscsiadm, seat, looks, hold, place, limit).await {
        Ok(done) => Done { adopted, ..done },
        Err(fault) => {
            if limit.is_cancelled() {
                put_back(engine, adopted.into_iter().collect()).await;
            }
            return Err(fault);
        }
    };
    let remark = accepted.redirected.map(|redirect| {
        let how = if redirect.permanent { "permanently" } else { "temporarily" };
        format!("the portal redirects logins to {}, {how}", redirect.to)
    });
    let remarks = [done.remark.clone()].into_iter().chain(remark).filter(|remark| !remark.is_empty());
    Ok(Done { remark: remarks.collect::<Vec<_>>().join("; "), ..done })
}

/// Restores records of a call that was cancelled.
pub(super) async fn put_back(engine: &Engine, backups: Vec<RecordsBackup>) {
    let database = engine.database.clone();
    let restoring = blocking(move || {
        let restored =
            backups.iter().map(|backup| database.put_records_back(backup, |_| false).map_err(Fault::from));
        restored.fold(Ok(()), Result::and)
    });
    if let Err(fault) = restoring.await.flatten() {
        tracing::warn!(error = fault.message(), "cannot restore the record of a cancelled login");
    }
}

fn at_inner_addresses(nodes: &[Node], outcomes: &mut BTreeMap<NodeKey, Outcome>) {
    let portals: BTreeSet<&Portal> = nodes.iter().map(|node| &node.key.portal).collect();
    for node in nodes {
        if let Some(Err(fault)) = outcomes.get_mut(&node.key) {
            *fault = with_way_around(fault.clone(), node, &portals);
        }
    }
}

/// Adds the way out for an address that only the gateway's own network reaches: the portal that listed
/// it, where the target may answer as well, unless it is recorded there.
pub(in crate::engine) fn with_way_around(fault: Fault, node: &Node, recorded: &BTreeSet<&Portal>) -> Fault {
    let listed_at = node.discovered_at.as_ref().and_then(|(host, port)| portal(host, *port));
    let Some(listed_at) = listed_at.filter(|at| is_out_of_reach(&fault) && !recorded.contains(at)) else {
        return fault;
    };
    let also = hint!(
        "if the target can be reached at {PORTAL}, which listed this address: iscsictl add {TARGET} {PORTAL} && \
         iscsictl login {TARGET} {PORTAL}",
        TARGET = node.key.target,
        PORTAL = listed_at
    );
    let hint = match fault.next_step() {
        "" => also,
        hint => format!("{hint}; {also}"),
    };
    Fault::new(fault.kind(), fault.message()).hint(hint)
}

/// Whether there is no way to the portal, as opposed to one that answered and then took too long.
pub(super) fn is_out_of_reach(fault: &Fault) -> bool {
    match fault.kind() {
        Kind::PortalUnreachable => true,
        Kind::TimedOut => fault.next_step().starts_with("check the network"),
        _ => false,
    }
}

fn portal(host: &str, port: u16) -> Option<Portal> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!("{host}:{port}").parse().ok()
}

/// Returns when the others are no longer to wait for an attempt that began then.
async fn hurry(hurried: &mut watch::Receiver<bool>, begun: Instant) {
    // An error means that no call waits any more.
    let _ = hurried.wait_for(|hurry| *hurry).await;
    sleep_until(begun + STRAGGLERS).await;
}

fn gave_up(portal: &Portal) -> Fault {
    let fault = Fault::new(
        Kind::TimedOut,
        format!("timed out waiting for {portal} while the other portals answered"),
    );
    fault.hint(hint!("check the network to this portal: ping {ADDRESS}", ADDRESS = portal.host()))
}
