//! Sets when nodes are logged in to: only on request, or also at boot. The records that this
//! machine boots with are never changed.

use std::sync::Arc;

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, results::Startup};
use iscsi_initiator_polkit::Action;

use super::lookup::{as_recorded, check_again, meant, sound_nodes_of};
use crate::{
    backend::{host::threads::blocking, open_iscsi::database::Node},
    engine::{
        Engine,
        call::{Call, act},
        leftovers::undo::claim,
    },
};

impl Engine {
    /// Sets the startup of the granted target, at one portal or at all.
    pub(crate) async fn set_startup(self: &Arc<Self>, call: &Call, startup: Startup) -> Result<()> {
        act(self, call, Action::Login, move |engine, call| {
            Box::pin(async move {
                let (target, asked) = (&as_recorded(engine, call.target()?).await?, call.any_portal());
                let portals = meant(engine, target, asked, call.limit()).await?;
                let _claim = claim(engine, target).await?;
                let nodes = sound_nodes_of(engine, target, portals.as_deref(), asked).await?;
                refuse_boots(&nodes)?;
                let database = engine.database.clone();
                let keys: Vec<_> = nodes.into_iter().map(|node| node.key).collect();
                blocking(move || database.set_startup(&keys, startup)).await??;
                let now = engine.state.nodes_of(std::slice::from_ref(target)).await?;
                check_again(&now, target, portals.as_deref(), |node| node.startup == startup)
            })
        })
        .await
    }
}

/// The initial ramdisk logs in with these records: after a change, the machine might not boot.
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
        .hint("name another portal, or change it where the boot is configured")),
    }
}
