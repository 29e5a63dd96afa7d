//! Ends sessions that were made a moment ago and are not wanted after all. udev and multipathd are still probing their
//! disks, which looks as if they were used.
//! Must not be used for sessions that anyone was told of: what uses those counts at once.

use std::time::Duration;

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, results::LogoutOutcome};

use super::{Manner, boot};
use crate::{
    backend::{host::limit::Limit, kernel::sysfs::Session},
    engine::{
        Engine,
        call::{DEFAULT_TIMEOUT, Progress},
        state::watch::Predicate,
    },
};

/// How long the disks of a new session may look used: several programs probe a new disk, on a slow machine for longer.
pub(in crate::engine) const PROBED: Duration = Duration::from_secs(45);

/// Ends the sessions within the limit. `Err` says why one stays.
pub(in crate::engine) async fn end(engine: &Engine, sessions: Vec<Session>, limit: &Limit) -> Result<()> {
    let mut ended = Ended { engine, sessions, stays: None };
    match engine.state.watch.until(&mut ended, limit).await {
        Ok(Some(())) => Ok(()),
        Ok(None) => {
            Err(ended.stays.unwrap_or_else(|| Fault::new(Kind::TimedOut, "it was not looked at in time")))
        }
        Err(fault) => Err(fault),
    }
}

/// Waits for whatever only seems to use the disks.
struct Ended<'a> {
    engine: &'a Engine,
    sessions: Vec<Session>,
    /// What used the disks at the last check.
    stays: Option<Fault>,
}

impl Predicate for Ended<'_> {
    type Is = ();

    async fn look(&mut self) -> Result<Option<()>> {
        let limit = Limit::of(DEFAULT_TIMEOUT);
        // They were looked at a while ago.
        let manner = Manner { force: false, waits: true, looked_at: None };
        let ending = async {
            let nodes = boot::nodes_of(self.engine, &self.sessions).await?;
            super::end(self.engine, &self.sessions, &nodes, manner, &Progress::none(), &limit).await
        };
        match ending.await {
            // A slow machine may not get through all records or processes in time.
            Err(fault) if matches!(fault.kind(), Kind::InUse | Kind::TimedOut) => {
                self.stays = Some(fault);
                Ok(None)
            }
            Err(fault) => Err(fault),
            Ok(entries) => match entries.iter().find(|entry| entry.outcome == LogoutOutcome::Failed) {
                Some(entry) => Err(Fault::new(Kind::Failed, entry.message.clone())),
                None => Ok(Some(())),
            },
        }
    }
}
