//! Discovery: the portal is asked by our own probe, every name checked, and only then recorded.
//! It may not let iscsiadm persist what a target says, nor touch a record that is there.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::{
    Fault, Iqn, Portal,
    fault::Result,
    results::{self, NodeState, Startup},
};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::time::Instant;

use super::add::bound;
use crate::backend::{
    host::resolve,
    open_iscsi::database::{
        NodeKey,
        chap::Proofs,
        nodes::{Made, Origin},
    },
};
use crate::engine::{
    ChapSecrets, Engine, ask::Listed, blocking, deadline, log_act, require, state::listing::node_of,
};

/// What a discovery may be told.
pub(crate) struct Discovery {
    /// The whole call's limit.
    pub(crate) timeout: Option<std::time::Duration>,
    /// What new records get.
    pub(crate) startup: Option<Startup>,
    /// The network card to ask through, and to bind new nodes to.
    pub(crate) card: Option<String>,
    /// For this discovery session only.
    pub(crate) chap: Option<ChapSecrets>,
}

impl Engine {
    /// Asks the portal for its targets and records those that are new. Answers each node listed, and
    /// those recorded by an earlier discovery there that are not listed any more.
    pub(crate) async fn discover(&self, grant: &Grant, discovery: Discovery) -> Result<Vec<results::Node>> {
        require(grant, Action::Discover)?;
        let result = self.ask_and_record(grant, discovery).await;
        log_act(grant, &result);
        result
    }

    async fn ask_and_record(&self, grant: &Grant, discovery: Discovery) -> Result<Vec<results::Node>> {
        let portal = grant.portal().ok_or_else(|| Fault::invalid("portal", "is missing"))?;
        let deadline = deadline(discovery.timeout);
        self.iscsiadm()?;
        let binding = self.binding(discovery.card.as_deref()).await?;
        let initiator = self.need_initiator_name().await?;
        let given = discovery.chap.map(|chap| Proofs::with(Some(chap)));
        let given = given.as_ref().map_or(Given::IfAsked(None), Given::Only);
        let (portal, listed) =
            self.ask_any(portal, discovery.card.as_deref(), &initiator, given, deadline).await?;
        if let Some(to) = &listed.redirected {
            tracing::info!(%portal, %to, "the portal sent the discovery on");
        }
        let nodes = listed.nodes.into_iter().map(|node| bound(node, binding.as_ref()));
        let listed: Vec<NodeKey> = nodes.collect::<BTreeSet<_>>().into_iter().collect();
        let made = {
            let (database, keys, from) =
                (self.database.clone(), listed.clone(), Origin::Portal(portal.clone()));
            blocking(move || database.add(&keys, &from, discovery.startup, binding.as_ref())).await??
        };
        let sessions = self.sessions().await?;
        let mut nodes = Vec::new();
        for node in self.nodes().await? {
            let state = match listed.iter().position(|key| *key == node.key).and_then(|at| made.get(at)) {
                Some(Made::New) => NodeState::New,
                Some(Made::Known) => NodeState::Known,
                // Of the old kind, of another group, or bound to a network card.
                None if listed
                    .iter()
                    .any(|key| key.target == node.key.target && key.portal == node.key.portal) =>
                {
                    NodeState::Known
                }
                None if node.discovered_at == Some((portal.host().to_string(), portal.port())) => {
                    NodeState::Gone
                }
                None => continue,
            };
            nodes.push(node_of(&node, state, &sessions));
        }
        Ok(nodes)
    }

    /// Asks the addresses of the portal one after the other until one answers.
    pub(in crate::engine) async fn ask_any(
        &self,
        portal: &Portal,
        card: Option<&str>,
        initiator: &Iqn,
        given: Given<'_>,
        deadline: Instant,
    ) -> Result<(Portal, Listed)> {
        let mut last = Fault::new(iscsi_initiator_dbus::Kind::PortalUnreachable, "the portal has no address");
        for portal in resolve::portals(portal, deadline).await? {
            let (database, at) = (self.database.clone(), portal.clone());
            let stored = async { Ok::<_, Fault>(blocking(move || database.discovery_proofs(&at)).await??) };
            let answer = match given {
                Given::Only(proofs) => self.ask_targets(&portal, card, initiator, &[proofs], deadline).await,
                Given::IfAsked(Some(proofs)) => {
                    let nothing = Proofs::with(None);
                    let stored = stored.await?;
                    // What is stored for this portal comes before what is given for the targets.
                    let order: &[&Proofs] =
                        if stored.chap.is_some() { &[&stored, proofs] } else { &[&nothing, proofs] };
                    self.ask_targets(&portal, card, initiator, order, deadline).await
                }
                Given::IfAsked(None) => {
                    self.ask_targets(&portal, card, initiator, &[&stored.await?], deadline).await
                }
            };
            match answer {
                Ok(listed) => return Ok((portal, listed)),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }
}

/// The credentials that a caller gave for a discovery.
#[derive(Clone, Copy)]
pub(in crate::engine) enum Given<'a> {
    /// These and no others.
    Only(&'a Proofs),
    /// First what is stored for the portal, and these if it asks for CHAP.
    IfAsked(Option<&'a Proofs>),
}
