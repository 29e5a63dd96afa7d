//! Logins: the target is asked first, then iscsid, every portal at the same time; then the kernel is looked at.
//! It may not let a dead portal delay a live one, nor believe an exit code where the kernel can tell.

mod attempt;
pub(super) mod connect;
mod lun_identity;
pub(super) mod settle;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, Portal,
    fault::Result,
    options::LoginOptions,
    results::{self, LoginOutcome, Startup},
};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};

use self::settle::Settled;
use super::{
    Engine, ask::to_adopt, blocking, damaged, deadline, log_act, no_such_node, records::startup, require,
    resolved, stale_sessions::Reach, target_of, turns::claims::Claim,
};
use crate::backend::{
    kernel::{sysfs::Session, uevents::Events},
    open_iscsi::{
        database::{Node, NodeKey},
        iscsid,
        known_luns::Wwids,
    },
};

/// How long a portal that has not answered is still waited for once another would let us in. A live one
/// that loses its first packet is heard of after a second.
const STRAGGLERS: Duration = Duration::from_millis(1500);

/// What became of one node.
type Outcome = Result<Done>;

/// A node that is up.
struct Done {
    outcome: LoginOutcome,
    /// Worth telling although it worked.
    remark: String,
}

/// What a login is told beyond its nodes.
#[derive(Clone, Copy)]
pub(super) struct Wishes {
    pub(super) startup: Option<Startup>,
    pub(super) wait: bool,
    /// LUNs that are other disks than before are taken as they are.
    pub(super) accept_changed_luns: bool,
    pub(super) deadline: Instant,
}

/// What the attempts of one call share.
#[derive(Clone)]
struct Attempts {
    initiator: Iqn,
    iscsiadm: PathBuf,
    /// Kept by an attempt that goes on after the call.
    claim: Arc<Claim>,
    /// A portal would let us in.
    welcome: Arc<Notify>,
    /// Who has not answered now is given up.
    hurried: watch::Receiver<bool>,
    deadline: Instant,
}

impl Engine {
    /// Logs in at the granted portal or at all that are recorded: an entry each. Fails, with the most
    /// telling reason, if none let us in.
    pub(crate) async fn login(
        self: &Arc<Self>,
        grant: &Grant,
        options: &LoginOptions,
    ) -> Result<Vec<results::Login>> {
        require(grant, Action::Login)?;
        let result = self.log_in(grant, options).await;
        log_act(grant, &result);
        result
    }

    async fn log_in(self: &Arc<Self>, grant: &Grant, options: &LoginOptions) -> Result<Vec<results::Login>> {
        let target = target_of(grant)?;
        let deadline = deadline(options.timeout);
        let claim = Arc::new(self.busy.claim(&target)?);
        let portals = resolved(grant.portal(), deadline).await?;
        let nodes = self.nodes_of(&target, portals.as_deref()).await?;
        if nodes.is_empty() {
            // Without open-iscsi there are no nodes: that is the reason, then.
            self.iscsiadm()?;
            return Err(no_such_node(&target, grant.portal()));
        }
        let wishes = Wishes {
            startup: options.startup,
            wait: options.wait,
            accept_changed_luns: options.accept_changed_luns,
            deadline,
        };
        self.log_in_at(&target, &nodes, &claim, wishes).await
    }

    /// Logs in to one target at these nodes. The claim is on the target.
    pub(super) async fn log_in_at(
        self: &Arc<Self>,
        target: &Iqn,
        nodes: &[Node],
        claim: &Arc<Claim>,
        wishes: Wishes,
    ) -> Result<Vec<results::Login>> {
        if wishes.startup.is_some() {
            startup::refuse_boots(nodes)?;
        }
        let known_luns = if wishes.wait { self.known_luns(target).await? } else { Wwids::new() };
        // Before the first login: what happens from now on is a reason to look.
        let events = Events::subscribe().inspect_err(|error| tracing::warn!(%error, "no device events")).ok();
        let mut outcomes = self.all_nodes(nodes, claim, wishes.deadline).await?;
        let mut settled = if wishes.wait { Settled::Ready } else { Settled::Unasked };
        if wishes.wait && outcomes.values().any(Result::is_ok) {
            let good = those(&outcomes, |_| true);
            let sessions = self.sessions().await?;
            let sids: Vec<u32> =
                sessions.iter().filter(|s| good.iter().any(|k| s.is_of(k))).map(|s| s.sid).collect();
            let old = those(&outcomes, |done| done.outcome == LoginOutcome::AlreadyLoggedIn);
            let is_old = |s: &&Session| old.iter().any(|key| s.is_of(key));
            let needs_a_look = |s: &&Session| is_old(s) && (s.disks.is_empty() || s.state != "LOGGED_IN");
            let bare = sessions.iter().filter(needs_a_look).map(|s| s.sid).collect();
            // What had no disk until now is as good as a new session: nobody has used one of its disks.
            let is_bare = |key: &NodeKey| sessions.iter().any(|s| s.is_of(key) && s.disks.is_empty());
            let old_without_a_disk: Vec<NodeKey> = old.iter().filter(|key| is_bare(key)).cloned().collect();
            self.look_for_luns(bare, wishes.deadline).await?;
            settled = self.settled(&sids, events.as_ref(), wishes.deadline).await?;
            // iscsid, if it was started again meanwhile, connects every session anew.
            let mut now = self.sessions().await?;
            now.retain(|s| sids.contains(&s.sid) && s.state != "LOGGED_IN");
            if !now.is_empty() {
                self.look_for_luns(now.iter().map(|s| s.sid).collect(), wishes.deadline).await?;
                settled = self.settled(&sids, events.as_ref(), wishes.deadline).await?;
            }
            let mut fresh = those(&outcomes, |done| done.outcome == LoginOutcome::LoggedIn);
            fresh.extend(old_without_a_disk);
            let refused = self
                .refuse_other_disks(target, &fresh, known_luns, wishes.accept_changed_luns, wishes.deadline)
                .await?;
            outcomes.extend(refused.into_iter().map(|(key, fault)| (key, Err(fault))));
        }
        let good = those(&outcomes, |_| true);
        if let (Some(startup), false) = (wishes.startup, good.is_empty()) {
            let database = self.database.clone();
            let set = blocking(move || database.set_startup(&good, startup)).await?;
            set.map_err(|error| {
                let fault = Fault::from(error);
                let what = format!(
                    "logged in, but the next start of the machine is not set to do so: {}",
                    fault.message()
                );
                Fault::new(fault.kind(), what).hint(fault.next_step())
            })?;
        }
        self.answer(target, outcomes, settled).await
    }

    /// Every node at the same time; in the order of the nodes.
    async fn all_nodes(
        self: &Arc<Self>,
        nodes: &[Node],
        claim: &Arc<Claim>,
        deadline: Instant,
    ) -> Result<BTreeMap<NodeKey, Outcome>> {
        self.remove_abandoned(Reach::Restart, deadline).await;
        let sessions = self.sessions().await?;
        let (up, down): (Vec<&Node>, Vec<&Node>) =
            nodes.iter().partition(|node| sessions.iter().any(|session| session.is_of(&node.key)));
        let already = || Done { outcome: LoginOutcome::AlreadyLoggedIn, remark: String::new() };
        let mut outcomes: BTreeMap<NodeKey, Outcome> =
            up.into_iter().map(|node| (node.key.clone(), Ok(already()))).collect();
        if down.is_empty() {
            return Ok(outcomes);
        }
        let iscsiadm = self.iscsiadm()?;
        iscsid::check_reachable(&self.layout.proc)?;
        let initiator = self.need_initiator_name().await?;
        let (hurry, hurried) = watch::channel(false);
        let welcome = Arc::new(Notify::new());
        let (claim, heard) = (Arc::clone(claim), Arc::clone(&welcome));
        let shared = Attempts { initiator, iscsiadm, claim, welcome, hurried, deadline };
        let mut attempts = JoinSet::new();
        for node in down {
            let (engine, node, shared) = (Arc::clone(self), node.clone(), shared.clone());
            attempts.spawn(async move {
                let outcome = engine.one_node(&node, shared).await;
                (node.key, outcome)
            });
        }
        // A session that is up counts as a portal that answered.
        let mut patience = (!outcomes.is_empty()).then(|| Instant::now() + STRAGGLERS);
        let mut has_hurried = false;
        loop {
            let next = tokio::select! {
                next = attempts.join_next() => next,
                () = heard.notified(), if patience.is_none() => {
                    patience = Some(Instant::now() + STRAGGLERS);
                    continue;
                }
                () = sleep_until(patience.unwrap_or(deadline)), if patience.is_some() && !has_hurried => {
                    hurry.send_replace(true);
                    has_hurried = true;
                    continue;
                }
            };
            let Some(ended) = next else { break };
            let (key, outcome) = ended.map_err(|_| Fault::new(Kind::Failed, "an internal task failed"))?;
            outcomes.insert(key, outcome);
        }
        Ok(outcomes)
    }

    /// One node: asks the target itself, and only if it would let us in, iscsid; then looks.
    async fn one_node(self: &Arc<Self>, node: &Node, mut shared: Attempts) -> Outcome {
        if let Some(why) = node.damage {
            return Err(damaged(&node.key, why));
        }
        let key = &node.key;
        let proofs = {
            let (database, key) = (self.database.clone(), key.clone());
            blocking(move || database.node_proofs(&key)).await??
        };
        let accepted = tokio::select! {
            asked = self.ask_login(key, node.card.as_deref(), &shared.initiator, &proofs, shared.deadline) => asked?,
            _ = shared.hurried.wait_for(|hurry| *hurry) => return Err(gave_up(&key.portal)),
        };
        shared.welcome.notify_one();
        if let Some(taken) = to_adopt(&accepted, &proofs) {
            let (database, key) = (self.database.clone(), key.clone());
            tracing::info!(target = %key.target, portal = %key.portal, %taken, "the target takes another digest: stored");
            blocking(move || database.set_algorithm(&key, taken)).await??;
        }
        drop(proofs);
        attempt::log_in(self, key, &shared.iscsiadm, &shared.claim, shared.deadline).await?;
        let remark = accepted.redirected.map(|redirect| {
            let how = if redirect.permanent { "for good" } else { "for now" };
            format!("the portal sends logins on to {}, {how}", redirect.to)
        });
        Ok(Done { outcome: LoginOutcome::LoggedIn, remark: remark.unwrap_or_default() })
    }

    /// The entries, read from the system again; or the most telling reason if every one failed.
    async fn answer(
        &self,
        target: &Iqn,
        outcomes: BTreeMap<NodeKey, Outcome>,
        settled: Settled,
    ) -> Result<Vec<results::Login>> {
        if outcomes.values().all(Result::is_err) {
            let faults = outcomes.into_values().filter_map(Result::err);
            return Err(faults
                .min_by_key(|fault| fault.kind().rank())
                .unwrap_or_else(|| no_such_node(target, None)));
        }
        let sessions = self.sessions().await?;
        Ok(outcomes
            .into_iter()
            .map(|(key, outcome)| {
                let portal = key.portal.to_string();
                match outcome {
                    Err(fault) => results::Login::failed(target.as_str(), &portal, &fault),
                    Ok(done) => {
                        entry(&key, done, sessions.iter().find(|session| session.is_of(&key)), settled)
                    }
                }
            })
            .collect())
    }
}

/// The nodes that are up, of one kind.
fn those(outcomes: &BTreeMap<NodeKey, Outcome>, is_wanted: impl Fn(&Done) -> bool) -> Vec<NodeKey> {
    let wanted =
        |(key, outcome): (&NodeKey, &Outcome)| outcome.as_ref().is_ok_and(&is_wanted).then(|| key.clone());
    outcomes.iter().filter_map(wanted).collect()
}

fn gave_up(portal: &Portal) -> Fault {
    let fault = Fault::new(Kind::TimedOut, format!("{portal} did not answer while the other portals did"));
    match portal.address() {
        Some(address) => fault.hint(format!("check the network to this portal: ping {address}")),
        None => fault.hint("check the network to this portal"),
    }
}

/// What a session without a disk is told: tgt shows a LUN of its own that is none.
pub(super) const NO_LUN: &str = "the target offers this initiator no LUN that is a disk";

fn entry(key: &NodeKey, done: Done, session: Option<&Session>, settled: Settled) -> results::Login {
    let (target, portal) = (key.target.as_str(), key.portal.to_string());
    let Some(session) = session else {
        let gone = Fault::new(Kind::Failed, "the session was lost again at once");
        return results::Login::failed(target, &portal, &gone);
    };
    let disks = session.disks.iter().filter(|disk| !disk.name.is_empty());
    let maps: Vec<String> =
        disks.clone().filter_map(|disk| disk.map.as_ref().map(|map| map.name.clone())).collect();
    let mut hint = String::new();
    let message = if session.state != "LOGGED_IN" {
        format!("the session is in state {}: the kernel is trying to reconnect", session.state)
    } else if settled == Settled::Unasked {
        done.remark
    } else if session.scanned == Some(false) {
        hint = format!("have them looked for: iscsictl rescan {target}");
        "its LUNs were not looked for within the deadline".to_owned()
    } else if !session.has_disk() {
        hint = format!(
            "have the gateway's administrator map a LUN to this initiator, then: iscsictl logout {target} and log in again"
        );
        NO_LUN.to_owned()
    } else if settled == Settled::Late {
        hint = "iscsictl paths shows what is there by now".to_owned();
        "the disks or their maps were not ready within the deadline".to_owned()
    } else if settled == Settled::Unmapped && disks.clone().any(|disk| disk.map.is_none()) {
        hint = "journalctl -u multipathd has the reason".to_owned();
        "multipathd made no map of a disk that it should have made one of".to_owned()
    } else {
        done.remark
    };
    results::Login {
        target: target.to_owned(),
        portal,
        outcome: done.outcome,
        sid: session.sid,
        devices: disks.map(|disk| disk.name.clone()).collect(),
        map: maps.first().cloned().unwrap_or_default(),
        maps,
        error: String::new(),
        message,
        hint,
    }
}
