//! The secrets of iscsid.conf: who may have them proven where.
//! Must not use one at a portal that it is not recorded for, unless the caller may store it there.

use iscsi_initiator_dbus::{Portal, fault::Result, results};

use crate::{
    backend::{
        host::threads::reading,
        open_iscsi::database::{NodeKey, chap::DefaultChap, nodes::Made},
    },
    engine::{
        Engine,
        call::consent::{Consent, may_use_secrets},
    },
};

/// Where new records get the default CHAP, for this caller. Asks only if there is one.
pub(in crate::engine) async fn default_chap(
    engine: &Engine,
    consent: &dyn Consent,
    portal: &Portal,
    interface: Option<&str>,
) -> Result<DefaultChap> {
    let database = engine.database.clone();
    let is_there = reading(move || database.has_default_chap()).await??;
    let may = is_there && may_use_secrets(consent, Some(portal), interface).await;
    Ok(DefaultChap::of(may))
}

/// Whether iscsid.conf has CHAP for discoveries.
pub(in crate::engine) async fn has_default_discovery_chap(engine: &Engine) -> Result<bool> {
    let database = engine.database.clone();
    Ok(reading(move || database.has_default_discovery_chap()).await??)
}

/// The entry of a node, which says so if its record was made without the default CHAP.
pub(in crate::engine) fn with_remark(
    mut entry: results::Node,
    made: Option<&Made>,
    NodeKey { target, portal, .. }: &NodeKey,
) -> results::Node {
    if made == Some(&Made::NewWithoutChap) {
        entry.message = format!("the default CHAP is not recorded for {portal} and was left out");
        entry.hint = format!("if the target asks for CHAP: iscsictl set-chap {target} {portal} --user NAME");
    }
    entry
}
