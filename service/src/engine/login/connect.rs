//! From a portal and CHAP to usable disks: discovers, records, sets CHAP, logs in.
//! It may not leave anything of a call that failed behind, nor choose among targets that nobody named.

use std::{collections::BTreeSet, sync::Arc};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, Portal,
    fault::Result,
    results::{self, Startup, Step},
};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::{sync::mpsc, task::JoinSet};

use super::Wishes;
use crate::backend::open_iscsi::{
    database::{
        Node, NodeKey,
        chap::Proofs,
        ifaces::Binding,
        nodes::{Made, Origin},
    },
    iscsid,
    undo::{Undo, settle},
};
use crate::engine::{
    ChapSecrets, Engine, blocking, deadline, log_act,
    records::{add::bound, discover::Given},
    require,
    turns::claims::Claim,
};

/// How many targets a message names.
const SHOWN: usize = 5;

/// What a connection may be told.
pub(crate) struct Connection {
    /// The whole call's limit.
    pub(crate) timeout: Option<std::time::Duration>,
    /// Stored in the records of the portals that let us in.
    pub(crate) startup: Option<Startup>,
    /// Whether to answer only when disks and maps are there.
    pub(crate) wait: bool,
    /// LUNs that are other disks than before are taken as they are.
    pub(crate) accept_changed_luns: bool,
    /// The network card to ask through, and to bind new nodes to.
    pub(crate) card: Option<String>,
    /// For the targets' records, and for the discovery if that asks for CHAP.
    pub(crate) chap: Option<ChapSecrets>,
    /// Empty: the one that the portal has.
    pub(crate) targets: Vec<Iqn>,
}

/// Where the steps are told, and what became of them.
pub(crate) struct Progress(Option<mpsc::UnboundedSender<(Step, String)>>);

impl Progress {
    pub(crate) fn nobody() -> Self {
        Self(None)
    }

    pub(crate) fn to(listener: mpsc::UnboundedSender<(Step, String)>) -> Self {
        Self(Some(listener))
    }

    fn tell(&self, step: Step, detail: String) {
        if let Some(listener) = &self.0 {
            // Who has gone need not be told.
            let _ = listener.send((step, detail));
        }
    }
}

/// What is to be logged in to.
struct Goal {
    portal: Portal,
    targets: Vec<Iqn>,
    nodes: Vec<NodeKey>,
    /// What they are bound to.
    binding: Option<Binding>,
}

impl Engine {
    /// Connects to the granted portal's target or targets: an entry for each of their portals. Fails, with the most
    /// telling reason, if none let us in; then every record is as it was.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        grant: &Grant,
        connection: Connection,
        progress: Progress,
    ) -> Result<Vec<results::Login>> {
        require(grant, Action::Login)?;
        let result = self.find_and_log_in(grant, connection, &progress).await;
        log_act(grant, &result);
        result
    }

    async fn find_and_log_in(
        self: &Arc<Self>,
        grant: &Grant,
        connection: Connection,
        progress: &Progress,
    ) -> Result<Vec<results::Login>> {
        let portal = grant.portal().ok_or_else(|| Fault::invalid("portal", "is missing"))?;
        let Connection { timeout, startup, wait, accept_changed_luns, card, chap, targets } = connection;
        let wishes = Wishes { startup, wait, accept_changed_luns, deadline: deadline(timeout) };
        let proofs = chap.map(|chap| Proofs::with(Some(chap)));
        progress.tell(Step::Discover, format!("asking {portal} for its targets"));
        let goal = self
            .find(portal, card.as_deref(), &targets, proofs.as_ref(), wishes)
            .await
            .map_err(|fault| stopped(Step::Discover, fault))?;
        progress.tell(Step::Discover, goal.to_string());
        let claims = goal.targets.iter().map(|target| Ok(Arc::new(self.busy.claim(target)?)));
        let claims = claims.collect::<Result<Vec<_>>>().map_err(|fault| stopped(Step::Record, fault))?;
        let sessions = self.sessions().await?;
        let mut before = {
            let (journal, database) = (self.journal.clone(), self.database.clone());
            let (targets, nodes) = (goal.targets.clone(), goal.nodes.clone());
            let is_up = move |node: &NodeKey| sessions.iter().any(|session| session.is_of(node));
            blocking(move || settle::back_up_records(&journal, &database, &targets, &nodes, is_up))
                .await?
                .map_err(|fault| stopped(Step::Record, fault))?
        };
        let result = self.record_and_log_in(&goal, proofs, &claims, &mut before, wishes, progress).await;
        if result.is_err() {
            progress.tell(Step::Undo, "putting the records back as they were".to_owned());
            self.put_back(before).await?;
        } else if let Err(fault) = blocking(move || settle::done(before)).await? {
            // The sessions are up: as long as they are, their records stay.
            tracing::error!(error = fault.message(), "an undo entry that is not needed could not be removed");
        }
        result
    }

    /// Asks the portal and chooses.
    async fn find(
        &self,
        portal: &Portal,
        card: Option<&str>,
        named: &[Iqn],
        proofs: Option<&Proofs>,
        wishes: Wishes,
    ) -> Result<Goal> {
        self.iscsiadm()?;
        iscsid::check_reachable(&self.layout.proc)?;
        let binding = self.binding(card).await?;
        let initiator = self.need_initiator_name().await?;
        let (portal, listed) =
            self.ask_any(portal, card, &initiator, Given::IfAsked(proofs), wishes.deadline).await?;
        let offered: BTreeSet<&Iqn> = listed.nodes.iter().map(|node| &node.target).collect();
        let targets = choose(&portal, &initiator, &offered, named)?;
        let nodes: BTreeSet<NodeKey> = listed
            .nodes
            .iter()
            .filter(|node| targets.contains(&node.target))
            .cloned()
            .map(|node| bound(node, binding.as_ref()))
            .collect();
        // What has a record of the old kind already is logged in to by that.
        let known = self.nodes().await?;
        let recorded = |node: NodeKey| {
            let old = |other: &&Node| {
                other.key.tpgt.is_none() && other.damage.is_none() && other.key.is_same(&node)
            };
            known.iter().find(old).map_or_else(|| node.clone(), |other| other.key.clone())
        };
        Ok(Goal { portal, targets, nodes: nodes.into_iter().map(recorded).collect(), binding })
    }

    /// From here on records change; whoever calls it puts them back if nothing came of it.
    async fn record_and_log_in(
        self: &Arc<Self>,
        goal: &Goal,
        proofs: Option<Proofs>,
        claims: &[Arc<Claim>],
        before: &mut settle::Left,
        wishes: Wishes,
        progress: &Progress,
    ) -> Result<Vec<results::Login>> {
        let (database, nodes, from) =
            (self.database.clone(), goal.nodes.clone(), Origin::Portal(goal.portal.clone()));
        let binding = goal.binding.clone();
        let made = blocking(move || database.add(&nodes, &from, wishes.startup, binding.as_ref()))
            .await?
            .map_err(|error| stopped(Step::Record, error.into()))?;
        let new = made.iter().filter(|made| **made == Made::New).count();
        progress.tell(Step::Record, format!("{} nodes, {new} of them new", made.len()));
        if let Some(chap) = proofs.and_then(|proofs| proofs.chap) {
            let how = if chap.target.is_some() { "mutual CHAP" } else { "CHAP" };
            let told = format!("{how} as {:?} in {} records", chap.username, goal.nodes.len());
            let (database, nodes) = (self.database.clone(), goal.nodes.clone());
            blocking(move || database.set_node_chap(&nodes, Some(&chap)))
                .await?
                .map_err(|error| stopped(Step::SetChap, error.into()))?;
            progress.tell(Step::SetChap, told);
        }
        let portals = goal.nodes.iter().map(|node| node.portal.to_string()).collect::<Vec<_>>();
        progress.tell(Step::Login, format!("logging in at {}", some_of(&portals)));
        let mut logins = JoinSet::new();
        for (target, claim) in goal.targets.iter().zip(claims) {
            let nodes: Vec<Node> = self.nodes_of(target, None).await?;
            let nodes: Vec<Node> = nodes.into_iter().filter(|node| goal.nodes.contains(&node.key)).collect();
            let (engine, target, claim) = (Arc::clone(self), target.clone(), Arc::clone(claim));
            logins.spawn(async move {
                let result = engine.log_in_at(&target, &nodes, &claim, wishes).await;
                (target, nodes, result)
            });
        }
        let (mut entries, mut faults) = (Vec::new(), Vec::new());
        while let Some(login) = logins.join_next().await {
            let (target, nodes, result) =
                login.map_err(|_| Fault::new(Kind::Failed, "an internal task failed"))?;
            match result {
                Ok(portals) => entries.extend(portals),
                Err(fault) => faults.push((target, nodes, fault)),
            }
        }
        if entries.is_empty() {
            let faults = faults.into_iter().map(|(.., fault)| fault);
            let telling = faults.min_by_key(|fault| fault.kind().rank());
            let telling =
                telling.unwrap_or_else(|| Fault::new(Kind::Failed, "there was nothing to log in to"));
            return Err(stopped(Step::Login, telling));
        }
        for (target, nodes, fault) in faults {
            // Only what became of another target keeps this call from failing.
            let is_its = |undo: &Undo| matches!(undo, Undo::Records(backup) if *backup.target() == target);
            let (its, others) = std::mem::take(before).into_iter().partition(|(_, undo)| is_its(undo));
            *before = others;
            self.put_back(its).await?;
            entries.extend(
                nodes.iter().map(|node| {
                    results::Login::failed(target.as_str(), &node.key.portal.to_string(), &fault)
                }),
            );
        }
        entries.sort_by(|a, b| (&a.target, &a.portal).cmp(&(&b.target, &b.portal)));
        let up = entries.iter().filter(|entry| entry.error.is_empty()).count();
        progress.tell(Step::Login, format!("{up} of {} portals are up", entries.len()));
        Ok(entries)
    }

    /// Not the record of a session that is up all the same: nobody could log out of it by name.
    async fn put_back(&self, before: settle::Left) -> Result<()> {
        let sessions = self.sessions().await?;
        let database = self.database.clone();
        let is_up = move |node: &NodeKey| sessions.iter().any(|session| session.is_of(node));
        blocking(move || settle::put_back(&database, before, is_up)).await?
    }
}

/// The targets named, if the portal has them; without a name the one that it has.
fn choose(portal: &Portal, initiator: &Iqn, offered: &BTreeSet<&Iqn>, named: &[Iqn]) -> Result<Vec<Iqn>> {
    if let Some(missing) = named.iter().find(|target| !offered.contains(target)) {
        let what = format!("{portal} does not list the target {missing} (initiator name {initiator})");
        return Err(Fault::new(Kind::TargetNotFound, what)
            .hint(format!("see what it has: iscsictl discover {portal}")));
    }
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    match offered.iter().collect::<Vec<_>>().as_slice() {
        [one] => Ok(vec![(**one).clone()]),
        [] => Err(Fault::new(
            Kind::TargetNotFound,
            format!("{portal} lists no target to the initiator name {initiator}"),
        )
        .hint("have the gateway allow this name, or set the one that it has: iscsictl initiator-name NAME")),
        many => {
            let names: Vec<String> = many.iter().map(ToString::to_string).collect();
            let why = format!("is needed, since {portal} has {} targets: {}", names.len(), some_of(&names));
            Err(Fault::invalid("options.targets", why)
                .hint("name it: iscsictl connect PORTAL --target TARGET"))
        }
    }
}

fn some_of(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(SHOWN).map(String::as_str).collect();
    let more = if names.len() > SHOWN { ", and more" } else { "" };
    format!("{}{more}", shown.join(", "))
}

/// The same failure with the step that it ended. A wrong argument is named first, as everywhere.
fn stopped(step: Step, fault: Fault) -> Fault {
    if fault.kind() == Kind::InvalidArgs {
        return fault;
    }
    Fault::new(fault.kind(), format!("the step {step} failed: {}", fault.message())).hint(fault.next_step())
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let targets: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
        write!(f, "{} lists {} at {} portals", self.portal, some_of(&targets), self.nodes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_chooses_among_targets_that_nobody_named() {
        let portal: Portal = "192.0.2.21".parse().unwrap();
        let name = |text: &str| -> Iqn { text.parse().unwrap() };
        let (me, one, two) = (
            name("iqn.2001-04.com.example:me"),
            name("iqn.2001-04.com.example:1"),
            name("iqn.2001-04.com.example:2"),
        );
        let choose = |offered: &[&Iqn], named: &[Iqn]| {
            super::choose(&portal, &me, &offered.iter().copied().collect(), named)
        };
        assert_eq!(choose(&[&one], &[]).unwrap().as_slice(), std::slice::from_ref(&one));
        assert_eq!(
            choose(&[&one, &two], std::slice::from_ref(&two)).unwrap().as_slice(),
            std::slice::from_ref(&two)
        );
        assert_eq!(choose(&[], &[]).unwrap_err().kind(), Kind::TargetNotFound);
        assert_eq!(choose(&[&one], std::slice::from_ref(&two)).unwrap_err().kind(), Kind::TargetNotFound);
        let fault = choose(&[&one, &two], &[]).unwrap_err();
        assert_eq!(fault.kind(), Kind::InvalidArgs);
        assert!(fault.message().starts_with("options.targets: ") && fault.message().contains(two.as_str()));
        assert_eq!(stopped(Step::Discover, fault.clone()), fault, "an argument is named first");
        let refused = stopped(Step::Login, Fault::new(Kind::ChapRejected, "no").hint("try"));
        assert_eq!((refused.message(), refused.next_step()), ("the step login failed: no", "try"));
    }
}
