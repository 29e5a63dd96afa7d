//! Logins: every portal side by side, the target asked by our probe before iscsid is.
//! It may not let a dead portal delay a live one, nor take iscsiadm's word for a session.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind,
    fault::Result,
    options::LoginOptions,
    results::{self, LoginOutcome},
};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use super::{Engine, blocking, damaged, deadline, log_act, no_such_node, require, resolved, target_of};
use crate::backend::{
    database::{Node, NodeKey},
    events::Events,
    iscsiadm, iscsid,
    sysfs::Session,
};

/// How long a portal that has not answered is still waited for once another has let us in.
const STRAGGLERS: Duration = Duration::from_secs(2);

/// What became of one node.
type Outcome = Result<LoginOutcome>;

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
        let _claim = self.busy.claim(&target)?;
        let portals = resolved(grant.portal(), deadline).await?;
        let nodes = self.nodes_of(&target, portals.as_deref()).await?;
        if nodes.is_empty() {
            // Without open-iscsi there are no nodes: that is the reason, then.
            self.iscsiadm()?;
            return Err(no_such_node(&target, grant.portal()));
        }
        // Before the first login: what happens from now on is a reason to look.
        let events = Events::subscribe().inspect_err(|error| tracing::warn!(%error, "no device events")).ok();
        let outcomes = self.all_nodes(&nodes, deadline).await?;
        let good: Vec<NodeKey> =
            outcomes.iter().filter(|(_, o)| o.is_ok()).map(|(key, _)| key.clone()).collect();
        if let (Some(startup), false) = (options.startup, good.is_empty()) {
            let (database, keys) = (self.database.clone(), good.clone());
            blocking(move || database.set_startup(&keys, startup)).await??;
        }
        let mut settled = true;
        if options.wait && !good.is_empty() {
            let sessions = self.sessions().await?;
            let sids: Vec<u32> =
                sessions.iter().filter(|s| good.iter().any(|k| s.is_of(k))).map(|s| s.sid).collect();
            settled = self.settled(&sids, events.as_ref(), deadline).await?;
        }
        self.answer(&target, outcomes, settled).await
    }

    /// Every node at the same time; in the order of the nodes.
    async fn all_nodes(
        self: &Arc<Self>,
        nodes: &[Node],
        deadline: Instant,
    ) -> Result<BTreeMap<NodeKey, Outcome>> {
        let sessions = self.sessions().await?;
        let (up, down): (Vec<&Node>, Vec<&Node>) =
            nodes.iter().partition(|node| sessions.iter().any(|session| session.is_of(&node.key)));
        let mut outcomes: BTreeMap<NodeKey, Outcome> =
            up.into_iter().map(|node| (node.key.clone(), Ok(LoginOutcome::AlreadyLoggedIn))).collect();
        if down.is_empty() {
            return Ok(outcomes);
        }
        let iscsiadm = self.iscsiadm()?;
        iscsid::check_reachable(&self.layout.proc)?;
        let initiator = self.need_initiator_name().await?;
        let (hurry, hurried) = watch::channel(false);
        let mut attempts = JoinSet::new();
        for node in down {
            let (engine, node, initiator) = (Arc::clone(self), node.clone(), initiator.clone());
            let (iscsiadm, hurried) = (iscsiadm.clone(), hurried.clone());
            attempts.spawn(async move {
                let outcome = engine.one_node(&node, &initiator, iscsiadm, hurried, deadline).await;
                (node.key, outcome)
            });
        }
        // A session that is up counts as a portal that answered.
        let mut patience = (!outcomes.is_empty()).then(|| Instant::now() + STRAGGLERS);
        loop {
            let next = tokio::select! {
                next = attempts.join_next() => next,
                () = sleep_until(patience.unwrap_or(deadline)), if patience.is_some() => {
                    hurry.send_replace(true);
                    patience = None;
                    continue;
                }
            };
            let Some(attempt) = next else { break };
            let (key, outcome) = attempt.map_err(|_| Fault::new(Kind::Failed, "an internal task failed"))?;
            if outcome.is_ok() && patience.is_none() {
                patience = Some(Instant::now() + STRAGGLERS);
            }
            outcomes.insert(key, outcome);
        }
        Ok(outcomes)
    }

    /// One node: asks the target itself, and only if it would let us in, iscsid; then looks.
    async fn one_node(
        &self,
        node: &Node,
        initiator: &Iqn,
        iscsiadm: PathBuf,
        mut hurried: watch::Receiver<bool>,
        deadline: Instant,
    ) -> Outcome {
        if let Some(why) = node.damage {
            return Err(damaged(&node.key, why));
        }
        let chap = {
            let (database, key) = (self.database.clone(), node.key.clone());
            blocking(move || database.node_chap(&key)).await??
        };
        tokio::select! {
            asked = self.ask_login(&node.key, initiator, chap.as_ref(), deadline) => asked?,
            _ = hurried.wait_for(|hurry| *hurry) => return Err(Fault::new(
                Kind::TimedOut,
                format!("{} did not answer while the other portals did", node.key.portal),
            )
            .hint("check the network to this portal")),
        }
        drop(chap);
        let login = iscsiadm::login(&iscsiadm, &node.key, deadline).await;
        // The kernel decides, not the exit code.
        let is_up = self.sessions().await?.iter().any(|session| session.is_of(&node.key));
        match (login, is_up) {
            (Ok(()), true) => Ok(LoginOutcome::LoggedIn),
            (Err(refused), _) => Err(refused.into()),
            (Ok(()), false) => {
                Err(Fault::new(Kind::Failed, "iscsid reported success, but there is no session"))
            }
        }
    }

    /// The entries, read from the system again; or the most telling reason if every one failed.
    async fn answer(
        &self,
        target: &Iqn,
        outcomes: BTreeMap<NodeKey, Outcome>,
        settled: bool,
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
                    Ok(outcome) => {
                        entry(&key, outcome, sessions.iter().find(|session| session.is_of(&key)), settled)
                    }
                }
            })
            .collect())
    }
}

fn entry(key: &NodeKey, outcome: LoginOutcome, session: Option<&Session>, settled: bool) -> results::Login {
    let (target, portal) = (key.target.as_str(), key.portal.to_string());
    let Some(session) = session else {
        let gone = Fault::new(Kind::Failed, "the session was lost again at once");
        return results::Login::failed(target, &portal, &gone);
    };
    let disks = session.disks.iter().filter(|disk| !disk.name.is_empty());
    let maps: Vec<String> =
        disks.clone().filter_map(|disk| disk.map.as_ref().map(|map| map.name.clone())).collect();
    let message = if session.state != "LOGGED_IN" {
        format!("the session is in state {}: the kernel is trying to reconnect", session.state)
    } else if session.disks.is_empty() {
        "the target offers this initiator no LUN".to_owned()
    } else if !settled {
        "the disks or their maps were not ready within the deadline".to_owned()
    } else {
        String::new()
    };
    results::Login {
        target: target.to_owned(),
        portal,
        outcome,
        sid: session.sid,
        devices: disks.map(|disk| disk.name.clone()).collect(),
        map: maps.first().cloned().unwrap_or_default(),
        maps,
        error: String::new(),
        message,
        hint: String::new(),
    }
}
