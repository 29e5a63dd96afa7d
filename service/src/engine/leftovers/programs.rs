//! What an iscsiadm goes on with although the daemon that started it was killed: a login, a logout or a rescan.
//! Must not let a call work on its target, or take a lease on one that it logs out of, before it has ended.

use std::{sync::Arc, time::Duration};

use iscsi_initiator_dbus::fault::Result;

use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        kernel::stale_sessions::StaleSessions,
    },
    engine::{Engine, state::watch::Predicate, turns::programs::Running},
};

/// Longer than an iscsiadm continues after its daemon.
pub(super) const ISCSIADM: Duration = Duration::from_secs(180);

/// Claims the targets that an iscsiadm works on, until it has ended. Blocks for as long as a look at the
/// processes takes.
pub(super) fn claim(engine: &Arc<Engine>) {
    // Without a session and a record there is nothing to work on, and nothing to look for among the processes.
    if engine.state.sysfs.targets().is_empty() && !engine.database.may_have_nodes() {
        return;
    }
    for (pid, act, target) in engine.stale_sessions.askers() {
        let running = engine.turns.programs.running(act, &target);
        tracing::warn!(
            pid,
            ?act,
            target,
            "iscsiadm still works on this target: no call does until it has ended"
        );
        tokio::spawn(until_it_has_ended(Arc::clone(engine), pid, running));
    }
}

async fn until_it_has_ended(engine: Arc<Engine>, pid: u32, running: Running) {
    let mut ended = Ended { processes: engine.stale_sessions.clone(), pid };
    match engine.state.watch.until(&mut ended, &Limit::of(ISCSIADM)).await {
        Ok(Some(())) => {}
        Ok(None) => tracing::warn!(pid, "iscsiadm hangs: its target is not kept for it any more"),
        Err(fault) => {
            tracing::warn!(pid, error = fault.message(), "cannot find out whether iscsiadm has ended")
        }
    }
    drop(running);
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
        Ok((!reading(move || processes.is_asking(pid)).await?).then_some(()))
    }
}
