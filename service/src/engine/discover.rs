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

use super::{ChapSecrets, Engine, blocking, deadline, log_act, paths::node_of, require};
use crate::backend::{
    database::{NodeKey, nodes::Made},
    resolve,
};

/// What a discovery may be told.
pub(crate) struct Discovery {
    /// The whole call's limit.
    pub(crate) timeout: Option<std::time::Duration>,
    /// What new records get.
    pub(crate) startup: Option<Startup>,
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
        let initiator = self.need_initiator_name().await?;
        let (portal, listed) = self.ask_any(portal, &initiator, discovery.chap, deadline).await?;
        let listed: Vec<NodeKey> = listed.into_iter().collect::<BTreeSet<_>>().into_iter().collect();
        let made = {
            let (database, keys, at) = (self.database.clone(), listed.clone(), portal.clone());
            blocking(move || database.add(&keys, &at, discovery.startup)).await??
        };
        let sessions = self.sessions().await?;
        let mut nodes = Vec::new();
        for node in self.nodes().await? {
            let state = match listed.iter().position(|key| *key == node.key).and_then(|at| made.get(at)) {
                Some(Made::New) => NodeState::New,
                Some(Made::Known) => NodeState::Known,
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
    async fn ask_any(
        &self,
        portal: &Portal,
        initiator: &Iqn,
        chap: Option<ChapSecrets>,
        deadline: Instant,
    ) -> Result<(Portal, Vec<NodeKey>)> {
        let mut last = Fault::new(iscsi_initiator_dbus::Kind::PortalUnreachable, "the portal has no address");
        for portal in resolve::portals(portal, deadline).await? {
            let stored = match &chap {
                Some(_) => None,
                None => {
                    let (database, at) = (self.database.clone(), portal.clone());
                    blocking(move || database.discovery_chap(&at)).await??
                }
            };
            match self.ask_targets(&portal, initiator, chap.as_ref().or(stored.as_ref()), deadline).await {
                Ok(listed) => return Ok((portal, listed)),
                Err(fault) => last = fault,
            }
        }
        Err(last)
    }
}
