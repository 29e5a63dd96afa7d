//! Removes node records, the damaged ones too.
//! It may not remove the record of a session that is up: nobody could log out of it by name any more.

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use iscsi_initiator_polkit::{Action, Grant};

use crate::engine::{Engine, blocking, deadline, log_act, no_such_node, require, resolved, target_of};

impl Engine {
    /// Removes what is recorded of the granted target at one portal or at all.
    pub(crate) async fn forget(&self, grant: &Grant) -> Result<()> {
        require(grant, Action::Configure)?;
        let result = self.remove_records(grant).await;
        log_act(grant, &result);
        result
    }

    async fn remove_records(&self, grant: &Grant) -> Result<()> {
        let target = target_of(grant)?;
        let portals = resolved(grant.portal(), deadline(None)).await?;
        let _claim = self.busy.claim(&target)?;
        let nodes = self.nodes_of(&target, portals.as_deref()).await?;
        if nodes.is_empty() {
            // Without open-iscsi there are no nodes: that is the reason, then.
            self.iscsiadm()?;
            return Err(no_such_node(&target, grant.portal()));
        }
        let sessions = self.sessions().await?;
        if let Some(up) = nodes.iter().find(|node| sessions.iter().any(|session| session.is_of(&node.key))) {
            let what = format!("a session to {target} at {} is up", up.key.portal);
            return Err(Fault::new(Kind::InUse, what)
                .hint(format!("log out first: iscsictl logout {target} {}", up.key.portal)));
        }
        let (database, keys) =
            (self.database.clone(), nodes.into_iter().map(|node| node.key).collect::<Vec<_>>());
        blocking(move || database.forget(&keys)).await??;
        // Look again: what counts is that they are gone.
        if let Some(left) = self.nodes_of(&target, portals.as_deref()).await?.first() {
            let what = format!(
                "the record of {target} at {} is there again: another program made it",
                left.key.portal
            );
            return Err(Fault::new(Kind::Failed, what).hint("try again"));
        }
        if self.nodes_of(&target, None).await?.is_empty() {
            let luns = self.luns.clone();
            blocking(move || luns.forget(&target)).await??;
        }
        Ok(())
    }
}
