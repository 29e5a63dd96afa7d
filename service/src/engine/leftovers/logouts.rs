//! Logouts that a program goes on with although the daemon that started it was killed.
//! Must not let a call work on their targets, or take a lease on them, before that program has ended.

use std::{sync::Arc, time::Duration};

use iscsi_initiator_dbus::{Iqn, fault::Result};

use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        kernel::stale_sessions::StaleSessions,
    },
    engine::{Engine, state::watch::Predicate, turns::late_logout::LateLogout},
};

/// Longer than an iscsiadm continues after its daemon.
pub(super) const ISCSIADM: Duration = Duration::from_secs(180);

/// Claims the targets that an iscsiadm is logging out of, until it has ended. Blocks for as long as a look
/// at the processes takes.
pub(super) fn claim(engine: &Arc<Engine>) {
    for (pid, target) in engine.stale_sessions.logouts() {
        // What is no iSCSI name cannot be claimed either.
        let Ok(name) = Iqn::recorded(&target) else { continue };
        tracing::warn!(
            pid,
            target,
            "iscsiadm is still logging out of this target: no call works on it until then"
        );
        let late = engine.turns.late_logout(&name);
        tokio::spawn(until_it_has_ended(Arc::clone(engine), pid, late));
    }
}

async fn until_it_has_ended(engine: Arc<Engine>, pid: u32, late: LateLogout) {
    let mut ended = Ended { processes: engine.stale_sessions.clone(), pid };
    match engine.state.watch.until(&mut ended, &Limit::of(ISCSIADM)).await {
        Ok(Some(())) => {}
        Ok(None) => tracing::warn!(pid, "iscsiadm hangs in a logout: its target is not kept for it any more"),
        Err(fault) => {
            tracing::warn!(pid, error = fault.message(), "cannot find out whether a logout has ended")
        }
    }
    drop(late);
}

/// The iscsiadm has ended.
struct Ended {
    processes: StaleSessions,
    pid: u32,
}

impl Predicate for Ended {
    type Is = ();

    async fn look(&mut self) -> Result<Option<()>> {
        let (processes, pid) = (self.processes.clone(), self.pid);
        Ok((!reading(move || processes.is_at_logout(pid)).await?).then_some(()))
    }
}
