//! From a portal and CHAP to usable disks: discovers, records, sets CHAP, logs in. A call that
//! fails leaves nothing behind. Of several targets, only those that the caller named are used.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, Portal,
    fault::Result,
    hint,
    results::{self, LoginOutcome, Startup, Step},
};
use iscsi_initiator_polkit::Action;
use tokio::task::JoinSet;

use super::{Wishes, before, hold::Hold, log_in, portals::is_out_of_reach, some_of, stays, take_back};
use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{blocking, reading},
        },
        kernel::sysfs::{Scope, Session},
        open_iscsi::{
            database::{
                Node, NodeKey,
                chap::{ChapSecrets, DefaultChap, Proofs},
                ifaces::Binding,
                nodes::{Made, Origin},
            },
            iscsiadm::Iscsiadm,
            iscsid,
            known_luns::Stored,
            undo::{Undo, settle},
        },
    },
    engine::{
        Engine,
        ask::left_out::LeftOut,
        call::{
            Call, Progress, act,
            consent::{Consent, ask_each},
        },
        records::{
            add::{binding, bound},
            defaults::default_chap,
            discover::{Given, Question, ask_any},
            initiator_name,
        },
        state::reader::Parts,
        turns::places::check_number,
    },
};

/// The options of a connection.
pub(crate) struct Connection {
    /// The limit of the whole call.
    pub(crate) timeout: Option<Duration>,
    /// Stored in the records of the portals that accepted the login.
    pub(crate) startup: Option<Startup>,
    /// Whether to reply only when disks and maps are there.
    pub(crate) wait: bool,
    /// Whether to accept LUNs that are other disks than before.
    pub(crate) accept_changed_luns: bool,
    /// The network interface to use, and to bind new nodes to.
    pub(crate) interface: Option<String>,
    /// For the targets' records, and for the discovery if the portal asks for CHAP.
    pub(crate) chap: Option<ChapSecrets>,
}

/// The targets and nodes to log in to.
struct Goal {
    /// As the caller named it.
    asked: Portal,
    portal: Portal,
    targets: Vec<Iqn>,
    nodes: Vec<NodeKey>,
    left_out: LeftOut,
    /// What the nodes are bound to.
    binding: Option<Binding>,
}

impl Engine {
    /// Connects to the granted targets at the granted portal, or to the only one that it lists if
    /// that is granted then, with an entry for each of their portals. If no portal accepted the
    /// login, it fails with the most specific reason and restores every record.
    pub(crate) async fn connect(
        self: &Arc<Self>,
        call: &Call,
        connection: Connection,
        consent: Arc<dyn Consent>,
    ) -> Result<Vec<results::Login>> {
        act(self, call, Action::Connect, move |engine, call| {
            Box::pin(async move { connect(engine, call, connection, &*consent).await })
        })
        .await
    }
}

async fn connect(
    engine: &Arc<Engine>,
    call: &Call,
    connection: Connection,
    consent: &dyn Consent,
) -> Result<Vec<results::Login>> {
    let Connection { startup, wait, accept_changed_luns, interface, chap, .. } = connection;
    let (asked, limit, progress) = (call.portal()?, call.limit(), call.progress());
    let wishes = Wishes { startup, wait, accept_changed_luns, progress: progress.clone() };
    let proofs = chap.map(|chap| Arc::new(Proofs::with(Some(chap))));
    progress.report(Step::Discover, format!("asking {asked} for its targets"));
    let (interface, named) = (interface.as_deref(), call.granted(Action::Connect));
    let goal = find(engine, asked, interface, &named, proofs.clone(), consent, limit)
        .await
        .map_err(|fault| stopped(Step::Discover, about_discovery(fault, asked, proofs.is_some())))?;
    check_number(goal.nodes.len()).map_err(|fault| stopped(Step::Discover, fault))?;
    progress.report(Step::Discover, goal.to_string());
    let limit = &allowed(&goal, call, startup, interface, consent).await?;
    let chap = default_chap(engine, consent, asked, interface).await?;
    let holds = goal.targets.iter().map(|target| Ok(Hold::new(engine.turns.claims.claim(target)?)));
    let holds = holds.collect::<Result<Vec<_>>>().map_err(|fault| stopped(Step::Record, fault))?;
    let mut before = back_up(engine, &goal).await.map_err(|fault| stopped(Step::Record, fault))?;
    let result = record_and_log_in(engine, &goal, proofs, chap, &holds, &mut before, &wishes, limit).await;
    if result.is_err() {
        progress.report(Step::Undo, "restoring the records".to_owned());
        put_back(engine, before, goal.targets.iter().zip(&holds)).await?;
    } else if let Err(fault) = blocking(move || settle::done(before)).await? {
        // Sessions that are up keep their records.
        tracing::error!(error = fault.message(), "cannot remove an undo entry that is not needed any more");
    }
    result
}

/// Every target of the goal was granted by its name, before anything is recorded: those that the
/// caller named before the call, the one that the portal listed now. So was the login at boot.
async fn allowed(
    goal: &Goal,
    call: &Call,
    startup: Option<Startup>,
    interface: Option<&str>,
    consent: &dyn Consent,
) -> Result<Limit> {
    let at = (call.any_portal(), interface);
    let mut limit = call.limit().clone();
    let is_automatic = startup == Some(Startup::Automatic);
    for (action, is_needed) in [(Action::Connect, true), (Action::Login, is_automatic)] {
        let granted = call.granted(action);
        let rest: Vec<Iqn> =
            goal.targets.iter().filter(|target| is_needed && !granted.contains(target)).cloned().collect();
        (_, limit) = ask_each(consent, action, &rest, at, &limit).await?;
    }
    Ok(limit)
}

/// The backup of the records goes into the undo journal before the first of them changes.
async fn back_up(engine: &Engine, goal: &Goal) -> Result<settle::Left> {
    let now = engine.state.sessions(Scope::of(&goal.targets)).await?;
    let (journal, database) = (engine.journal.clone(), engine.database.clone());
    let (targets, nodes) = (goal.targets.clone(), goal.nodes.clone());
    let is_up = move |node: &NodeKey| now.session_of(node).is_some();
    blocking(move || settle::back_up_records(&journal, &database, &targets, &nodes, is_up)).await?
}

/// Discovers the targets and chooses.
async fn find(
    engine: &Arc<Engine>,
    asked: &Portal,
    interface: Option<&str>,
    named: &[Iqn],
    proofs: Option<Arc<Proofs>>,
    consent: &dyn Consent,
    limit: &Limit,
) -> Result<Goal> {
    Iscsiadm::find(&engine.layout)?;
    iscsid::Socket::new(&engine.layout).check().await?;
    let binding = binding(engine, interface).await?;
    let initiator = initiator_name::needed(engine).await?;
    let given = Given::IfAsked(proofs);
    let question = Question { portal: asked, interface, initiator: &initiator, named, given };
    let (portal, listed) = ask_any(engine, question, consent, limit).await?;
    let offered: BTreeSet<&Iqn> = listed.nodes.iter().map(|node| &node.target).collect();
    let targets = choose(&portal, &initiator, &offered, &listed.left_out, named)?;
    let nodes: BTreeSet<NodeKey> = listed
        .nodes
        .iter()
        .filter(|node| targets.contains(&node.target))
        .cloned()
        .map(|node| bound(node, binding.as_ref()))
        .collect();
    // A node with a record in the old format, or with the address in another spelling, is logged in to
    // through that record.
    let now = engine.state.nodes_of(&targets).await?;
    let is_old =
        |node: &&Node| (node.key.tpgt.is_none() || node.key.spelled.is_some()) && node.damage.is_none();
    let old: Vec<&NodeKey> = now.nodes().iter().filter(is_old).map(|node| &node.key).collect();
    let recorded = |node: NodeKey| {
        let old = old.iter().find(|other| other.is_same(&node)).map(|other| (*other).clone());
        old.unwrap_or(node)
    };
    let nodes = nodes.into_iter().map(recorded).collect();
    Ok(Goal { asked: asked.clone(), portal, targets, nodes, left_out: listed.left_out, binding })
}

/// Records change from here on; the caller restores them if the call fails.
#[expect(
    clippy::too_many_arguments,
    reason = "plain values, so that it is made of the same steps as a login"
)]
async fn record_and_log_in(
    engine: &Arc<Engine>,
    goal: &Goal,
    proofs: Option<Arc<Proofs>>,
    chap: DefaultChap,
    holds: &[Hold],
    before: &mut settle::Left,
    wishes: &Wishes,
    limit: &Limit,
) -> Result<Vec<results::Login>> {
    let (is_given, progress) = (proofs.is_some(), &wishes.progress);
    let is_left_out = record(engine, goal, proofs, chap, wishes.startup, progress).await?;
    let portals = goal.nodes.iter().map(|node| node.portal.to_string()).collect::<Vec<_>>();
    progress.report(Step::Login, format!("logging in at {}", some_of(&portals)));
    let known_luns = known_luns(engine, &goal.targets).await?;
    let now = engine.state.sessions(Scope::of(&goal.targets)).await?;
    let share = engine.turns.places.share(goal.nodes.len(), limit);
    let mut logins = JoinSet::new();
    for (target, hold) in goal.targets.iter().zip(holds) {
        let nodes: BTreeSet<NodeKey> =
            goal.nodes.iter().filter(|node| node.target == *target).cloned().collect();
        let (engine, target, hold) = (Arc::clone(engine), target.clone(), hold.clone());
        // Until all of them are done, any of them can be taken back.
        let (share, limit, wishes) = (share.clone(), limit.of_part(), wishes.clone());
        logins.spawn(async move {
            let result = async {
                let before = before::look_at(&engine, &target, nodes.clone(), wishes.terms(), &limit).await?;
                log_in(&engine, &target, before, &hold, &share, &wishes, &limit).await
            };
            let result = result.await;
            (target, nodes, result)
        });
    }
    let (mut entries, mut faults, mut lost) = (Vec::new(), Vec::new(), None);
    while let Some(login) = logins.join_next().await {
        match login {
            Ok((_, _, Ok(portals))) => entries.extend(portals),
            Ok((target, nodes, Err(fault))) => faults.push((target, nodes, fault)),
            // The other logins run to their end first.
            Err(error) => lost = Some(error),
        }
    }
    if lost.is_some() {
        return Err(Fault::new(Kind::Failed, "an internal task failed; the journal has the details"));
    }
    if limit.decide().is_err() {
        // Targets that were completed before it are logged out of again.
        let made = entries.iter().filter(|entry| entry.outcome == LoginOutcome::LoggedIn);
        let mut sids: Vec<u32> = made.map(|entry| entry.sid).collect();
        // A login can also fail once it has made its sessions.
        let failed = faults.iter().flat_map(|(_, nodes, _)| nodes).collect::<Vec<_>>();
        let after = engine.state.sessions(Scope::of(faults.iter().map(|(target, ..)| target))).await;
        let cancelled = match after {
            Ok(after) => {
                let is_made = |session: &&Session| {
                    now.session(session.sid).is_none() && failed.iter().any(|node| session.is_of(node))
                };
                sids.extend(
                    after.all_sessions().iter().map(Arc::as_ref).filter(is_made).map(|session| session.sid),
                );
                take_back(engine, &sids, limit).await
            }
            Err(fault) => stays(&take_back(engine, &sids, limit).await, fault.message()),
        };
        forget_luns(engine, known_luns).await;
        return Err(stopped(Step::Login, cancelled));
    }
    if entries.is_empty() {
        let telling = faults.into_iter().min_by_key(|(.., fault)| fault.kind().rank());
        let telling = match telling {
            None => Fault::new(Kind::Failed, "there is nothing to log in to"),
            Some((.., fault)) if is_left_out => without_default(fault, &goal.asked),
            Some((target, _, fault)) => goal.about_login(fault, &target, is_given),
        };
        return Err(stopped(Step::Login, telling));
    }
    for (target, nodes, fault) in faults {
        // Only the result of another target keeps this call from failing.
        let is_its = |undo: &Undo| matches!(undo, Undo::Records(backup) if *backup.target() == target);
        let (its, others) = std::mem::take(before).into_iter().partition(|(_, undo)| is_its(undo));
        *before = others;
        if let Err(fault) = put_back(engine, its, goal.targets.iter().zip(holds)).await {
            tracing::warn!(
                %target, error = fault.message(),
                "cannot restore the records of a failed target yet, trying again later"
            );
        }
        let fault = goal.about_login(fault, &target, is_given);
        entries.extend(
            nodes
                .iter()
                .map(|node| results::Login::failed(target.as_str(), &node.portal.to_string(), &fault)),
        );
    }
    entries.sort_by(|a, b| (&a.target, &a.portal).cmp(&(&b.target, &b.portal)));
    let up = entries.iter().filter(|entry| entry.error.is_empty()).count();
    progress.report(Step::Login, format!("{up} of {} portals are up", entries.len()));
    Ok(entries)
}

/// What is known of the targets' LUNs: a target that was completed has added to it when the call is
/// cancelled.
async fn known_luns(engine: &Engine, targets: &[Iqn]) -> Result<Vec<(Iqn, Stored)>> {
    let (luns, targets) = (engine.known_luns.clone(), targets.to_vec());
    let stored = move |target: Iqn| luns.back_up(&target).map(|stored| (target, stored));
    reading(move || targets.into_iter().map(stored).collect()).await?
}

/// Makes it what it was.
async fn forget_luns(engine: &Engine, before: Vec<(Iqn, Stored)>) {
    let luns = engine.known_luns.clone();
    let restoring = blocking(move || {
        let restored = before.iter().map(|(target, stored)| luns.put_back(target, stored));
        restored.fold(Ok(()), Result::and)
    });
    if let Err(fault) = restoring.await.flatten() {
        tracing::warn!(error = fault.message(), "cannot restore what is known of the LUNs");
    }
}

/// The records of the nodes, with the CHAP that was given. Returns whether one was made without the
/// default CHAP, and none was given.
async fn record(
    engine: &Engine,
    goal: &Goal,
    proofs: Option<Arc<Proofs>>,
    chap: DefaultChap,
    startup: Option<Startup>,
    progress: &Progress,
) -> Result<bool> {
    let (database, nodes, from) =
        (engine.database.clone(), goal.nodes.clone(), Origin::Portal(goal.portal.clone()));
    let binding = goal.binding.clone();
    let made = blocking(move || database.add(&nodes, &from, startup, binding.as_ref(), chap))
        .await?
        .map_err(|error| stopped(Step::Record, error.into()))?;
    let new = made.iter().filter(|made| made.is_new()).count();
    let is_left_out = made.iter().any(Made::is_without_chap);
    progress.report(Step::Record, format!("{} nodes, {new} of them new", made.len()));
    if let Some(proofs) = proofs
        && let Some(chap) = &proofs.chap
    {
        let how = if chap.target.is_some() { "mutual CHAP" } else { "CHAP" };
        let done = format!("{how} as {:?} in {} records", chap.username, goal.nodes.len());
        let (database, nodes, proofs) = (engine.database.clone(), goal.nodes.clone(), Arc::clone(&proofs));
        blocking(move || database.set_node_chap(&nodes, proofs.chap.as_ref()))
            .await?
            .map_err(|error| stopped(Step::SetChap, error.into()))?;
        progress.report(Step::SetChap, done);
        return Ok(false);
    }
    Ok(is_left_out)
}

/// The portal asked for CHAP, and the default one was not for it.
fn without_default(fault: Fault, portal: &Portal) -> Fault {
    if fault.kind() != Kind::ChapRejected {
        return fault;
    }
    let what = format!("{}; the default CHAP is not recorded for it and was left out", fault.message());
    Fault::new(fault.kind(), what).hint(hint!(
        "give the user name and the secret: iscsictl connect {PORTAL} --user NAME",
        PORTAL = portal
    ))
}

/// A portal may have CHAP of its own for discoveries, which `discover --user` would not store.
fn about_discovery(fault: Fault, asked: &Portal, is_given: bool) -> Fault {
    if ![" discover ", "--user"].iter().all(|words| fault.next_step().contains(words)) {
        return fault;
    }
    let hint = if is_given {
        hint!(
            "set both again; if the portal has another user for discoveries, store that one: iscsictl set-chap \
             --portal {PORTAL} --user NAME",
            PORTAL = asked
        )
    } else {
        hint!("give the user name and the secret: iscsictl connect {PORTAL} --user NAME", PORTAL = asked)
    };
    Fault::new(fault.kind(), fault.message()).hint(hint)
}

impl Goal {
    /// The records are as they were before, so that a hint must not count on one; and a portal that
    /// answers may have listed the target where only others can reach it.
    fn about_login(&self, fault: Fault, target: &Iqn, is_given: bool) -> Fault {
        let connect =
            hint!("iscsictl connect {PORTAL} --target {TARGET}", PORTAL = self.asked, TARGET = target);
        let is_elsewhere =
            !self.nodes.iter().any(|node| node.target == *target && node.portal == self.portal);
        if is_out_of_reach(&fault) && is_elsewhere {
            let what = format!(
                "{}; {} answers, and lists the target at other addresses only",
                fault.message(),
                self.portal
            );
            return Fault::new(fault.kind(), what).hint(hint!(
                "if the target can be reached at {PORTAL}, record it there and log in: iscsictl add {TARGET} {PORTAL} \
                 && iscsictl login {TARGET} {PORTAL}",
                TARGET = target,
                PORTAL = self.portal
            ));
        }
        let mut hint = fault.next_step().to_owned();
        if is_given {
            hint = hint.replace(&hint!("iscsictl set-chap {TARGET} --clear", TARGET = target), &connect);
        }
        let with_user = hint!(
            "iscsictl connect {PORTAL} --target {TARGET} --user NAME",
            PORTAL = self.asked,
            TARGET = target
        );
        hint = hint.replace(&hint!("iscsictl set-chap {TARGET} --user NAME", TARGET = target), &with_user);
        let accepting = hint!(
            "iscsictl connect {PORTAL} --target {TARGET} --accept-changed-luns",
            PORTAL = self.asked,
            TARGET = target
        );
        let login = hint!("iscsictl login {TARGET} --accept-changed-luns", TARGET = target);
        hint = hint.replace(&login, &accepting);
        Fault::new(fault.kind(), fault.message()).hint(hint)
    }
}

/// Restores the records. If a login continues after the call, the record of its session is restored
/// when that has ended.
async fn put_back<'a>(
    engine: &Arc<Engine>,
    before: settle::Left,
    targets: impl Iterator<Item = (&'a Iqn, &'a Hold)>,
) -> Result<()> {
    let (mut rest, mut result) = (before, Ok(()));
    for (target, hold) in targets.filter(|(_, hold)| hold.has_late()) {
        let is_its = |undo: &Undo| matches!(undo, Undo::Records(backup) if backup.target() == target);
        let (its, others) = rest.into_iter().partition(|(_, undo)| is_its(undo));
        rest = others;
        let (its, done) = put_back_what_is_down(engine, its).await;
        result = result.and(done);
        let Some(its) = its else { continue };
        let (engine, hold) = (Arc::clone(engine), hold.clone());
        let activity = engine.turns.activity.clone();
        let late = async move {
            hold.ended().await;
            if let Err(fault) = put_back_now(&engine, its).await {
                tracing::warn!(
                    error = fault.message(),
                    "cannot restore the records of a late login yet, trying again later"
                );
            }
        };
        let at_work = activity.begin();
        tokio::spawn(async move {
            late.await;
            drop(at_work);
        });
    }
    result.and(put_back_now(engine, rest).await)
}

/// Not the record of a session that is up: without it, that session could not be logged out of by
/// name.
async fn put_back_now(engine: &Engine, before: settle::Left) -> Result<()> {
    let now = engine.state.look(Parts::SESSIONS).await?;
    let database = engine.database.clone();
    let is_up = move |node: &NodeKey| now.session_of(node).is_some();
    blocking(move || settle::put_back(&database, before, is_up)).await?
}

/// The same, keeping the entries for records that are not restored yet. `None` if a thread lost
/// them.
async fn put_back_what_is_down(engine: &Engine, before: settle::Left) -> (Option<settle::Left>, Result<()>) {
    let now = match engine.state.look(Parts::SESSIONS).await {
        Ok(now) => now,
        Err(fault) => return (Some(before), Err(fault)),
    };
    let database = engine.database.clone();
    let is_up = move |node: &NodeKey| now.session_of(node).is_some();
    let done = blocking(move || {
        let done = settle::put_back_for_now(&database, &before, is_up);
        (before, done)
    });
    match done.await {
        Ok((before, done)) => (Some(before), done),
        Err(fault) => (None, Err(fault)),
    }
}

/// The targets named, if the portal has them; without a name, its only one.
fn choose(
    portal: &Portal,
    initiator: &Iqn,
    offered: &BTreeSet<&Iqn>,
    left_out: &LeftOut,
    named: &[Iqn],
) -> Result<Vec<Iqn>> {
    if let Some(missing) = named.iter().find(|target| !offered.contains(target)) {
        if let Some(fault) = left_out.fault(missing, portal) {
            return Err(fault);
        }
        let what = format!("{portal} does not list the target {missing} (initiator name {initiator})");
        return Err(Fault::new(Kind::TargetNotFound, what)
            .hint(hint!("list its targets: iscsictl discover {PORTAL}", PORTAL = portal)));
    }
    if !named.is_empty() {
        return Ok(named.to_vec());
    }
    match offered.iter().collect::<Vec<_>>().as_slice() {
        [one] => Ok(vec![(**one).clone()]),
        [] => Err(left_out.of_all(portal).unwrap_or_else(|| {
            Fault::new(
                Kind::TargetNotFound,
                format!("{portal} lists no target for the initiator name {initiator}"),
            )
            .hint(
                "have the gateway's administrator allow this name; to set the one that the gateway expects: \
                 iscsictl initiator-name --help",
            )
        })),
        many @ [one, ..] => {
            let names: Vec<String> = many.iter().map(ToString::to_string).collect();
            let why = format!("is required, since {portal} has {} targets: {}", names.len(), some_of(&names));
            Err(Fault::invalid("options.targets", why).hint(hint!(
                "name one of them: iscsictl connect {PORTAL} --target {TARGET}",
                PORTAL = portal,
                TARGET = one
            )))
        }
    }
}

/// Adds the step that failed to a fault. An `InvalidArgs` keeps its message, which begins with the
/// argument; in a call that was cancelled, no step failed.
fn stopped(step: Step, fault: Fault) -> Fault {
    if matches!(fault.kind(), Kind::InvalidArgs | Kind::Cancelled) {
        return fault;
    }
    Fault::new(fault.kind(), format!("the step {step} failed: {}", fault.message())).hint(fault.next_step())
}

impl std::fmt::Display for Goal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let targets: Vec<String> = self.targets.iter().map(ToString::to_string).collect();
        write!(f, "{} lists {} at {} portals", self.portal, some_of(&targets), self.nodes.len())?;
        match self.left_out.told() {
            left_out if left_out.is_empty() => Ok(()),
            left_out => write!(f, "; left out: {left_out}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(at: &str) -> Goal {
        let target: Iqn = "iqn.2001-04.com.example:1".parse().unwrap();
        let node = NodeKey {
            target: target.clone(),
            portal: at.parse().unwrap(),
            tpgt: Some(1),
            iface: "default".into(),
            spelled: None,
        };
        Goal {
            asked: "gw.example".parse().unwrap(),
            portal: "192.0.2.21".parse().unwrap(),
            targets: vec![target],
            nodes: vec![node],
            left_out: LeftOut::default(),
            binding: None,
        }
    }

    #[test]
    fn a_hint_does_not_count_on_a_record_that_was_put_back() {
        let goal = goal("192.0.2.21");
        let target = &goal.targets[0];
        let hint = |kind, hint: &str, is_given| {
            goal.about_login(Fault::new(kind, "no").hint(hint), target, is_given).next_step().to_owned()
        };
        let set = format!("set both: iscsictl set-chap {target} --user NAME");
        assert_eq!(
            hint(Kind::ChapRejected, &set, true),
            format!("set both: iscsictl connect gw.example:3260 --target {target} --user NAME")
        );
        let clear = format!("without: iscsictl set-chap {target} --clear; else");
        assert_eq!(
            hint(Kind::ChapRejected, &clear, true),
            format!("without: iscsictl connect gw.example:3260 --target {target}; else")
        );
        assert_eq!(hint(Kind::ChapRejected, &clear, false), clear, "what was recorded before is used");
        assert_eq!(
            hint(Kind::PortalUnreachable, "ip route get 192.0.2.21", false),
            "ip route get 192.0.2.21"
        );
    }

    #[test]
    fn a_target_listed_at_inner_addresses_only_may_be_recorded_at_the_portal_that_answers() {
        let goal = goal("172.17.0.2");
        let target = &goal.targets[0];
        for kind in [Kind::PortalUnreachable, Kind::TimedOut] {
            let fault = goal.about_login(
                Fault::new(kind, "172.17.0.2:3260: no route").hint("check the network: ping 172.17.0.2"),
                target,
                false,
            );
            assert!(
                fault.message().starts_with("172.17.0.2:3260: no route; 192.0.2.21:3260 answers"),
                "{fault}"
            );
            let add =
                format!("iscsictl add {target} 192.0.2.21:3260 && iscsictl login {target} 192.0.2.21:3260");
            assert!(fault.next_step().ends_with(&add), "{fault}");
        }
        for kind in [Kind::TargetRejected, Kind::TimedOut] {
            let other = goal.about_login(Fault::new(kind, "no").hint("see its log"), target, false);
            assert_eq!(other.next_step(), "see its log");
        }
    }

    #[test]
    fn chap_of_the_portal_is_stored_for_the_portal() {
        let portal: Portal = "[2001:db8::21]:3260".parse().unwrap();
        let fault = |kind| Fault::new(kind, "no").hint("iscsictl discover '[2001:db8::21]:3260' --user NAME");
        let told = about_discovery(fault(Kind::ChapRejected), &portal, true);
        assert!(told.next_step().ends_with("iscsictl set-chap --portal '[2001:db8::21]:3260' --user NAME"));
        let told = about_discovery(fault(Kind::ChapRejected), &portal, false);
        assert!(told.next_step().ends_with("iscsictl connect '[2001:db8::21]:3260' --user NAME"));
        let other = Fault::new(Kind::MutualChapFailed, "no").hint("do not log in from here");
        assert_eq!(about_discovery(other.clone(), &portal, true), other);
    }

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
            let left_out = LeftOut::default();
            super::choose(&portal, &me, &offered.iter().copied().collect(), &left_out, named)
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
