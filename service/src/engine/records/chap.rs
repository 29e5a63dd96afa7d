//! Stores CHAP in the records: of a target's nodes, of a portal's discovery, or of future nodes. A
//! session that is up keeps what it logged in with.

use std::sync::Arc;

use iscsi_initiator_dbus::{Iqn, Portal, fault::Result, results::ChapMode};
use iscsi_initiator_polkit::Action;

use super::lookup::{as_recorded, check_again, meant, resolved, sound_nodes_of};
use crate::{
    backend::{
        host::threads::blocking,
        open_iscsi::{database::chap::ChapSecrets, iscsiadm::Iscsiadm},
    },
    engine::{
        Engine,
        call::{Call, act},
        leftovers::undo::claim,
    },
};

impl Engine {
    /// Stores what was granted, or clears it with `None`: a target's CHAP at one portal or all;
    /// without a target, a portal's discovery CHAP; without either, the default for nodes yet to be
    /// discovered.
    pub(crate) async fn set_chap(self: &Arc<Self>, call: &Call, secrets: Option<ChapSecrets>) -> Result<()> {
        act(self, call, Action::SetChap, move |engine, call| {
            Box::pin(async move {
                let asked = call.any_portal();
                match call.any_target() {
                    Some(target) => {
                        let target = &as_recorded(engine, target).await?;
                        let portals = meant(engine, target, asked, call.limit()).await?;
                        of_nodes(engine, target, portals, asked, secrets).await
                    }
                    None => of_discovery(engine, resolved(engine, asked, call.limit()).await?, secrets).await,
                }
            })
        })
        .await
    }
}

async fn of_nodes(
    engine: &Engine,
    target: &Iqn,
    portals: Option<Vec<Portal>>,
    asked: Option<&Portal>,
    secrets: Option<ChapSecrets>,
) -> Result<()> {
    let _claim = claim(engine, target).await?;
    let nodes = sound_nodes_of(engine, target, portals.as_deref(), asked).await?;
    let keys: Vec<_> = nodes.into_iter().map(|node| node.key).collect();
    let wanted = match &secrets {
        None => ChapMode::None,
        Some(secrets) if secrets.target.is_none() => ChapMode::OneWay,
        Some(_) => ChapMode::Mutual,
    };
    let database = engine.database.clone();
    blocking(move || database.set_node_chap(&keys, secrets.as_ref())).await??;
    let now = engine.state.nodes_of(std::slice::from_ref(target)).await?;
    check_again(&now, target, portals.as_deref(), |node| node.chap == wanted)
}

async fn of_discovery(
    engine: &Engine,
    portals: Option<Vec<Portal>>,
    secrets: Option<ChapSecrets>,
) -> Result<()> {
    let _claim = engine.turns.claims.claim_everything()?;
    Iscsiadm::find(&engine.layout)?;
    let database = engine.database.clone();
    let stored = blocking(move || match portals {
        None => database.set_default_chap(secrets.as_ref()),
        Some(portals) => {
            portals.iter().try_for_each(|portal| database.set_discovery_chap(portal, secrets.as_ref()))
        }
    });
    Ok(stored.await??)
}
