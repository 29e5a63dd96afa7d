//! Removes node records, including damaged ones. Never removes the record of a session that is up:
//! without it, that session could not be logged out of by name.

use std::sync::Arc;

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result};
use iscsi_initiator_polkit::Action;

use super::lookup::{nodes_of, none, resolved};
use crate::{
    backend::host::threads::blocking,
    engine::{
        Engine,
        call::{Call, act},
        leftovers::undo::claim,
    },
};

impl Engine {
    /// Removes the records of the granted target at one portal or at all.
    pub(crate) async fn forget(self: &Arc<Self>, call: &Call) -> Result<()> {
        act(self, call, Action::Configure, move |engine, call| {
            Box::pin(async move {
                let portals = resolved(engine, call.any_portal(), call.limit()).await?;
                let _claim = claim(engine, call.target()?).await?;
                remove(engine, call.target()?, portals.as_deref(), call.any_portal()).await
            })
        })
        .await
    }
}

async fn remove(
    engine: &Engine,
    target: &Iqn,
    portals: Option<&[Portal]>,
    asked: Option<&Portal>,
) -> Result<()> {
    let now = engine.state.look_at(std::slice::from_ref(target)).await?;
    let nodes = now.nodes_of(target, portals);
    if nodes.is_empty() {
        return Err(none(engine, target, asked).await);
    }
    if let Some(up) = nodes.iter().find(|node| now.session_of(&node.key).is_some()) {
        let what = format!("a session to {target} at {} is up", up.key.portal);
        return Err(Fault::new(Kind::InUse, what)
            .hint(format!("log out first: iscsictl logout {target} {}", up.key.portal)));
    }
    let database = engine.database.clone();
    let keys: Vec<_> = nodes.into_iter().map(|node| node.key).collect();
    blocking(move || database.forget(&keys)).await??;
    // Checks again: what counts is that they are gone.
    if let Some(left) = nodes_of(engine, target, portals).await?.first() {
        let what = format!("another program made the record of {target} at {} again", left.key.portal);
        return Err(Fault::new(Kind::Failed, what).hint("try again"));
    }
    if nodes_of(engine, target, None).await?.is_empty() {
        let (known_luns, target) = (engine.known_luns.clone(), target.clone());
        blocking(move || known_luns.forget(&target)).await??;
    }
    Ok(())
}
