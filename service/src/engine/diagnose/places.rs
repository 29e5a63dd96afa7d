//! The addresses to check, and the names that each of them is recorded under: iscsid resolves the host
//! name of a record by itself, and a session keeps it.

use std::{collections::BTreeSet, sync::Arc};

use iscsi_initiator_dbus::{Iqn, Portal, results::Check};
use tokio::task::JoinSet;

use super::report::Report;
use crate::{
    backend::{host::limit::Limit, open_iscsi::database::Node},
    engine::{
        Engine,
        call::Progress,
        records::lookup::{meant, no_such_node, nodes_of},
        state::snapshot::Snapshot,
    },
};

const NAME: &str = "name-resolution";

/// A portal to check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// By its number.
    pub(super) portal: Portal,
    /// What its record and its session may have for it; what was asked for comes first.
    pub(super) known_as: Vec<Portal>,
}

impl Place {
    fn new(portal: Portal, mut known_as: Vec<Portal>) -> Self {
        if !known_as.contains(&portal) {
            known_as.push(portal.clone());
        }
        Self { portal, known_as }
    }

    /// The record of a target here.
    pub(super) fn record(&self, now: &Snapshot, target: &Iqn) -> Option<Node> {
        let at = |portal: &Portal| now.nodes_of(target, Some(std::slice::from_ref(portal)));
        self.known_as.iter().find_map(|portal| at(portal).into_iter().next())
    }
}

/// The places to check, each once, and the results of resolving names.
pub(super) async fn of(
    engine: &Arc<Engine>,
    target: Option<&Iqn>,
    portal: Option<&Portal>,
    progress: &Progress,
    limit: &Limit,
) -> (Vec<Check>, Vec<Place>) {
    match (portal, target) {
        (Some(portal), target) => {
            let (checks, found) = resolution(engine, portal, progress, limit).await;
            let known_as = match target {
                Some(target) => meant(engine, target, Some(portal), limit).await.ok().flatten(),
                None => None,
            };
            let known_as = known_as.unwrap_or_else(|| vec![portal.clone()]);
            (checks, found.into_iter().map(|portal| Place::new(portal, known_as.clone())).collect())
        }
        (None, Some(target)) => recorded(engine, target, progress, limit).await,
        (None, None) => (Vec::new(), Vec::new()),
    }
}

async fn recorded(
    engine: &Arc<Engine>,
    target: &Iqn,
    progress: &Progress,
    limit: &Limit,
) -> (Vec<Check>, Vec<Place>) {
    let mut report = Report::new("", progress);
    let nodes = match nodes_of(engine, target, None).await {
        Ok(nodes) => nodes,
        Err(fault) => {
            report.failed("node-record", &fault);
            return (report.checks(), Vec::new());
        }
    };
    let portals: BTreeSet<Portal> = nodes.into_iter().map(|node| node.key.portal).collect();
    if portals.is_empty() {
        report.failed("node-record", &no_such_node(target, None));
    }
    let mut lookups = JoinSet::new();
    for (number, portal) in portals.into_iter().enumerate() {
        let (engine, limit) = (Arc::clone(engine), limit.clone());
        // Of a number there is nothing to tell.
        let progress = if portal.address().is_none() { progress.clone() } else { Progress::none() };
        lookups.spawn(async move {
            let found = resolution(&engine, &portal, &progress, &limit).await;
            (number, portal, found)
        });
    }
    let mut found = lookups.join_all().await;
    found.sort_by_key(|(number, ..)| *number);
    let (mut checks, mut places) = (report.checks(), Vec::<Place>::new());
    for (_, name, (about_name, numbers)) in found {
        if name.address().is_none() {
            checks.extend(about_name);
        }
        for portal in numbers {
            match places.iter_mut().find(|place| place.portal == portal) {
                Some(place) => place.known_as.push(name.clone()),
                None => places.push(Place::new(portal, vec![name.clone()])),
            }
        }
    }
    (checks, places)
}

async fn resolution(
    engine: &Engine,
    portal: &Portal,
    progress: &Progress,
    limit: &Limit,
) -> (Vec<Check>, Vec<Portal>) {
    let mut report = Report::new(&portal.to_string(), progress);
    if portal.address().is_some() {
        report.skipped(NAME, "the portal is a number");
        return (report.checks(), vec![portal.clone()]);
    }
    match engine.resolver.portals(portal, limit).await {
        Ok(portals) => {
            let shown: Vec<String> = portals.iter().map(ToString::to_string).collect();
            report.ok(NAME, format!("{} is {}", portal.host(), shown.join(", ")));
            (report.checks(), portals)
        }
        Err(fault) => {
            report.failed(NAME, &fault);
            (report.checks(), Vec::new())
        }
    }
}
