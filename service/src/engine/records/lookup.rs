//! Finds the records that a call refers to, and reports missing and damaged ones.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result};

use crate::{
    backend::{
        host::limit::Limit,
        open_iscsi::{
            database::{Node, NodeKey},
            iscsiadm::Iscsiadm,
        },
    },
    engine::{Engine, state::snapshot::Snapshot},
};

/// The portals that a caller means of a target: those that are recorded under the name or the address
/// that they gave, or else those that lead to the same place. iscsiadm resolves names to compare
/// them, too (usr/iscsi_util.c, `iscsi_addr_match`). `None` still means all.
pub(in crate::engine) async fn meant(
    engine: &Engine,
    target: &Iqn,
    portal: Option<&Portal>,
    limit: &Limit,
) -> Result<Option<Vec<Portal>>> {
    let Some(asked) = portal else { return Ok(None) };
    let nodes = nodes_of(engine, target, None).await?;
    let recorded: BTreeSet<&Portal> = nodes.iter().map(|node| &node.key.portal).collect();
    if recorded.contains(asked) {
        return Ok(Some(vec![asked.clone()]));
    }
    let mut portals = vec![asked.clone()];
    if asked.address().is_none() {
        portals.extend(engine.resolver.portals(asked, limit).await?);
        return Ok(Some(portals));
    }
    let is_near = |portal: &&&Portal| portal.address().is_none() && portal.port() == asked.port();
    for named in recorded.iter().filter(is_near) {
        // A name that has no address now is another portal's.
        if engine.resolver.portals(named, limit).await.is_ok_and(|found| found.contains(asked)) {
            portals.push((*named).clone());
        }
    }
    Ok(Some(portals))
}

/// Every numeric portal that the argument stands for; `None` still means all.
pub(in crate::engine) async fn resolved(
    engine: &Engine,
    portal: Option<&Portal>,
    limit: &Limit,
) -> Result<Option<Vec<Portal>>> {
    match portal {
        None => Ok(None),
        Some(portal) => engine.resolver.portals(portal, limit).await.map(Some),
    }
}

/// The recorded nodes of a target, at some portals or all.
pub(in crate::engine) async fn nodes_of(
    engine: &Engine,
    target: &Iqn,
    portals: Option<&[Portal]>,
) -> Result<Vec<Node>> {
    Ok(engine.state.look_at(std::slice::from_ref(target)).await?.nodes_of(target, portals))
}

/// The nodes to change, none of them damaged. `asked` is the portal as the caller named it.
pub(in crate::engine) async fn sound_nodes_of(
    engine: &Engine,
    target: &Iqn,
    portals: Option<&[Portal]>,
    asked: Option<&Portal>,
) -> Result<Vec<Node>> {
    let nodes = nodes_of(engine, target, portals).await?;
    if nodes.is_empty() {
        return Err(none(engine, target, asked));
    }
    match nodes.iter().find_map(|node| Some((&node.key, node.damage?))) {
        Some((key, why)) => Err(damaged(key, why)),
        None => Ok(nodes),
    }
}

/// Verifies a change: what counts is what the records hold now. `InvalidConfiguration` if one of
/// them is not as wanted.
pub(in crate::engine) fn check_again(
    now: &Snapshot,
    target: &Iqn,
    portals: Option<&[Portal]>,
    is_as_wanted: impl Fn(&Node) -> bool,
) -> Result<()> {
    let nodes = now.nodes_of(target, portals);
    match nodes.iter().find(|node| node.damage.is_some() || !is_as_wanted(node)) {
        Some(node) => Err(damaged(&node.key, "another program changed it at the same time")),
        None => Ok(()),
    }
}

/// There is no such node. Without open-iscsi there are no nodes, and that is the reason then.
pub(in crate::engine) fn none(engine: &Engine, target: &Iqn, portal: Option<&Portal>) -> Fault {
    match Iscsiadm::find(&engine.layout) {
        Err(missing) => missing,
        Ok(_) => no_such_node(target, portal),
    }
}

pub(in crate::engine) fn no_such_node(target: &Iqn, portal: Option<&Portal>) -> Fault {
    let at = portal.map(|portal| format!(" at {portal}")).unwrap_or_default();
    let discover = portal.map_or_else(|| "ADDRESS".to_owned(), Portal::to_string);
    Fault::new(Kind::NoSuchNode, format!("no node is recorded for {target}{at}"))
        .hint(format!("discover it first: iscsictl discover {discover}"))
}

pub(in crate::engine) fn damaged(node: &NodeKey, why: impl std::fmt::Display) -> Fault {
    Fault::new(
        Kind::InvalidConfiguration,
        format!("the record of {} at {} is damaged: {why}", node.target, node.portal),
    )
    .hint({
        let portal = quoted(&node.portal.to_string());
        format!(
            "remove it and discover it again: iscsictl forget {} {portal} && iscsictl discover {portal}",
            node.target
        )
    })
}

/// A word as a shell takes it literally, also one that would match the names of files.
pub(in crate::engine) fn quoted(word: &str) -> String {
    let is_plain = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b',' | b':' | b'/' | b'-' | b'_' | b'@')
    };
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
