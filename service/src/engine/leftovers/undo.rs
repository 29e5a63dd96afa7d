//! Restores from the undo journal what a killed daemon had changed.

use std::sync::Arc;

use iscsi_initiator_dbus::{Iqn, fault::Result};

use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{blocking, reading},
        },
        kernel::stale_sessions::StaleSessions,
        open_iscsi::{
            database::NodeKey,
            undo::{
                Undo,
                settle::{self, Left},
            },
        },
    },
    engine::{
        Engine,
        call::DEFAULT_TIMEOUT,
        leftovers::programs::ISCSIADM,
        multipath::take_back,
        state::{reader::Parts, watch::Predicate},
        turns::claims::Claim,
    },
};

/// What cannot be restored before the first call.
#[derive(Default)]
pub(super) struct Later {
    /// Records, with the claims on their targets: an iscsiadm may still be logging in with them.
    records: Left,
    claims: Vec<Claim>,
    /// Setups of multipath, which need systemd.
    setups: Left,
}

/// Restores what can be restored before the first call. Blocks for as long as a few files take.
pub(super) fn at_once(engine: &Engine) -> Later {
    let left = match engine.journal.left() {
        Ok(left) => left,
        Err(error) => {
            tracing::warn!(%error, "cannot examine what a killed daemon left behind");
            return Later::default();
        }
    };
    let left = settle::settle_login_retries(&engine.database, left);
    let (config, proc) = (&engine.layout.config, &engine.layout.proc);
    let (left, settled) = settle::settle_initiator_names(config, proc, left);
    if let Err(fault) = settled {
        tracing::warn!(error = fault.message(), "cannot restore the initiator name yet, trying again later");
    }
    let (mut records, setups): (Left, Left) =
        left.into_iter().partition(|(_, undo)| matches!(undo, Undo::Records(_)));
    // A program outlives the daemon that started it, so that it leaves no half-written record.
    let mut claims = Vec::new();
    if !records.is_empty() && engine.stale_sessions.has_asker() {
        let targets = records.iter().filter_map(|(_, undo)| match undo {
            Undo::Records(backup) => Some(backup.target()),
            _ => None,
        });
        // No call has arrived yet: each target is free, except one with two entries.
        claims.extend(targets.filter_map(|target| engine.turns.claims.claim(target).ok()));
    } else {
        let sessions = engine.state.sysfs.sessions();
        let is_up = |node: &NodeKey| sessions.iter().any(|session| session.is_of(node));
        records = settle::settle_records(&engine.database, records, is_up);
    }
    Later { records, claims, setups }
}

/// Claims a target for a change of its records. Before that, restores what a call that was
/// interrupted after this daemon started has left (of an older daemon that was killed while
/// exiting). Later it would undo the change.
pub(in crate::engine) async fn claim(engine: &Engine, target: &Iqn) -> Result<Claim> {
    let claim = engine.turns.claims.claim(target)?;
    let (journal, database, sysfs) =
        (engine.journal.clone(), engine.database.clone(), engine.state.sysfs.clone());
    let target = target.clone();
    let settling = move || {
        // Read only if there are entries.
        let sessions = std::cell::OnceCell::new();
        let is_up = |node: &NodeKey| {
            let sessions = sessions.get_or_init(|| sysfs.sessions());
            sessions.iter().any(|session| session.is_of(node))
        };
        settle::settle_target(&journal, &database, &target, is_up)
    };
    blocking(settling).await??;
    Ok(claim)
}

/// Restores the rest.
pub(super) async fn later(engine: &Engine, later: Later) {
    let Later { records, claims, setups } = later;
    if let Err(fault) = put_records_back(engine, records, claims).await {
        tracing::warn!(error = fault.message(), "cannot restore records yet, trying again later");
    }
    if setups.is_empty() {
        return;
    }
    let _turn = engine.turns.acts.multipath.lock().await;
    if let Err(fault) = take_back::all(engine, setups, &Limit::of(DEFAULT_TIMEOUT)).await {
        tracing::error!(error = fault.message(), "cannot undo a multipath setup yet, trying again later");
    }
}

/// When no iscsiadm is running any more, the resulting sessions are known.
async fn put_records_back(engine: &Engine, records: Left, claims: Vec<Claim>) -> Result<()> {
    if records.is_empty() {
        return Ok(());
    }
    let mut ended = NoIscsiadm(engine.stale_sessions.clone());
    engine.state.watch.until(&mut ended, &Limit::of(ISCSIADM)).await?;
    let now = Arc::new(engine.state.look(Parts::SESSIONS).await?);
    let database = engine.database.clone();
    let is_up = move |node: &NodeKey| now.session_of(node).is_some();
    // What could not be restored is in the log, and stays in the journal.
    drop(blocking(move || settle::settle_records(&database, records, is_up)).await?);
    drop(claims);
    Ok(())
}

/// No iscsiadm is running.
struct NoIscsiadm(StaleSessions);

impl Predicate for NoIscsiadm {
    type Is = ();

    async fn look(&mut self) -> Result<Option<()>> {
        let processes = self.0.clone();
        Ok((!reading(move || processes.has_asker()).await?).then_some(()))
    }
}
