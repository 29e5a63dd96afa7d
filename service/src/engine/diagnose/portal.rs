//! Checks one portal: what it lists, whether it would accept a login, which LUNs it offers, and
//! what this machine has recorded. A secret goes only to the portal that it is recorded for.
//! `exchange` judges the results.

use std::{collections::BTreeSet, sync::Arc};

use iscsi_initiator_dbus::{Fault, Iqn, Portal, fault::Result, results::Check};
use iscsi_initiator_probe::{Listing, Refusal};
use tokio::sync::{mpsc, oneshot};

use super::{
    exchange,
    places::Place,
    report::Report,
    seen::{Answer, Seen},
};
use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        open_iscsi::database::{
            NodeKey,
            chap::{DefaultChap, Proofs},
        },
    },
    engine::{Engine, ask::asked::Asked, call::Progress, login::with_way_around, records::initiator_name},
};

/// What to check at each portal.
#[derive(Clone)]
pub(super) struct Subject {
    pub(super) target: Option<Iqn>,
    /// The machine's; without one no portal is contacted.
    pub(super) initiator: Result<Iqn>,
    /// Credentials from the caller, instead of the recorded ones.
    pub(super) given: Option<Arc<Proofs>>,
    /// Where the discovery secret of iscsid.conf may go.
    pub(super) defaults: DefaultChap,
    pub(super) progress: Progress,
    pub(super) limit: Limit,
}

/// Whether the caller may check this target, which a portal has listed and no caller has named.
pub(super) struct Question {
    pub(super) target: Iqn,
    pub(super) answer: oneshot::Sender<bool>,
}

/// The checks of one portal.
pub(super) async fn look(
    engine: &Engine,
    at: &Place,
    subject: Subject,
    ask: &mpsc::Sender<Question>,
) -> Result<Vec<Check>> {
    let portal = &at.portal;
    let mut report = Report::new(&portal.to_string(), &subject.progress);
    let recorded = match &subject.target {
        Some(target) => at.record(&engine.state.look_at(std::slice::from_ref(target)).await?, target),
        None => None,
    };
    let initiator = match &recorded {
        Some(node) => initiator_name::of_node(node, &subject.initiator),
        None => subject.initiator.clone(),
    };
    let initiator = match initiator {
        Ok(initiator) => initiator,
        Err(fault) => {
            exchange::nothing_asked(&mut report, fault.message());
            return Ok(report.checks());
        }
    };
    let initiator = &initiator;
    let (database, place, defaults) = (engine.database.clone(), portal.clone(), subject.defaults);
    // A discovery record that cannot be read has no credentials.
    let stored = reading(move || database.discovery_proofs(&place, defaults)).await?;
    let stored = stored.unwrap_or_else(|_| Proofs::with(None));
    let asked = match Asked::new(initiator, None, portal, &stored) {
        Ok(asked) => asked,
        Err(fault) => {
            exchange::unreachable(&mut report, &fault);
            return Ok(report.checks());
        }
    };
    let named = subject.target.as_slice();
    let list =
        async { asked.list(named, &subject.limit).await.map_err(|refusal| explained(&asked, refusal)) };
    let (listing, seen) = match &subject.target {
        Some(target) => {
            let (listing, seen) = tokio::join!(list, look_at_target(engine, target, at, initiator, &subject));
            (listing, Some(seen?))
        }
        None => {
            let listing = list.await;
            let seen = match only_target(&listing) {
                Some(target) if may_look_at(&target, ask).await => {
                    Some(look_at_target(engine, &target, at, initiator, &subject).await?)
                }
                _ => None,
            };
            (listing, seen)
        }
    };
    exchange::judge(&mut report, exchange::At { portal, initiator }, &listing, seen.as_ref());
    Ok(report.checks())
}

/// polkit is asked about a target by its name.
async fn may_look_at(target: &Iqn, ask: &mpsc::Sender<Question>) -> bool {
    let (answer, answered) = oneshot::channel();
    let question = Question { target: target.clone(), answer };
    ask.send(question).await.is_ok() && answered.await.unwrap_or(false)
}

async fn look_at_target(
    engine: &Engine,
    target: &Iqn,
    at: &Place,
    initiator: &Iqn,
    subject: &Subject,
) -> Result<Seen> {
    let portal = &at.portal;
    let now = engine.state.look_at(std::slice::from_ref(target)).await?;
    let record = at.record(&now, target);
    let everywhere = now.nodes_of(target, None);
    let portals: BTreeSet<&Portal> = everywhere.iter().map(|node| &node.key.portal).collect();
    // The record may have a name of its own; a bad one is told where the target was named.
    let own = record.as_ref().and_then(|node| initiator_name::of_node(node, &Ok(initiator.clone())).ok());
    let initiator = own.as_ref().unwrap_or(initiator);
    let sessions = now.sessions_of(target, Some(&at.known_as));
    let recorded = match &record {
        Some(node) if node.damage.is_none() => proofs_of(engine, &node.key).await?,
        _ => Proofs::with(None),
    };
    let proofs = subject.given.as_deref().unwrap_or(&recorded);
    let interface = record.as_ref().and_then(|node| node.interface.as_deref());
    let asked = Asked::new(initiator, Some(target), portal, proofs)?.through(interface);
    let login = asked.login(&subject.limit).await.map_err(|refusal| {
        let (refusal, fault) = explained(&asked, refusal);
        match &record {
            Some(node) => (refusal, with_way_around(fault, node, &portals)),
            None => (refusal, fault),
        }
    });
    let luns = match &login {
        Ok(accepted) if sessions.is_empty() => {
            let luns = asked.luns(accepted, &subject.limit).await;
            Some(luns.map_err(|refusal| explained(&asked, refusal)))
        }
        _ => None,
    };
    let user = proofs.chap.as_ref().map(|chap| chap.username.clone()).unwrap_or_default();
    let not_listed = asked.not_listed(target);
    Ok(Seen {
        target: target.clone(),
        initiator: initiator.clone(),
        record,
        sessions,
        user,
        login,
        luns,
        not_listed,
    })
}

async fn proofs_of(engine: &Engine, node: &NodeKey) -> Result<Proofs> {
    let (database, node) = (engine.database.clone(), node.clone());
    // Damaged, or removed in the meantime: treated as if there were none.
    Ok(reading(move || database.node_proofs(&node)).await?.unwrap_or_else(|_| Proofs::with(None)))
}

fn explained(asked: &Asked<'_>, refusal: Refusal) -> (Refusal, Fault) {
    let fault = asked.fault(&refusal);
    (refusal, fault)
}

/// The target of a portal that has only one.
fn only_target(listing: &Answer<Listing>) -> Option<Iqn> {
    let nodes = &listing.as_ref().ok()?.nodes;
    let first = nodes.first()?;
    nodes.iter().all(|found| found.target == first.target).then(|| first.target.clone())
}
