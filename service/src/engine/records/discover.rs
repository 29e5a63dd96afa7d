//! Discovery: the daemon's own probe asks the portal, and every name is checked before it is
//! recorded. An existing record stays as it is.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, Portal,
    fault::Result,
    results::{self, NodeState, Startup},
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
                NodeKey,
                chap::{ChapSecrets, DefaultChap, Proofs},
                nodes::Origin,
            },
            iscsiadm::Iscsiadm,
        },
    },
    engine::{
        Engine,
        ask::{Listed, ask_targets},
        call::{
            Call, act,
            consent::{Consent, ask_each, may_use_secrets},
        },
        state::{listing::node_of, reader::Parts},
    },
};

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
                ask_and_record(engine, call.portal()?, discovery, &*consent, call.limit()).await
            })
        })
        .await
    }
}

async fn ask_and_record(
    engine: &Engine,
    portal: &Portal,
    discovery: Discovery,
    consent: &dyn Consent,
    limit: &Limit,
) -> Result<Vec<results::Node>> {
    let interface = discovery.interface.as_deref();
    Iscsiadm::find(&engine.layout)?;
    let binding = binding(engine, interface).await?;
    let initiator = initiator_name::needed(engine).await?;
    let given = discovery.chap.map(|chap| Proofs::with(Some(chap)));
    let given = given.as_ref().map_or(Given::IfAsked(None), Given::Only);
    let asked = portal;
    let (portal, listed) = ask_any(engine, asked, interface, &initiator, given, consent, limit).await?;
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
    let made = {
        let (database, keys, from) =
            (engine.database.clone(), listed.clone(), Origin::Portal(portal.clone()));
        blocking(move || database.add(&keys, &from, discovery.startup, binding.as_ref(), chap)).await??
    };
    let now = engine.state.look(Parts::NODES).await?;
    let places: BTreeSet<(&Iqn, &Portal)> = listed.iter().map(|key| (&key.target, &key.portal)).collect();
    let mut nodes = Vec::new();
    for node in now.nodes() {
        let made = listed.binary_search(&node.key).ok().and_then(|at| made.get(at));
        let state = match made {
            Some(made) if made.is_new() => NodeState::New,
            Some(_) => NodeState::Known,
            // In the old format, of another group, or bound to a network interface.
            None if places.contains(&(&node.key.target, &node.key.portal)) => NodeState::Known,
            None if node.discovered_at == Some((portal.host().to_string(), portal.port())) => NodeState::Gone,
            None => continue,
        };
        nodes.push(with_remark(node_of(node, state, &now), made, &node.key));
    }
    Ok(nodes)
}

/// Tries the addresses of the portal in turn until one answers.
pub(in crate::engine) async fn ask_any(
    engine: &Engine,
    portal: &Portal,
    interface: Option<&str>,
    initiator: &Iqn,
    given: Given<'_>,
    consent: &dyn Consent,
    limit: &Limit,
) -> Result<(Portal, Listed)> {
    let stored = Stored::look(engine, portal, interface, given, consent).await?;
    let mut last = Fault::new(Kind::PortalUnreachable, "the portal has no address");
    for portal in engine.resolver.portals(portal, limit).await? {
        let stored = async || stored.proofs(engine, &portal).await;
        let answer = match given {
            Given::Only(proofs) => {
                ask_targets(&engine.resolver, &portal, interface, initiator, &[proofs], limit).await
            }
            Given::IfAsked(Some(proofs)) => {
                let nothing = Proofs::with(None);
                let stored = stored().await?;
                // Credentials stored for this portal come before those given for the targets.
                let order: &[&Proofs] =
                    if stored.chap.is_some() { &[&stored, proofs] } else { &[&nothing, proofs] };
                ask_targets(&engine.resolver, &portal, interface, initiator, order, limit).await
            }
            Given::IfAsked(None) => {
                ask_targets(&engine.resolver, &portal, interface, initiator, &[&stored().await?], limit).await
            }
        };
        match answer {
            Ok(listed) => return Ok((portal, listed)),
            Err(fault) => last = fault,
        }
    }
    Err(last)
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
        given: Given<'_>,
        consent: &dyn Consent,
    ) -> Result<Self> {
        let is_asked_for = !matches!(given, Given::Only(_))
            && (interface.is_some() || has_default_discovery_chap(engine).await?);
        let may = is_asked_for && may_use_secrets(consent, Some(portal), interface).await;
        Ok(Self { defaults: DefaultChap::of(may), is_withheld: interface.is_some() && !may })
    }

    async fn proofs(&self, engine: &Engine, portal: &Portal) -> Result<Proofs> {
        let (database, portal, defaults) = (engine.database.clone(), portal.clone(), self.defaults);
        let proofs = reading(move || database.discovery_proofs(&portal, defaults)).await??;
        Ok(if self.is_withheld { proofs.withheld() } else { proofs })
    }
}

/// The credentials that a caller gave for a discovery.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Given<'a> {
    /// Only these.
    Only(&'a Proofs),
    /// First those stored for the portal, then these if it asks for CHAP.
    IfAsked(Option<&'a Proofs>),
}
