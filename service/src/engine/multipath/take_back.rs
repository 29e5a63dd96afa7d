//! Undoes a setup that failed, or whose daemon was killed.

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};

use super::{in_force::reread, units};
use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{blocking, reading},
        },
        multipath::memory::Setup,
        open_iscsi::undo::{self, Undo, settle::Left},
    },
    engine::Engine,
};

/// Called before another setup or undo: what an interrupted one left would undo that too.
pub(super) async fn all_left(engine: &Engine, limit: &Limit) -> Result<()> {
    let journal = engine.journal.clone();
    let left = reading(move || journal.left_of(undo::Kind::MultipathSetup)).await??;
    all(engine, left, limit).await
}

/// Undoes what killed daemons left of their setups.
pub(in crate::engine) async fn all(engine: &Engine, left: Left, limit: &Limit) -> Result<()> {
    for (entry, undo) in left {
        let Undo::MultipathSetup(setup) = undo else { continue };
        tracing::info!("undoing an interrupted multipath setup");
        if !take_back(engine, &setup, limit).await {
            let what = "cannot undo an interrupted multipath setup";
            return Err(Fault::new(Kind::Failed, what)
                .hint("try again; see the details: journalctl -u iscsi-initiatord"));
        }
        blocking(move || entry.done()).await??;
    }
    Ok(())
}

/// Restores the state before the setup, however far the setup came, and returns whether all of it
/// could be restored. The log holds what could not.
pub(super) async fn take_back(engine: &Engine, setup: &Setup, limit: &Limit) -> bool {
    let mut is_whole = true;
    let mut note = |what: &str, result: Result<()>| {
        if let Err(fault) = result {
            is_whole = false;
            tracing::error!(what, error = fault.message(), "cannot undo a failed multipath setup");
        }
    };
    for service in setup.services.iter().rev() {
        note(&service.unit, units::leave(engine, service).await);
    }
    let has_maps = has_maps(engine).await.unwrap_or(true);
    let (multipath, files) = (engine.multipath.clone(), setup.clone());
    note("the files", blocking(move || multipath.take_back(&files, has_maps)).await.flatten());
    if setup.made_main {
        note("the main file", engine.systemd.remove_empty_file(&engine.multipath.main()).await);
    }
    // If multipathd cannot read its configuration now, it does so when it starts: nothing is left
    // to restore.
    if let Err(fault) = reread(engine, limit).await {
        tracing::error!(error = fault.message(), "multipathd has not reread its configuration");
    }
    is_whole
}

/// Whether there is any multipath map.
pub(super) async fn has_maps(engine: &Engine) -> Result<bool> {
    let sysfs = engine.state.sysfs.clone();
    reading(move || sysfs.has_multipath_map()).await
}
