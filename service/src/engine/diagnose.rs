//! Everything that a login needs, looked at in order: what was seen, and what to do.
//! It may not change anything, nor show a portal a secret that is not recorded for it.

mod exchange;
mod machine;
mod names;
mod portal;
mod report;

use std::{sync::Arc, time::Duration};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result, results::Check};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::{task::JoinSet, time::Instant};

use self::report::Report;
use super::{ChapSecrets, Engine, deadline, log_act, no_such_node, require};
use crate::backend::{host::resolve, open_iscsi::database::chap::Proofs};

/// What is looked at, at each portal.
#[derive(Clone)]
struct Subject {
    target: Option<Iqn>,
    /// `None` if this machine has none: then no portal is asked.
    initiator: Option<Iqn>,
    /// The caller's, instead of what is recorded.
    given: Option<Arc<Proofs>>,
    deadline: Instant,
}

impl Engine {
    /// The checks in their order: first this machine, then each portal: the granted one, or all that are recorded
    /// for the target.
    pub(crate) async fn diagnose(
        self: &Arc<Self>,
        grant: &Grant,
        timeout: Option<Duration>,
        chap: Option<ChapSecrets>,
    ) -> Result<Vec<Check>> {
        require(grant, Action::Login)?;
        let result = self.look_at_all(grant, deadline(timeout), chap).await;
        log_act(grant, &result);
        result
    }

    async fn look_at_all(
        self: &Arc<Self>,
        grant: &Grant,
        deadline: Instant,
        chap: Option<ChapSecrets>,
    ) -> Result<Vec<Check>> {
        let mut checks = self.look_at_machine().await?;
        let subject = Subject {
            target: grant.target().cloned(),
            initiator: self.initiator_name().await.ok().flatten(),
            given: chap.map(|chap| Arc::new(Proofs::with(Some(chap)))),
            deadline,
        };
        let (about_name, portals) = self.portals_of(&subject, grant.portal()).await;
        checks.extend(about_name);
        let mut looks = JoinSet::new();
        for (number, portal) in portals.into_iter().enumerate() {
            let (engine, subject) = (Arc::clone(self), subject.clone());
            looks.spawn(async move { (number, engine.look_at_portal(&portal, subject).await) });
        }
        let mut found = looks.join_all().await;
        found.sort_by_key(|(number, _)| *number);
        for (_, at_portal) in found {
            checks.extend(at_portal?);
        }
        Ok(checks)
    }

    /// The numeric portals to look at, and what there is to say of their names.
    async fn portals_of(&self, subject: &Subject, portal: Option<&Portal>) -> (Vec<Check>, Vec<Portal>) {
        match (portal, &subject.target) {
            (Some(portal), _) => resolution(portal, subject.deadline).await,
            (None, Some(target)) => self.recorded(target).await,
            (None, None) => (Vec::new(), Vec::new()),
        }
    }

    async fn recorded(&self, target: &Iqn) -> (Vec<Check>, Vec<Portal>) {
        let mut report = Report::new("");
        let nodes = match self.nodes_of(target, None).await {
            Ok(nodes) => nodes,
            Err(fault) => {
                report.failed("node-record", &fault);
                return (report.checks(), Vec::new());
            }
        };
        let mut portals: Vec<Portal> = nodes.into_iter().map(|node| node.key.portal).collect();
        portals.dedup();
        if portals.is_empty() {
            report.failed("node-record", &no_such_node(target, None));
        }
        (report.checks(), portals)
    }
}

async fn resolution(portal: &Portal, deadline: Instant) -> (Vec<Check>, Vec<Portal>) {
    const NAME: &str = "name-resolution";
    let mut report = Report::new(&portal.to_string());
    if portal.address().is_some() {
        report.skipped(NAME, "the portal is a number");
        return (report.checks(), vec![portal.clone()]);
    }
    match resolve::portals(portal, deadline).await {
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

/// A failure of the machine's own, with the error that a login would end with.
fn unusable(kind: Kind, what: impl Into<String>, hint: impl Into<String>) -> Fault {
    Fault::new(kind, what).hint(hint)
}
