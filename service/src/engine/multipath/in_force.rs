//! Waits until multipathd has read its configuration and has stopped making maps. It does not
//! report that itself.

use iscsi_initiator_dbus::fault::Result;

use super::units::MULTIPATHD;
use crate::{
    backend::{
        host::{
            limit::Limit,
            threads::{asking_multipathd, reading},
        },
        multipath::daemon::{Multipathd, MultipathdError},
        systemd::Job,
    },
    engine::{Engine, state::watch::Predicate},
};

/// Waits for it.
pub(super) async fn in_force(engine: &Engine, limit: &Limit) -> Result<()> {
    let mut idle = Idle { multipathd: engine.state.multipathd.clone(), error: None };
    match (engine.state.watch.until(&mut idle, limit).await?, idle.error) {
        (Some(()), _) => Ok(()),
        (None, Some(error)) if !limit.is_cancelled() => Err(error.into()),
        (None, _) => Err(limit
            .fault("timed out waiting for multipathd to read its configuration")
            .hint("try again with a longer timeout; see the details: journalctl -u multipathd")),
    }
}

/// multipathd is idle.
struct Idle {
    multipathd: Multipathd,
    /// Why multipathd could not be asked at the last look.
    error: Option<MultipathdError>,
}

impl Predicate for Idle {
    type Is = ();

    async fn look(&mut self) -> Result<Option<()>> {
        let multipathd = self.multipathd.clone();
        self.error = None;
        match asking_multipathd(move || multipathd.is_idle()).await? {
            Ok(is_idle) => Ok(is_idle.then_some(())),
            // It may be starting.
            Err(error) => {
                self.error = Some(error);
                Ok(None)
            }
        }
    }
}

/// Has multipathd reread its configuration, if it is running.
pub(super) async fn reread(engine: &Engine, limit: &Limit) -> Result<()> {
    let multipathd = engine.state.multipathd.clone();
    if reading(move || multipathd.runs()).await? {
        engine.systemd.job(Job::Reload, MULTIPATHD).await?;
        in_force(engine, limit).await?;
    }
    Ok(())
}
