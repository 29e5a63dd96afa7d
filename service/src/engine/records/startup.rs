//! When nodes are logged in to without being asked: only by hand, or also at boot.
//! It may not touch the records that this machine boots with.

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, results::Startup};
use iscsi_initiator_polkit::{Action, Grant};

use crate::backend::open_iscsi::database::Node;
use crate::engine::{
    Engine, blocking, damaged, deadline, log_act, no_such_node, require, resolved, target_of,
};

impl Engine {
    /// Sets it for the granted target, at one portal or at all.
    pub(crate) async fn set_startup(&self, grant: &Grant, startup: Startup) -> Result<()> {
        require(grant, Action::Login)?;
        let result = self.store_startup(grant, startup).await;
        log_act(grant, &result);
        result
    }

    async fn store_startup(&self, grant: &Grant, startup: Startup) -> Result<()> {
        let target = target_of(grant)?;
        let portals = resolved(grant.portal(), deadline(None)).await?;
        let _claim = self.busy.claim(&target)?;
        let nodes = self.nodes_of(&target, portals.as_deref()).await?;
        if nodes.is_empty() {
            // Without open-iscsi there are no nodes: that is the reason, then.
            self.iscsiadm()?;
            return Err(no_such_node(&target, grant.portal()));
        }
        if let Some((node, why)) = nodes.iter().find_map(|node| Some((node, node.damage?))) {
            return Err(damaged(&node.key, why));
        }
        refuse_boots(&nodes)?;
        let (database, keys) =
            (self.database.clone(), nodes.into_iter().map(|node| node.key).collect::<Vec<_>>());
        blocking(move || database.set_startup(&keys, startup)).await??;
        // Look again: what counts is what the records now say.
        let after = self.nodes_of(&target, portals.as_deref()).await?;
        match after.iter().find(|node| node.damage.is_some() || node.startup != startup) {
            Some(node) => Err(damaged(&node.key, "another program changed it at the same time")),
            None => Ok(()),
        }
    }
}

/// The initial ramdisk logs in by what these say: changed, the machine might not come up again.
pub(in crate::engine) fn refuse_boots(nodes: &[Node]) -> Result<()> {
    match nodes.iter().find_map(|node| Some((&node.key, node.boot?))) {
        None => Ok(()),
        Some((key, why)) => Err(Fault::new(
            Kind::InUse,
            format!(
                "this machine boots with the record of {} at {} ({why}): it stays as it is",
                key.target, key.portal
            ),
        )
        .hint("name another portal, or have it changed where the boot is set up")),
    }
}
