//! iscsid's retries, lowered for a login to what its caller has time for.

use std::{collections::BTreeMap, time::Duration};

use iscsi_initiator_dbus::fault::Result;

use crate::{
    backend::{
        host::{limit::Limit, threads::blocking},
        open_iscsi::{
            database::{NodeKey, login_retries::Retries},
            undo::settle,
        },
    },
    engine::Engine,
};

/// The retries of some nodes, as they were read.
pub(super) struct Lowering {
    pub(super) retries: BTreeMap<NodeKey, Retries>,
    /// Whether records are as a login before has left them, which could not restore them.
    pub(super) has_debts: bool,
}

impl Lowering {
    /// Whether the records of these nodes have to be changed, as far as is known.
    fn is_needed(&self, nodes: &[NodeKey], left: Duration) -> bool {
        let fit = |node: &NodeKey| self.retries.get(node).is_some_and(|retries| retries.fit(left));
        self.has_debts || !nodes.iter().all(fit)
    }
}

/// Has iscsid log in at these nodes, with as many retries as the caller has time for. The records hold that
/// number in the meantime. On an error the login was not begun.
pub(super) async fn with_fewer_retries<T>(
    engine: &Engine,
    nodes: &[NodeKey],
    lowering: &Lowering,
    login: impl Future<Output = T>,
    limit: &Limit,
) -> Result<T> {
    let shortened = if !lowering.is_needed(nodes, limit.left()) {
        Vec::new()
    } else {
        let (journal, database) = (engine.journal.clone(), engine.database.clone());
        let (nodes, left) = (nodes.to_vec(), limit.left());
        blocking(move || settle::shorten_all_login_retries(&journal, &database, &nodes, left)).await??
    };
    let login = match limit.wait(engine.turns.acts.iscsid.read()).await {
        Some(_in_use) => Ok(login.await),
        None => Err(limit.fault("timed out waiting for iscsid to be restarted").hint("try again")),
    };
    if !shortened.is_empty() {
        // iscsid has read the record when the attempt began.
        let database = engine.database.clone();
        let undoing = blocking(move || settle::undo_all_login_retries(&database, shortened));
        if let Err(fault) = undoing.await {
            tracing::warn!(error = fault.message(), "cannot restore the records yet, trying again later");
        }
    }
    login
}
