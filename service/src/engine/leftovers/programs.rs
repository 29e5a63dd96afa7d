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

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::Kind;
    use iscsi_initiator_fake::{Bus, Machine};
    use tokio::time::{Instant, sleep};

    use super::*;
    use crate::{Activity, Layout};

    const TARGET: &str = "iqn.2003-01.com.example:disks";

    #[tokio::test]
    async fn an_iscsiadm_that_hangs_keeps_its_target_for_three_minutes() {
        let (machine, bus) = (Machine::new(), Bus::session());
        let sid = machine.session(TARGET, "192.0.2.21", "3260").to_string();
        let words = ["iscsiadm", "-m", "session", "-r", &sid, "--logout", ""].join("\0");
        for (file, text) in [
            ("cmdline", words.as_str()),
            ("status", "Name:\tiscsiadm\nUid:\t0\t0\t0\t0\n"),
            ("comm", "iscsiadm\n"),
        ] {
            machine.put(&format!("proc/4000050/{file}"), text, 0o444);
        }
        let engine = Engine::new(Layout::below(&machine.root()), &bus.connect().await, Activity::default());
        let target = TARGET.parse().unwrap();
        let is_free = || match engine.turns.claims.claim(&target) {
            Ok(_) => true,
            Err(fault) => {
                assert_eq!(fault.kind(), Kind::Busy, "{fault}");
                false
            }
        };
        tokio::time::pause();
        let begun = Instant::now();
        claim(&engine);
        while !is_free() {
            sleep(Duration::from_millis(100)).await;
        }
        let kept = begun.elapsed();
        assert!(kept >= ISCSIADM && kept < ISCSIADM + Duration::from_secs(2), "{kept:?}");
    }
}
