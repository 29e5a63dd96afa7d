//! One iscsiadm for all nodes of a target: each iscsiadm reads every record and every session of the machine
//! before it logs in, which is most of what a login costs.
//! Must not log in to a node that is not among them, or before every one of them accepts.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use iscsi_initiator_dbus::fault::Result;
use tokio::sync::watch;

use super::retries::{Lowering, with_fewer_retries};
use crate::{
    backend::{
        host::limit::Limit,
        kernel::stale_sessions::askers::Act,
        open_iscsi::{
            database::{Node, NodeKey},
            iscsiadm::{Iscsiadm, Login, Refused, Said},
        },
    },
    engine::{
        Engine,
        state::{shared_look::SharedLook, snapshot::Snapshot},
        turns::places::AT_ONCE,
    },
};

/// How long a node whose portal has answered waits for the others to be ready. After that each is logged in to
/// by itself: a slow portal does not delay the others by more than this. The call waits for it for longer.
const GATHER: Duration = Duration::from_secs(1);

/// How far they are.
#[derive(Clone, Debug)]
enum State {
    /// Some are not ready yet.
    Gathering,
    /// iscsiadm logs in to all.
    Running,
    /// It has ended, or its time is over; and the sessions after that, if all were logged in to.
    Ended(std::result::Result<Said, Refused>, Option<Arc<Snapshot>>),
    /// Each is logged in to by itself.
    Apart,
}

/// The nodes that one call logs in to.
pub(super) struct Together {
    nodes: Vec<NodeKey>,
    lowering: Arc<Lowering>,
    /// Those whose records are for one session.
    one_session: BTreeSet<NodeKey>,
    /// Those that are not ready yet.
    missing: Mutex<BTreeSet<NodeKey>>,
    state: watch::Sender<State>,
}

impl Together {
    pub(super) fn of(nodes: &[&Node], lowering: Lowering, one_session: BTreeSet<NodeKey>) -> Arc<Self> {
        let (state, _) = watch::channel(if can_be_one(nodes) { State::Gathering } else { State::Apart });
        let nodes: Vec<NodeKey> = nodes.iter().map(|node| node.key.clone()).collect();
        let missing = Mutex::new(nodes.iter().cloned().collect());
        Arc::new(Self { nodes, lowering: Arc::new(lowering), one_session, missing, state })
    }

    pub(super) fn seat(self: &Arc<Self>, node: &NodeKey) -> Seat {
        Seat { together: Arc::clone(self), node: node.clone(), is_running: false }
    }

    /// Whether it was the last that was not ready.
    fn is_last(&self, node: &NodeKey) -> bool {
        // Nothing can be half done to a set.
        let mut missing = self.missing.lock().unwrap_or_else(PoisonError::into_inner);
        missing.remove(node);
        missing.is_empty()
    }

    /// Returns whether it was in the state `from`.
    fn turn(&self, is_from: impl FnOnce(&State) -> bool, to: State) -> bool {
        self.state.send_if_modified(|state| {
            let is_from = is_from(state);
            if is_from {
                *state = to;
            }
            is_from
        })
    }

    /// `None` if it was not started.
    async fn run(
        &self,
        engine: &Engine,
        iscsiadm: &Iscsiadm,
        looks: &SharedLook,
        limit: &Limit,
    ) -> Option<std::result::Result<(Said, Option<Arc<Snapshot>>), Refused>> {
        let target = &self.nodes.first()?.target;
        let running = engine.turns.programs.running(Act::Login, target.as_str());
        // Another program may have recorded one more.
        let (database, nodes) = (engine.database.clone(), self.nodes.clone());
        let are_all = move || database.are_all(&nodes).unwrap_or(false);
        let look = looks.later(&engine.state);
        let are_one = self.nodes.iter().all(|node| self.one_session.contains(node));
        let login = iscsiadm.login_to_all(target, &self.nodes, are_one, are_all, look, running, limit);
        match with_fewer_retries(engine, &self.nodes, &self.lowering, login, limit).await {
            Ok(Ok(Some((said, Some(now))))) => Some(Ok((said, Some(looks.note(now).await)))),
            // Of a failure it is to be seen first what became of iscsid.
            Ok(Ok(Some((said, None)))) if !said.is_success() => Some(Ok((said, None))),
            Ok(Ok(Some((said, None)))) => Some(Ok((said, looks.look(&engine.state).await.ok()))),
            Ok(Ok(None)) => None,
            Ok(Err(refused)) => Some(Err(refused)),
            Err(fault) => {
                // Of each by itself it is known whose fault that is.
                tracing::debug!(%target, error = fault.message(), "cannot log in to all nodes at once");
                None
            }
        }
    }
}

/// Whether iscsiadm distinguishes these nodes, and may have as many at a time.
fn can_be_one(nodes: &[&Node]) -> bool {
    let is_alone = |node: &&Node| {
        let same = nodes.iter().filter(|other| other.key.is_same(&node.key));
        node.damage.is_none() && same.count() == 1
    };
    let is_one_target = || nodes.windows(2).all(|two| matches!(two, [a, b] if a.key.target == b.key.target));
    (2..=AT_ONCE).contains(&nodes.len()) && is_one_target() && nodes.iter().all(is_alone)
}

/// How the login to a node ended.
pub(super) struct Told {
    pub(super) login: std::result::Result<Login, Refused>,
    /// The sessions after it, if they were looked at.
    pub(super) now: Option<Arc<Snapshot>>,
}

/// The place of one node among them. Dropped before it is ready, it sends the others on, each by itself.
pub(super) struct Seat {
    together: Arc<Together>,
    node: NodeKey,
    is_running: bool,
}

impl Seat {
    /// What is to be lowered for a login to the node by itself.
    pub(super) fn lowering(&self) -> Arc<Lowering> {
        Arc::clone(&self.together.lowering)
    }

    /// Whether the node's record is for one session.
    pub(super) fn is_one_session(&self) -> bool {
        self.together.one_session.contains(&self.node)
    }

    /// The node is ready: its portal accepts the login. Returns how the login ended once all are ready, and
    /// `None` if the node is to be logged in to by itself.
    pub(super) async fn log_in(
        mut self,
        engine: &Engine,
        iscsiadm: &Iscsiadm,
        looks: &SharedLook,
        limit: &Limit,
    ) -> Result<Option<Told>> {
        let is_gathering = |state: &State| matches!(state, State::Gathering);
        if self.together.is_last(&self.node) && self.together.turn(is_gathering, State::Running) {
            self.is_running = true;
            let ended = match self.together.run(engine, iscsiadm, looks, limit).await {
                Some(Ok((said, now))) => State::Ended(Ok(said), now),
                Some(Err(refused)) => State::Ended(Err(refused), None),
                None => State::Apart,
            };
            self.together.state.send_replace(ended);
        }
        let mut state = self.together.state.subscribe();
        let begun = async { state.wait_for(|state| !is_gathering(state)).await.is_ok() };
        if limit.at_most(GATHER).wait(begun).await.is_none() {
            self.together.turn(is_gathering, State::Apart);
        }
        // What runs ends within the limit.
        let end = state.wait_for(|state| matches!(state, State::Ended(..) | State::Apart)).await;
        match end.map(|end| end.clone()) {
            Ok(State::Ended(Ok(said), now)) => Ok(said.on(&self.node).map(|login| Told { login, now })),
            Ok(State::Ended(Err(refused), _)) => Ok(Some(Told { login: Err(refused), now: None })),
            _ if limit.is_cancelled() => Err(limit.fault("")),
            _ => Ok(None),
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let is_open = |state: &State| match state {
            State::Gathering => true,
            // Its task was ended.
            State::Running => self.is_running,
            State::Ended(..) | State::Apart => false,
        };
        self.together.turn(is_open, State::Apart);
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::{ChapMode, Startup};

    use super::*;

    fn node(target: &str, portal: &str, iface: &str) -> Node {
        Node {
            key: NodeKey {
                target: target.parse().unwrap(),
                portal: portal.parse().unwrap(),
                tpgt: Some(1),
                iface: iface.to_owned(),
                spelled: None,
            },
            startup: Startup::Manual,
            chap: ChapMode::None,
            discovered_at: None,
            interface: None,
            bound_to: String::new(),
            initiator: None,
            boot: None,
            is_given_up: false,
            damage: None,
        }
    }

    #[test]
    fn only_nodes_that_iscsiadm_distinguishes_are_logged_in_to_together() {
        const A: &str = "iqn.2003-01.com.example:a";
        let one = node(A, "192.0.2.21", "default");
        let can = |others: &[Node]| can_be_one(&[&one].into_iter().chain(others).collect::<Vec<_>>());
        assert!(can(&[node(A, "192.0.2.37", "default"), node(A, "192.0.2.21", "lo")]));
        assert!(!can(&[]), "one is logged in to by itself");
        assert!(!can(&[node("iqn.2003-01.com.example:b", "192.0.2.37", "default")]));
        let mut twin = one.clone();
        twin.key.tpgt = Some(2);
        assert!(!can(&[twin]), "iscsiadm names both in the same way");
        let many =
            |count: u8| (1..=count).map(|n| node(A, &format!("192.0.2.{n}"), "lo")).collect::<Vec<_>>();
        assert!(can(&many(31)) && !can(&many(32)), "more than 32 take turns");
    }

    #[test]
    fn a_node_that_does_not_get_ready_sends_the_others_on() {
        let nodes = [
            node("iqn.2003-01.com.example:a", "192.0.2.21", "default"),
            node("iqn.2003-01.com.example:a", "192.0.2.37", "default"),
        ];
        let lowering = Lowering { retries: [].into(), has_debts: false };
        let together = Together::of(&nodes.iter().collect::<Vec<_>>(), lowering, BTreeSet::new());
        let is_apart = || matches!(*together.state.borrow(), State::Apart);
        let [one, other] = nodes.each_ref().map(|node| together.seat(&node.key));
        assert!(!is_apart());
        drop(other);
        assert!(is_apart());
        drop(one);
        assert!(is_apart());
    }
}
