//! Which nodes that are to stay logged in to are missing, and when each is tried again. Whoever tries them is
//! `login/keep`.
//!
//! | room | what it is |
//! |---|---|
//! | `plan` | when each portal is tried next |
//! | `wishes` | which nodes are to have a session in this boot |

pub(in crate::engine) mod plan;
pub(in crate::engine) mod wishes;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use iscsi_initiator_dbus::{Fault, results::Startup};
use tokio::sync::{Notify, watch};

use self::{
    plan::{PACE, Plan},
    wishes::Wishes,
};
use crate::backend::open_iscsi::database::{Node, NodeKey};

/// What is missing and what is known of it.
pub(in crate::engine) struct Missing {
    pub(in crate::engine) wishes: Wishes,
    plan: Mutex<Plan>,
    /// Has the task look again.
    pub(in crate::engine) wake: Notify,
    /// Whether the task has looked.
    pub(in crate::engine) has_looked: watch::Sender<bool>,
}

/// A node that is waited for.
#[derive(Clone, Debug)]
pub(in crate::engine) struct Waiting {
    pub(in crate::engine) node: NodeKey,
    /// What the last try failed with; `None` before the first has ended.
    pub(in crate::engine) why: Option<Fault>,
}

impl Waiting {
    /// The same as a sentence.
    pub(in crate::engine) fn sentence(&self) -> String {
        sentence(self.why.as_ref())
    }
}

fn sentence(why: Option<&Fault>) -> String {
    why.map_or_else(|| "it is being logged in to".to_owned(), |why| why.message().to_owned())
}

impl Missing {
    /// `run` is where is noted until the boot what is wished for.
    pub(in crate::engine) fn new(run: &Path) -> Self {
        Self {
            wishes: Wishes::new(run),
            plan: Mutex::new(Plan::new(PACE)),
            wake: Notify::new(),
            has_looked: watch::Sender::new(false),
        }
    }

    /// A table cannot be half written in memory.
    pub(in crate::engine) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why a node without a session is waited for; empty if it is not.
    pub(in crate::engine) fn why(&self, node: &Node) -> String {
        let is_unknown = !*self.has_looked.borrow() && is_automatic(node);
        match self.plan().why(&node.key) {
            Some(why) => sentence(why),
            None if is_unknown => sentence(None),
            None => String::new(),
        }
    }

    /// Why each node is waited for that is.
    pub(in crate::engine) fn sentences(&self) -> BTreeMap<NodeKey, String> {
        self.plan().all().map(|(node, why)| (node.clone(), sentence(why))).collect()
    }

    /// Every node that is waited for.
    pub(in crate::engine) fn waiting(&self) -> Vec<Waiting> {
        let plan = self.plan();
        plan.all().map(|(node, why)| Waiting { node: node.clone(), why: why.cloned() }).collect()
    }

    /// A person has logged out of these nodes: they are not wished for any more, until they are logged in to or the
    /// machine boots. The caller holds the target's claim.
    pub(in crate::engine) async fn logged_out(&self, nodes: &[Node]) {
        let keys = nodes.iter().map(|node| node.key.clone()).collect();
        if let Err(fault) = self.wishes.give_up(keys).await {
            tracing::warn!(error = fault.message(), "cannot note that nodes were logged out of");
        }
        self.wake.notify_one();
    }
}

/// What iscsiadm logs in to at the boot, but for what the firmware and the initramfs do.
pub(in crate::engine) fn is_automatic(node: &Node) -> bool {
    node.startup == Startup::Automatic && node.boot.is_none() && node.damage.is_none()
}
