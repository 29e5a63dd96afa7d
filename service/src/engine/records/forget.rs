//! Removes node records, including damaged ones. Never removes the record of a session that is up:
//! without it, that session could not be logged out of by name.

use std::sync::Arc;

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result, hint};
use iscsi_initiator_polkit::Action;

use super::lookup::{as_recorded, nodes_of, none, resolved};
use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{blocking, reading},
        },
        open_iscsi::database::listing::Stray,
    },
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
                let target = &as_recorded(engine, call.target()?).await?;
                let portals = exactly(engine, target, call.any_portal(), call.limit()).await?;
                let _claim = claim(engine, target).await?;
                remove(engine, target, portals.as_deref(), call.any_portal()).await
            })
        })
        .await
    }
}

/// The portal that a caller named, as it is recorded; a name that is not recorded stands for its
/// addresses. A record that merely leads to the same place is another record.
async fn exactly(
    engine: &Engine,
    target: &Iqn,
    portal: Option<&Portal>,
    limit: &Limit,
) -> Result<Option<Vec<Portal>>> {
    let asked = portal.map(std::slice::from_ref);
    let is_recorded = match asked {
        None => true,
        Some(_) => {
            !nodes_of(engine, target, asked).await?.is_empty()
                || !strays_of(engine, target, asked).await?.is_empty()
        }
    };
    if is_recorded { Ok(asked.map(<[_]>::to_vec)) } else { resolved(engine, portal, limit).await }
}

/// What lies among the records of a target, or of some of its portals, and is not a record.
async fn strays_of(engine: &Engine, target: &Iqn, portals: Option<&[Portal]>) -> Result<Vec<Stray>> {
    let (database, targets) = (engine.database.clone(), [target.clone()]);
    let mut strays = reading(move || database.list_of(&targets)).await??.strays;
    let is_at = |stray: &Stray, portals: &[Portal]| {
        stray.portal.as_ref().is_some_and(|portal| portals.contains(portal))
    };
    strays.retain(|stray| portals.is_none_or(|portals| is_at(stray, portals)));
    Ok(strays)
}

async fn remove(
    engine: &Engine,
    target: &Iqn,
    portals: Option<&[Portal]>,
    asked: Option<&Portal>,
) -> Result<()> {
    let now = engine.state.look_at(std::slice::from_ref(target)).await?;
    let nodes = now.nodes_of(target, portals);
    let strays = strays_of(engine, target, portals).await?;
    if nodes.is_empty() && strays.is_empty() {
        return Err(none(engine, target, asked).await);
    }
    if let Some(up) = nodes.iter().find(|node| now.session_of(&node.key).is_some()) {
        let what = format!("a session to {target} at {} is up", up.key.portal);
        return Err(Fault::new(Kind::InUse, what).hint(hint!(
            "log out first: iscsictl logout {TARGET} {PORTAL}",
            TARGET = target,
            PORTAL = up.key.portal
        )));
    }
    let database = engine.database.clone();
    let keys: Vec<_> = nodes.into_iter().map(|node| node.key).collect();
    blocking(move || database.forget(&keys, &strays)).await??;
    // Checks again: what counts is that they are gone.
    if let Some(left) = nodes_of(engine, target, portals).await?.first() {
        let what = format!("another program made the record of {target} at {} again", left.key.portal);
        return Err(Fault::new(Kind::Failed, what).hint("try again"));
    }
    if let Some(left) = strays_of(engine, target, portals).await?.first() {
        let path = engine.layout.find_database().join(&left.path);
        let what = format!("{} is still there: it holds a folder, which is not open-iscsi's", path.display());
        return Err(Fault::new(Kind::Failed, what)
            .hint(hint!("see what it is: sudo ls -lR {FILE}", FILE = path.display())));
    }
    if nodes_of(engine, target, None).await?.is_empty() {
        let (known_luns, target) = (engine.known_luns.clone(), target.clone());
        blocking(move || known_luns.forget(&target)).await??;
    }
    Ok(())
}
