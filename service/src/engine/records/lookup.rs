//! Finds the records that a call refers to, and reports missing and damaged ones.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result, hint};

use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        kernel::sysfs::Scope,
        open_iscsi::{
            database::{Node, NodeKey},
            iscsiadm::Iscsiadm,
        },
    },
    engine::{
        Engine,
        state::{reader::Parts, snapshot::Snapshot},
    },
};

/// How many portals a message names.
const SHOWN: usize = 4;

/// The target that a caller means: as it is recorded or has a session, if that is so in another case
/// alone. A name is the same in any case, and many targets compare bytes, as open-iscsi does.
pub(in crate::engine) async fn as_recorded(engine: &Engine, target: &Iqn) -> Result<Iqn> {
    let (database, asked) = (engine.database.clone(), target.clone());
    if let Some(spelled) = reading(move || database.spelling(&asked)).await?? {
        return Ok(spelled);
    }
    let now = engine.state.sessions(Scope::of([target])).await?;
    let named = now.sessions().map(|session| session.target.as_str()).collect::<BTreeSet<_>>();
    if named.contains(target.as_str()) {
        return Ok(target.clone());
    }
    let canonical = target.canonical();
    let mut spelled = named.into_iter().filter_map(|name| Iqn::recorded(name).ok());
    Ok(spelled.find(|name| name.canonical() == canonical).unwrap_or_else(|| target.clone()))
}

/// The portals that a caller means of a target: those that are recorded under the name or the address
/// that they gave, or else those that lead to the same place. iscsiadm resolves names to compare
/// them, too (usr/iscsi_util.c, `iscsi_addr_match`). `None` still means all.
pub(in crate::engine) async fn meant(
    engine: &Engine,
    target: &Iqn,
    portal: Option<&Portal>,
    limit: &Limit,
) -> Result<Option<Vec<Portal>>> {
    if portal.is_none() {
        return Ok(None);
    }
    meant_among(engine, &nodes_of(engine, target, None).await?, portal, limit).await
}

/// The same, of all nodes of the target.
pub(in crate::engine) async fn meant_among(
    engine: &Engine,
    nodes: &[Node],
    portal: Option<&Portal>,
    limit: &Limit,
) -> Result<Option<Vec<Portal>>> {
    let Some(asked) = portal else { return Ok(None) };
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
    Ok(engine.state.nodes_of(std::slice::from_ref(target)).await?.nodes_of(target, portals))
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
        return Err(none(engine, target, asked).await);
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
pub(in crate::engine) async fn none(engine: &Engine, target: &Iqn, portal: Option<&Portal>) -> Fault {
    if let Err(missing) = Iscsiadm::find(&engine.layout) {
        return missing;
    }
    let now = match engine.state.look(Parts::RECORDS).await {
        Ok(now) => now,
        Err(_) => return no_such_node(target, portal),
    };
    let elsewhere: Vec<String> =
        now.nodes_of(target, None).iter().map(|node| node.key.portal.to_string()).collect();
    match portal {
        Some(portal) if !elsewhere.is_empty() => only_elsewhere(target, portal, elsewhere),
        _ if now.nodes().is_empty() => no_such_node(target, portal),
        _ => Fault::new(Kind::NoSuchNode, nothing_for(target, portal)).hint(format!(
            "see what is recorded: iscsictl nodes; find and record more: {}",
            discover(portal)
        )),
    }
}

/// The target is recorded, and not at this portal, which need not list it to serve it.
fn only_elsewhere(target: &Iqn, portal: &Portal, mut elsewhere: Vec<String>) -> Fault {
    let others = elsewhere.split_off(elsewhere.len().min(SHOWN));
    let more = if others.is_empty() { "" } else { " and others" };
    let what = format!("{}, only at {}{more}", nothing_for(target, Some(portal)), elsewhere.join(", "));
    Fault::new(Kind::NoSuchNode, what).hint(hint!(
        "if it can be reached at {PORTAL}, record it there: iscsictl add {TARGET} {PORTAL}",
        TARGET = target,
        PORTAL = portal
    ))
}

/// Nothing is recorded at all, or nothing that is known of.
pub(in crate::engine) fn no_such_node(target: &Iqn, portal: Option<&Portal>) -> Fault {
    Fault::new(Kind::NoSuchNode, nothing_for(target, portal))
        .hint(format!("discover it first: {}", discover(portal)))
}

fn nothing_for(target: &Iqn, portal: Option<&Portal>) -> String {
    let at = portal.map(|portal| format!(" at {portal}")).unwrap_or_default();
    format!("nothing is recorded for {target}{at}")
}

fn discover(portal: Option<&Portal>) -> String {
    match portal {
        Some(portal) => hint!("iscsictl discover {PORTAL}", PORTAL = portal),
        None => "iscsictl discover --help".to_owned(),
    }
}

/// It was there when the call began, or the call has recorded it.
pub(in crate::engine) fn removed(node: &NodeKey) -> Fault {
    Fault::new(
        Kind::NoSuchNode,
        format!("the record of {} at {} was removed by another program meanwhile", node.target, node.portal),
    )
    .hint(hint!(
        "record it again: iscsictl add {TARGET} {PORTAL}",
        TARGET = node.target,
        PORTAL = node.portal
    ))
}

pub(in crate::engine) fn damaged(node: &NodeKey, why: impl std::fmt::Display) -> Fault {
    Fault::new(
        Kind::InvalidConfiguration,
        format!("the record of {} at {} is damaged: {why}", node.target, node.portal),
    )
    .hint(hint!(
        "remove it and discover it again: iscsictl forget {TARGET} {PORTAL} && iscsictl discover {PORTAL}",
        TARGET = node.target,
        PORTAL = node.portal
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_is_recorded_elsewhere_is_added_where_it_was_asked_for() {
        let target: Iqn = "iqn.2001-04.com.example:disk".parse().unwrap();
        let portal: Portal = "[2001:db8::21]:3260".parse().unwrap();
        let at = |count: u8| (1..=count).map(|n| format!("172.17.0.{n}:3260")).collect::<Vec<_>>();
        let fault = only_elsewhere(&target, &portal, at(1));
        assert!(fault.message().ends_with("at [2001:db8::21]:3260, only at 172.17.0.1:3260"), "{fault}");
        assert!(
            fault.next_step().ends_with(&format!("iscsictl add {target} '[2001:db8::21]:3260'")),
            "{fault}"
        );
        let fault = only_elsewhere(&target, &portal, at(5));
        assert!(fault.message().ends_with("172.17.0.4:3260 and others"), "{fault}");
        let fault = no_such_node(&target, Some(&portal));
        assert!(fault.next_step().ends_with("iscsictl discover '[2001:db8::21]:3260'"), "{fault}");
    }
}
