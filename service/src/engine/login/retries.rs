//! iscsid's retries, lowered for a login to what its caller has time for.

use iscsi_initiator_dbus::fault::Result;

use crate::{
    backend::{
        host::{limit::Limit, threads::blocking},
        open_iscsi::{database::NodeKey, undo::settle},
    },
    engine::Engine,
};

/// Has iscsid log in at these nodes, with as many retries as the caller has time for. The records hold that
/// number in the meantime. On an error the login was not begun.
pub(super) async fn with_fewer_retries<T>(
    engine: &Engine,
    nodes: &[NodeKey],
    login: impl Future<Output = T>,
    limit: &Limit,
) -> Result<T> {
    let shortened = {
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
