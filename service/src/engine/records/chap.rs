//! CHAP into the records: of a target's nodes, of a portal's discovery, or of nodes to come.
//! It may not show a secret, nor change a live session: that keeps what it logged in with.

use iscsi_initiator_dbus::{fault::Result, results::ChapMode};
use iscsi_initiator_polkit::{Action, Grant};

use crate::engine::{
    ChapSecrets, Engine, blocking, damaged, deadline, log_act, no_such_node, require, resolved,
};

impl Engine {
    /// Stores (or, with `None`, clears) what was granted: a target's CHAP at one portal or all; without a
    /// target, a portal's discovery CHAP; without either, the default of nodes yet to be discovered.
    pub(crate) async fn set_chap(&self, grant: &Grant, secrets: Option<ChapSecrets>) -> Result<()> {
        require(grant, Action::SetChap)?;
        let result = self.store_chap(grant, secrets).await;
        log_act(grant, &result);
        result
    }

    async fn store_chap(&self, grant: &Grant, secrets: Option<ChapSecrets>) -> Result<()> {
        let portals = resolved(grant.portal(), deadline(None)).await?;
        let database = self.database.clone();
        let Some(target) = grant.target() else {
            let _claim = self.busy.claim_everything()?;
            self.iscsiadm()?;
            return blocking(move || match portals {
                None => database.set_default_chap(secrets.as_ref()),
                Some(portals) => portals
                    .iter()
                    .try_for_each(|portal| database.set_discovery_chap(portal, secrets.as_ref())),
            })
            .await?
            .map_err(Into::into);
        };
        let _claim = self.busy.claim(target)?;
        let nodes = self.nodes_of(target, portals.as_deref()).await?;
        if nodes.is_empty() {
            // Without open-iscsi there are no nodes: that is the reason, then.
            self.iscsiadm()?;
            return Err(no_such_node(target, grant.portal()));
        }
        if let Some((node, why)) = nodes.iter().find_map(|node| Some((node, node.damage?))) {
            return Err(damaged(&node.key, why));
        }
        let keys: Vec<_> = nodes.iter().map(|node| node.key.clone()).collect();
        let wanted = match &secrets {
            None => ChapMode::None,
            Some(secrets) if secrets.target.is_none() => ChapMode::OneWay,
            Some(_) => ChapMode::Mutual,
        };
        blocking(move || database.set_node_chap(&keys, secrets.as_ref())).await??;
        // Look again: what counts is what the records now say.
        let after = self.nodes_of(target, portals.as_deref()).await?;
        match after.iter().find(|node| node.damage.is_some() || node.chap != wanted) {
            Some(node) => Err(damaged(&node.key, "another program changed it at the same time")),
            None => Ok(()),
        }
    }
}
