//! Handles all portals at the same time, so that a dead one never delays a live one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result, shell::quoted};
use iscsi_initiator_probe::Accepted;
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{
    answer::{Done, Outcome},
    attempt,
    hold::Hold,
    there,
};
use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{blocking, reading},
        },
        open_iscsi::{
            database::{Node, NodeKey, chap::Proofs},
            iscsiadm::Iscsiadm,
            iscsid,
        },
    },
    engine::{
        Engine,
        ask::{addresses::first_answer, ask_login, to_adopt},
        leftovers::stale_sessions::{self, Reach},
        records::{initiator_name, lookup::damaged},
        state::reader::Parts,
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
    /// A place for each attempt that runs.
    share: Share,
    /// Set when a portal would accept the login.
    welcome: Arc<Notify>,
    /// When to stop waiting for portals that have not answered.
    hurried: watch::Receiver<bool>,
    limit: Limit,
}

/// Logs in at all nodes, with an outcome each.
pub(super) async fn log_in(
    engine: &Arc<Engine>,
    nodes: &[Node],
    hold: &Hold,
    share: &Share,
    limit: &Limit,
) -> Result<BTreeMap<NodeKey, Outcome>> {
    stale_sessions::remove(engine, Reach::Restart, limit).await;
    let now = engine.state.look(Parts::SESSIONS).await?;
    let mut outcomes = BTreeMap::<NodeKey, Outcome>::new();
    let mut down = Vec::new();
    for node in nodes {
        match there::session(engine, &now, &node.key, limit).await {
            Some(sid) => drop(outcomes.insert(node.key.clone(), Ok(Done::already(sid)))),
            None => down.push(node),
        }
    }
    if down.is_empty() {
        return Ok(outcomes);
    }
    let iscsiadm = Iscsiadm::find(&engine.layout)?;
    iscsid::check_reachable(&engine.layout.iscsid_socket).await?;
    let initiator = initiator_name::needed(engine).await;
    let (hurry, hurried) = watch::channel(false);
    let welcome = Arc::new(Notify::new());
    let (hold, share, heard) = (hold.clone(), share.clone(), Arc::clone(&welcome));
    let shared = Attempts { initiator, iscsiadm, hold, share, welcome, hurried, limit: limit.clone() };
    let mut attempts = JoinSet::new();
    for node in down {
        let (engine, node, shared) = (Arc::clone(engine), node.clone(), shared.clone());
        attempts.spawn(async move {
            let outcome = one_node(&engine, &node, shared).await;
            (node.key, outcome)
        });
    }
    // A session that is up counts as a portal that answered.
    let mut hurry_at = (!outcomes.is_empty()).then(|| Instant::now() + STRAGGLERS);
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
        None => {
            at_inner_addresses(nodes, &mut outcomes);
            Ok(outcomes)
        }
        Some(_) => Err(Fault::new(Kind::Failed, "an internal task failed; the journal has the details")),
    }
}

/// Logs in at one node: contacts the target, then iscsid if the target would accept the login, then
/// checks the result.
async fn one_node(engine: &Arc<Engine>, node: &Node, mut shared: Attempts) -> Outcome {
    if let Some(why) = node.damage {
        return Err(damaged(&node.key, why));
    }
    let key = &node.key;
    let place = shared.share.place(&shared.limit).await?;
    let (begun, answering) = (Instant::now(), shared.share.part(&shared.limit));
    let proofs = {
        let (database, key) = (engine.database.clone(), key.clone());
        Arc::new(reading(move || database.node_proofs(&key)).await??)
    };
    let initiator = initiator_name::of_node(node, &shared.initiator)?;
    let accepted = tokio::select! {
        asked = ask_any(engine, node, &initiator, &proofs, &answering) => asked?,
        () = hurry(&mut shared.hurried, begun) => return Err(gave_up(&key.portal)),
    };
    shared.welcome.notify_one();
    if shared.limit.is_cancelled() {
        return Err(shared.limit.fault(""));
    }
    if let Some(taken) = to_adopt(&accepted, &proofs) {
        let (database, key) = (engine.database.clone(), key.clone());
        tracing::info!(
            target = %key.target, portal = %key.portal, %taken,
            "the target accepts another digest: stored"
        );
        blocking(move || database.set_algorithm(&key, taken)).await??;
    }
    drop(proofs);
    let done = attempt::log_in(engine, key, &shared.iscsiadm, &shared.hold, place, &shared.limit).await?;
    let remark = accepted.redirected.map(|redirect| {
        let how = if redirect.permanent { "permanently" } else { "temporarily" };
        format!("the portal redirects logins to {}, {how}", redirect.to)
    });
    let remarks = [done.remark.clone()].into_iter().chain(remark).filter(|remark| !remark.is_empty());
    Ok(Done { remark: remarks.collect::<Vec<_>>().join("; "), ..done })
}

/// Adds the way out for an address that only the gateway's own network reaches: the portal that listed
/// it, where the target may answer as well.
fn at_inner_addresses(nodes: &[Node], outcomes: &mut BTreeMap<NodeKey, Outcome>) {
    let portals: BTreeSet<&Portal> = nodes.iter().map(|node| &node.key.portal).collect();
    for node in nodes {
        let Some(Err(fault)) = outcomes.get_mut(&node.key) else { continue };
        let listed_at = node.discovered_at.as_ref().and_then(|(host, port)| portal(host, *port));
        let Some(listed_at) = listed_at.filter(|at| is_out_of_reach(fault) && !portals.contains(at)) else {
            continue;
        };
        let (name, at) = (quoted(&node.key.target), quoted(&listed_at));
        let also = format!(
            "if the target can be reached at {listed_at}, which listed this address: iscsictl add {name} {at} && \
             iscsictl login {name} {at}"
        );
        let hint = match fault.next_step() {
            "" => also,
            hint => format!("{hint}; {also}"),
        };
        *fault = Fault::new(fault.kind(), fault.message()).hint(hint);
    }
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

/// Asks the target at the addresses of the record's portal in parallel: a record may have a host name,
/// which iscsid resolves by itself.
async fn ask_any(
    engine: &Engine,
    node: &Node,
    initiator: &Iqn,
    proofs: &Arc<Proofs>,
    limit: &Limit,
) -> Result<Accepted> {
    let portals = engine.resolver.portals(&node.key.portal, limit).await?;
    let ask = |portal: Portal| {
        let key = NodeKey { portal: portal.clone(), ..node.key.clone() };
        let (interface, initiator) = (node.interface.clone(), initiator.clone());
        let (proofs, limit) = (Arc::clone(proofs), limit.clone());
        let asked = async move { ask_login(&key, interface.as_deref(), &initiator, &proofs, &limit).await };
        (portal, asked)
    };
    first_answer(portals.into_iter().map(ask).collect(), limit).await.map(|(_, accepted)| accepted)
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
    match portal.address() {
        Some(address) => fault.hint(format!("check the network to this portal: ping {address}")),
        None => fault.hint("check the network to this portal"),
    }
}
