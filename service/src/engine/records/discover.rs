//! Discovery: the daemon's own probe asks the portal, and every name is checked before it is
//! recorded. An existing record stays as it is.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use iscsi_initiator_dbus::{
    Fault, Iqn, Portal,
    fault::Result,
    hint,
    results::{self, NodeState, Startup, Step},
};
use iscsi_initiator_polkit::Action;

use super::{
    add::{binding, bound},
    defaults::{default_chap, has_default_discovery_chap, with_remark},
    initiator_name,
};
use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{blocking, reading},
        },
        open_iscsi::{
            database::{
                Node, NodeKey,
                backup::Added,
                chap::{ChapSecrets, DefaultChap, Proofs},
                ifaces::Binding,
                nodes::{Made, Origin},
                written::Written,
            },
            iscsiadm::Iscsiadm,
        },
    },
    engine::{
        Engine,
        ask::{Listed, addresses::first_answer, ask_targets},
        call::{
            Call, Progress, act,
            consent::{Consent, ask_each, may_use_secrets},
        },
        state::{listing::node_of, reader::Parts},
    },
};

/// Records made in one turn, after which the deadline is looked at.
const AT_ONCE: usize = 256;

/// How many records a message names.
const SHOWN: usize = 5;

/// The options of a discovery.
pub(crate) struct Discovery {
    /// The limit of the whole call.
    pub(crate) timeout: Option<Duration>,
    /// The startup of new records.
    pub(crate) startup: Option<Startup>,
    /// The network interface to use, and to bind new nodes to.
    pub(crate) interface: Option<String>,
    /// For this discovery session only.
    pub(crate) chap: Option<ChapSecrets>,
}

impl Engine {
    /// Asks the portal for its targets and records the new ones. Returns each node listed, and
    /// those recorded by an earlier discovery there that are no longer listed.
    pub(crate) async fn discover(
        self: &Arc<Self>,
        call: &Call,
        discovery: Discovery,
        consent: Arc<dyn Consent>,
    ) -> Result<Vec<results::Node>> {
        act(self, call, Action::Discover, move |engine, call| {
            Box::pin(async move {
                ask_and_record(engine, call.portal()?, discovery, &*consent, call.progress(), call.limit())
                    .await
            })
        })
        .await
    }
}

async fn ask_and_record(
    engine: &Arc<Engine>,
    portal: &Portal,
    discovery: Discovery,
    consent: &dyn Consent,
    progress: &Progress,
    limit: &Limit,
) -> Result<Vec<results::Node>> {
    let interface = discovery.interface.as_deref();
    Iscsiadm::find(&engine.layout)?;
    let binding = binding(engine, interface).await?;
    let initiator = initiator_name::needed(engine).await?;
    let given = discovery.chap.map(|chap| Arc::new(Proofs::with(Some(chap))));
    let given = given.map_or(Given::IfAsked(None), Given::Only);
    let asked = portal;
    let question = Question { portal, interface, initiator: &initiator, named: &[], given };
    progress.report(Step::Discover, format!("asking {asked} for its targets"));
    let (portal, listed) = ask_any(engine, question, consent, limit).await?;
    let (left_out, _place) = (listed.left_out, listed.place);
    if let Some(to) = &listed.redirected {
        tracing::info!(%portal, %to, "the portal redirected the discovery");
    }
    let nodes = listed.nodes.into_iter().map(|node| bound(node, binding.as_ref()));
    let listed: Vec<NodeKey> = nodes.collect::<BTreeSet<_>>().into_iter().collect();
    if discovery.startup == Some(Startup::Automatic) {
        // This machine will log in to them.
        let targets: BTreeSet<&Iqn> = listed.iter().map(|key| &key.target).collect();
        let targets: Vec<Iqn> = targets.into_iter().cloned().collect();
        let _granted = ask_each(consent, Action::Login, &targets, (Some(asked), interface), limit).await?;
    }
    let chap = default_chap(engine, consent, asked, interface).await?;
    progress.report(Step::Discover, format!("{portal} lists {} nodes", listed.len()));
    let made = record(engine, &listed, &portal, discovery.startup, binding, chap, limit).await?;
    if let Err(cancelled) = limit.decide() {
        progress.report(Step::Undo, "removing the new records");
        let added = listed.into_iter().zip(made).map(|(node, (made, written))| Added { node, made, written });
        return Err(take_back(engine, added.collect(), cancelled).await);
    }
    let made: Vec<Made> = made.into_iter().map(|(made, _)| made).collect();
    let new = made.iter().filter(|made| made.is_new()).count();
    progress.report(Step::Record, format!("{} nodes, {new} of them new", made.len()));
    let now = engine.state.look(Parts::RECORDS).await?;
    let places: BTreeSet<(&Iqn, &Portal)> = listed.iter().map(|key| (&key.target, &key.portal)).collect();
    let here = Some((portal.host().to_string(), portal.port()));
    let is_from_here = |node: &Node| node.discovered_at == here;
    let mut nodes = Vec::new();
    for node in now.nodes() {
        let made = listed.binary_search(&node.key).ok().and_then(|at| made.get(at));
        let state = match made {
            Some(made) if made.is_new() => NodeState::New,
            Some(_) => NodeState::Known,
            // In the old format, of another group, or bound to a network interface.
            None if places.contains(&(&node.key.target, &node.key.portal)) => NodeState::Known,
            None if !is_from_here(node) => continue,
            // Still listed, but only where it cannot be reached.
            None if left_out.has(&node.key.target) => NodeState::Known,
            None => NodeState::Gone,
        };
        nodes.push(with_remark(node_of(node, state, now.session_of(&node.key).is_some()), made, &node.key));
    }
    match nodes.first_mut() {
        Some(first) => remark(first, left_out.remark(&portal)),
        None => left_out.of_all(&portal).map_or(Ok(()), Err)?,
    }
    Ok(nodes)
}

/// Removes the records that a cancelled call has made; returns `Cancelled`, and what stays of them. A
/// target that another call works on keeps them, and so does a session. What has been changed since
/// stays as well.
async fn take_back(engine: &Engine, added: Vec<Added>, cancelled: Fault) -> Fault {
    let (mut claims, mut busy) = (Vec::new(), BTreeSet::new());
    let targets: BTreeSet<&Iqn> =
        added.iter().filter(|added| added.made.is_new()).map(|added| &added.node.target).collect();
    for target in targets {
        match engine.turns.claims.claim(target) {
            Ok(claim) => claims.push(claim),
            Err(_) => drop(busy.insert(target.clone())),
        }
    }
    let taking_back = async {
        let now = engine.state.look(Parts::SESSIONS).await?;
        let database = engine.database.clone();
        let is_used = move |node: &NodeKey| busy.contains(&node.target) || now.session_of(node).is_some();
        Ok::<_, Fault>(blocking(move || database.take_back(&added, is_used)).await??)
    };
    match taking_back.await {
        Ok(changed) if changed.is_empty() => cancelled,
        Ok(changed) => {
            let shown = changed.iter().take(SHOWN).map(|node| format!("{} at {}", node.target, node.portal));
            let what = format!(
                "{}; {} of the records that it had made have been changed since, and stay: {}{}",
                cancelled.message(),
                changed.len(),
                shown.collect::<Vec<_>>().join(", "),
                if changed.len() > SHOWN { ", and more" } else { "" }
            );
            Fault::new(cancelled.kind(), what).hint("see them: iscsictl nodes")
        }
        Err(fault) => {
            let what = format!(
                "{}; the records that it had made could not be removed: {}",
                cancelled.message(),
                fault.message()
            );
            Fault::new(cancelled.kind(), what).hint("see them: iscsictl nodes")
        }
    }
}

/// Makes the missing records, with the result for each node and what was written. The deadline counts: what is recorded
/// until then stays, and the next discovery makes the rest. Ends early if the call is cancelled.
async fn record(
    engine: &Engine,
    listed: &[NodeKey],
    portal: &Portal,
    startup: Option<Startup>,
    binding: Option<Binding>,
    chap: DefaultChap,
    limit: &Limit,
) -> Result<Vec<(Made, Option<Written>)>> {
    let (database, keys) = (engine.database.clone(), listed.to_vec());
    // Before the first one.
    blocking(move || database.check_room_for(&keys)).await??;
    let mut made = Vec::with_capacity(listed.len());
    for keys in listed.chunks(AT_ONCE) {
        if limit.is_cancelled() {
            break;
        }
        if limit.is_over() {
            let new = made.iter().filter(|(made, _)| *made != Made::Known).count();
            let what = format!(
                "{portal} lists {} nodes: timed out after {} of them, {new} of which were new and are \
                 recorded",
                listed.len(),
                made.len()
            );
            let again = hint!("record the rest: iscsictl discover {PORTAL} --timeout 600", PORTAL = portal);
            return Err(limit.fault(what).hint(again));
        }
        let (database, keys, from) = (engine.database.clone(), keys.to_vec(), Origin::Portal(portal.clone()));
        let binding = binding.clone();
        let adding = move || database.add_noted(&keys, &from, startup, binding.as_ref(), chap);
        made.extend(blocking(adding).await??);
    }
    Ok(made)
}

/// What was left out of the list belongs to no entry, and stands in the first.
fn remark(entry: &mut results::Node, left_out: Option<(String, String)>) {
    let Some((message, hint)) = left_out else { return };
    for (text, more) in [(&mut entry.message, message), (&mut entry.hint, hint)] {
        if !text.is_empty() && !more.is_empty() {
            text.push_str("; ");
        }
        text.push_str(&more);
    }
}

/// Asks every address of the portal in parallel. The first list counts.
pub(in crate::engine) async fn ask_any(
    engine: &Arc<Engine>,
    question: Question<'_>,
    consent: &dyn Consent,
    limit: &Limit,
) -> Result<(Portal, Listed)> {
    let Question { portal, interface, ref given, .. } = question;
    let stored = Stored::look(engine, portal, interface, given, consent).await?;
    let mut questions = Vec::new();
    for portal in engine.resolver.portals(portal, limit).await? {
        let proofs = stored.order(engine, &portal, given).await?;
        let asking = Asking::of(&question);
        let asked = ask_one(Arc::clone(engine), portal.clone(), proofs, asking, limit.clone());
        questions.push((portal, asked));
    }
    first_answer(questions, limit).await
}

/// What a task has of a question.
struct Asking {
    interface: Option<String>,
    initiator: Iqn,
    named: Vec<Iqn>,
}

impl Asking {
    fn of(question: &Question<'_>) -> Self {
        Self {
            interface: question.interface.map(str::to_owned),
            initiator: question.initiator.clone(),
            named: question.named.to_vec(),
        }
    }
}

async fn ask_one(
    engine: Arc<Engine>,
    portal: Portal,
    proofs: Vec<Arc<Proofs>>,
    asking: Asking,
    limit: Limit,
) -> Result<Listed> {
    let Asking { interface, initiator, named } = asking;
    let order: Vec<&Proofs> = proofs.iter().map(AsRef::as_ref).collect();
    let interface = interface.as_deref();
    ask_targets(&engine.resolver, &portal, interface, &initiator, &named, &order, &limit).await
}

/// What to ask a portal for.
pub(in crate::engine) struct Question<'a> {
    pub(in crate::engine) portal: &'a Portal,
    pub(in crate::engine) interface: Option<&'a str>,
    pub(in crate::engine) initiator: &'a Iqn,
    /// These targets alone; all of them if there is none.
    pub(in crate::engine) named: &'a [Iqn],
    pub(in crate::engine) given: Given,
}

/// How far the credentials stored for discovery may be used in a call.
struct Stored {
    defaults: DefaultChap,
    /// The caller chose the network interface, and with it who answers at the portal's address.
    is_withheld: bool,
}

impl Stored {
    async fn look(
        engine: &Engine,
        portal: &Portal,
        interface: Option<&str>,
        given: &Given,
        consent: &dyn Consent,
    ) -> Result<Self> {
        let is_asked_for = !matches!(given, Given::Only(_))
            && (interface.is_some() || has_default_discovery_chap(engine).await?);
        let may = is_asked_for && may_use_secrets(consent, Some(portal), interface).await;
        Ok(Self { defaults: DefaultChap::of(may), is_withheld: interface.is_some() && !may })
    }

    /// What to prove at an address, in order.
    async fn order(&self, engine: &Engine, portal: &Portal, given: &Given) -> Result<Vec<Arc<Proofs>>> {
        Ok(match given {
            Given::Only(proofs) => vec![Arc::clone(proofs)],
            Given::IfAsked(given) => {
                let stored = Arc::new(self.proofs(engine, portal).await?);
                match given {
                    None => vec![stored],
                    // Credentials stored for this portal come before those given for the targets.
                    Some(given) if stored.chap.is_some() => vec![stored, Arc::clone(given)],
                    Some(given) => vec![Arc::new(Proofs::with(None)), Arc::clone(given)],
                }
            }
        })
    }

    async fn proofs(&self, engine: &Engine, portal: &Portal) -> Result<Proofs> {
        let (database, portal, defaults) = (engine.database.clone(), portal.clone(), self.defaults);
        let proofs = reading(move || database.discovery_proofs(&portal, defaults)).await??;
        Ok(if self.is_withheld { proofs.withheld() } else { proofs })
    }
}

/// The credentials that a caller gave for a discovery.
pub(in crate::engine) enum Given {
    /// Only these.
    Only(Arc<Proofs>),
    /// First those stored for the portal, then these if it asks for CHAP.
    IfAsked(Option<Arc<Proofs>>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_stands_beside_what_is_said_of_the_node() {
        let mut entry = results::Node::new("", "", Startup::Manual, results::ChapMode::None, NodeState::New);
        remark(&mut entry, None);
        assert_eq!(entry.message, "");
        remark(&mut entry, Some(("left out".into(), "add it".into())));
        remark(&mut entry, Some(("more".into(), String::new())));
        assert_eq!((entry.message.as_str(), entry.hint.as_str()), ("left out; more", "add it"));
    }
}
