//! The secrets of iscsid.conf: who may have them proven where.
//! Must not use one at a portal that it is not recorded for, unless the caller may store it there.

use iscsi_initiator_dbus::{Portal, fault::Result, hint, results};

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

/// The entry of a node, which says so if its record was made without the default CHAP, in place of a
/// damaged one, or not at all.
pub(in crate::engine) fn with_remark(
    mut entry: results::Node,
    made: Option<&Made>,
    NodeKey { target, portal, .. }: &NodeKey,
) -> results::Node {
    let mut remarks = Vec::new();
    if let Some(Made::Replaced { why, copy, .. }) = made {
        let kept = copy.as_ref().map(|copy| format!(", and is kept as {}", copy.display()));
        let kept = kept.unwrap_or_default();
        remarks.push(format!(
            "the record of {target} at {portal} could not be used: {why}; it was replaced{kept}"
        ));
        if let Some(copy) = copy {
            entry.hint = hint!("see what it held: sudo cat {FILE}", FILE = copy.display());
        }
    }
    if let Some(Made::Unusable(why)) = made {
        remarks.push(format!("the record of {target} at {portal} stays as it is: {why}"));
        entry.hint = hint!(
            "remove it and discover it again: iscsictl forget {TARGET} {PORTAL} && iscsictl discover {PORTAL}",
            TARGET = target,
            PORTAL = portal
        );
    }
    if made.is_some_and(Made::is_without_chap) {
        remarks.push(format!("the default CHAP is not recorded for {portal} and was left out"));
        entry.hint = hint!(
            "if the target asks for CHAP: iscsictl set-chap {TARGET} {PORTAL} --user NAME",
            TARGET = target,
            PORTAL = portal
        );
    }
    if !remarks.is_empty() {
        entry.message = remarks.join("; ");
    }
    entry
}
