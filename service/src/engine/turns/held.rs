//! `Hold` and `Release`. A lease keeps its target logged in, and does not log in.

use std::sync::Arc;

use iscsi_initiator_dbus::{LeaseHolder, fault::Result};
use iscsi_initiator_polkit::Action;

use crate::engine::{
    Engine,
    call::{Call, act},
    records::lookup::{as_recorded, none},
};

impl Engine {
    /// Takes a lease on the granted target, which is recorded or logged in to.
    pub(crate) async fn hold(self: &Arc<Self>, call: &Call, holder: LeaseHolder) -> Result<()> {
        act(self, call, Action::Login, move |engine, call| {
            Box::pin(async move {
                let target = &as_recorded(engine, call.target()?).await?;
                let now = engine.state.look_at(std::slice::from_ref(target)).await?;
                if now.nodes_of(target, None).is_empty() && now.sessions_of(target, None).is_empty() {
                    return Err(none(engine, target, None).await);
                }
                engine.turns.leases.hold(target, holder, call.uid()).await
            })
        })
        .await
    }

    /// Releases a lease on the granted target.
    pub(crate) async fn release(self: &Arc<Self>, call: &Call, holder: LeaseHolder) -> Result<()> {
        act(self, call, Action::Logout, move |engine, call| {
            Box::pin(async move { engine.turns.leases.release(call.target()?, holder, call.uid()).await })
        })
        .await
    }
}
