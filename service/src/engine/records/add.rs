//! Records a target at a portal by hand: for portals that list nothing, or are not to be asked.
//! It may not touch a record that is there, nor go to the portal.

use iscsi_initiator_dbus::{
    Fault,
    fault::Result,
    options::AddOptions,
    results::{self, NodeState},
};
use iscsi_initiator_polkit::{Action, Grant};

use crate::backend::open_iscsi::database::{
    NodeKey,
    ifaces::Binding,
    nodes::{Made, Origin},
};
use crate::engine::{
    Engine, blocking, deadline, log_act, require, resolved, state::listing::node_of, target_of,
};

/// The group of most targets. iscsid takes the target's word for it at the login (usr/login.c): a wrong one does no harm.
const USUAL_GROUP: u16 = 1;

impl Engine {
    /// Records the granted target at the granted portal: an entry for each address of it.
    pub(crate) async fn add_node(&self, grant: &Grant, options: &AddOptions) -> Result<Vec<results::Node>> {
        require(grant, Action::Discover)?;
        let result = self.record(grant, options).await;
        log_act(grant, &result);
        result
    }

    /// Whether this machine has the network card; asked before polkit is, since it is a fault of the argument.
    pub(crate) fn check_card(&self, card: Option<&str>) -> Result<()> {
        match card {
            Some(card) if !self.sysfs.has_card(card) => {
                Err(Fault::invalid("options.interface", format!("this machine has no network card {card}"))
                    .hint("ip link shows what it has"))
            }
            _ => Ok(()),
        }
    }

    /// What binds nodes to a network card.
    pub(in crate::engine) async fn binding(&self, card: Option<&str>) -> Result<Option<Binding>> {
        let Some(card) = card.map(str::to_owned) else { return Ok(None) };
        let database = self.database.clone();
        Ok(Some(blocking(move || database.binding(&card)).await??))
    }

    async fn record(&self, grant: &Grant, options: &AddOptions) -> Result<Vec<results::Node>> {
        let target = target_of(grant)?;
        let portals = resolved(grant.portal(), deadline(None)).await?;
        let portals = portals.ok_or_else(|| Fault::invalid("portal", "is missing"))?;
        self.iscsiadm()?;
        let binding = self.binding(options.interface.as_deref()).await?;
        let _claim = self.busy.claim(&target)?;
        let wanted: Vec<NodeKey> = portals
            .into_iter()
            .map(|portal| NodeKey {
                target: target.clone(),
                portal,
                tpgt: Some(options.tpgt.unwrap_or(USUAL_GROUP)),
                iface: "default".to_owned(),
            })
            .map(|node| bound(node, binding.as_ref()))
            .collect();
        let made = {
            let (database, keys, startup) = (self.database.clone(), wanted.clone(), options.startup);
            blocking(move || database.add(&keys, &Origin::Static, startup, binding.as_ref())).await??
        };
        let sessions = self.sessions().await?;
        let mut nodes = Vec::new();
        for node in self.nodes().await? {
            let state = match wanted.iter().position(|key| key.is_same(&node.key)).and_then(|at| made.get(at))
            {
                Some(Made::New) => NodeState::New,
                Some(Made::Known) => NodeState::Known,
                None => continue,
            };
            nodes.push(node_of(&node, state, &sessions));
        }
        Ok(nodes)
    }
}

/// The node through this binding.
pub(in crate::engine) fn bound(node: NodeKey, binding: Option<&Binding>) -> NodeKey {
    match binding {
        Some(binding) => NodeKey { iface: binding.iface.clone(), ..node },
        None => node,
    }
}
