//! Logs out at shutdown: waits until nothing uses the disks any more, then ends the sessions as any logout does. File
//! systems that systemd would unmount only after that are unmounted before, by systemd.
//! Must not use force, wait for long, need a daemon or a bus (both may be gone by then), or unmount anything while the
//! machine goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result, results::LogoutOutcome};
use tokio::time::{Instant, sleep};

use super::{Manner, boot, end};
use crate::{
    backend::{
        host::{limit::Limit, threads::looking_for_uses},
        kernel::sysfs::Session,
        systemd::{Alone, Unmounting},
    },
    engine::{
        Engine,
        call::Progress,
        state::{reader::Parts, snapshot::Snapshot},
    },
};

/// The unit whose stop logs out.
const UNIT: &str = "iscsi-initiatord-logout.service";
/// Between two looks at whether the disks are still used: an unmount has no event here.
const AGAIN: Duration = Duration::from_millis(500);
/// How long one target may take: another may be waiting.
const EACH: Duration = Duration::from_secs(10);
/// And how long at least, also at the end: it is to be known why it stays.
const LAST: Duration = Duration::from_secs(5);
/// How often a target is tried that fails although nothing uses it.
const TRIES: u32 = 3;

impl Engine {
    /// Starts the unit that logs out at shutdown, if there is one and it is not active. It stays active until then.
    pub(in crate::engine) fn guard_shutdown(&self) {
        let systemd = self.systemd.clone();
        tokio::spawn(async move {
            let started = async {
                let unit = systemd.look(UNIT).await?;
                if unit.is_there && !unit.is_active {
                    systemd.begin(UNIT).await?;
                }
                Result::Ok(())
            };
            if let Err(fault) = started.await {
                tracing::warn!(error = fault.message(), "nothing would log out at shutdown");
            }
        });
    }

    /// Logs out of every target that this machine does not run from, once nothing uses its disks. Returns the targets
    /// that are left after `wait`, each with the reason.
    pub(crate) async fn log_out_of_all(self: &Arc<Self>, wait: Duration) -> BTreeMap<String, Fault> {
        let limit = Limit::of(wait);
        let ending = Ending::find(self).await;
        let mut tries: BTreeMap<String, u32> = BTreeMap::new();
        let mut reported = BTreeMap::new();
        loop {
            let left = match self.state.look(Parts::NODES).await {
                Ok(now) => self.log_out_once(&now, ending.as_ref(), &mut tries, &limit).await,
                Err(fault) => BTreeMap::from([(String::new(), fault)]),
            };
            for (target, fault) in &left {
                if reported.insert(target.clone(), fault.message().to_owned()).as_deref()
                    != Some(fault.message())
                {
                    tracing::info!(target, reason = fault.message(), "waiting to log out");
                }
            }
            let is_hopeless =
                left.keys().all(|target| tries.get(target).is_some_and(|tries| *tries >= TRIES));
            if left.is_empty() || is_hopeless || limit.is_over() {
                return left;
            }
            limit.wait(sleep(AGAIN)).await;
        }
    }

    async fn log_out_once(
        &self,
        now: &Snapshot,
        ending: Option<&Ending>,
        tries: &mut BTreeMap<String, u32>,
        limit: &Limit,
    ) -> BTreeMap<String, Fault> {
        let mut left = BTreeMap::new();
        let targets: BTreeSet<&str> = now.sessions().map(|session| session.target.as_str()).collect();
        for name in targets {
            let sessions: Vec<Session> =
                now.sessions().filter(|session| session.target == name).cloned().collect();
            let limit = limit.at_least(LAST).at_most(EACH);
            match self.log_out_of(name, &sessions, now, ending, &limit).await {
                Ok(()) => {}
                Err(fault) => {
                    if !matches!(fault.kind(), Kind::InUse | Kind::Busy) {
                        *tries.entry(name.to_owned()).or_default() += 1;
                    }
                    left.insert(name.to_owned(), fault);
                }
            }
        }
        left
    }

    async fn log_out_of(
        &self,
        name: &str,
        sessions: &[Session],
        now: &Snapshot,
        ending: Option<&Ending>,
        limit: &Limit,
    ) -> Result<()> {
        let target: Iqn = Iqn::recorded(name).map_err(|why| Fault::new(Kind::Failed, why.to_string()))?;
        let nodes = now.nodes_of(&target, None);
        if let Some(boot) = boot::find(self, sessions, &nodes, false).await? {
            tracing::info!(target = name, reason = boot.what, "stays logged in");
            return Ok(());
        }
        if let Some(ending) = ending {
            ending.unmount(self, sessions).await;
        }
        let _claim = self.turns.claims.claim(&target)?;
        let manner = Manner { force: false, waits: true, looked_at: Some(Instant::now()) };
        let entries = end(self, sessions, &nodes, manner, &Progress::none(), limit).await?;
        if let Some(failed) = entries.iter().find(|entry| entry.outcome == LogoutOutcome::Failed) {
            let kind: Kind = failed.error.parse().unwrap_or(Kind::Failed);
            return Err(Fault::new(kind, failed.message.clone()));
        }
        self.turns.missing.logged_out(&nodes).await;
        tracing::info!(target = name, "logged out");
        Ok(())
    }
}

/// The end of the machine's run.
struct Ending {
    systemd: Alone,
}

impl Ending {
    /// `None` if the machine goes on, or systemd does not say.
    async fn find(engine: &Engine) -> Option<Self> {
        let systemd = Alone::new(&engine.layout)?;
        match systemd.is_stopping().await {
            Ok(is_stopping) => is_stopping.then_some(Self { systemd }),
            Err(error) => {
                tracing::warn!(error, "systemd does not say whether the machine stops: nothing is unmounted");
                None
            }
        }
    }

    /// Has the file systems unmounted that are on the disks of these sessions. Does not wait for that: what is not
    /// unmounted yet is in the way of the logout, which says so.
    async fn unmount(&self, engine: &Engine, sessions: &[Session]) {
        let usage = engine.usage.clone();
        let disks: Vec<String> =
            sessions.iter().flat_map(|session| &session.disks).map(|disk| disk.name.clone()).collect();
        let places = match looking_for_uses(move || usage.carried(&disks)).await {
            Ok(Some(carried)) if carried.mounts.is_empty() => return,
            Ok(Some(carried)) => carried.mounts,
            Ok(None) | Err(_) => return tracing::warn!("what is mounted could not be read"),
        };
        match self.systemd.unmount(&places).await {
            Ok(Unmounting { units, needed }) => {
                for unit in units {
                    tracing::info!(unit, "has systemd unmount it");
                }
                for (place, unit) in needed {
                    tracing::info!(place, unit, "stays mounted until the unit has stopped");
                }
            }
            Err(error) => tracing::warn!(error, "systemd did not unmount what is on the disks"),
        }
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_fake::{Machine, target::Chap};

    use super::*;
    use crate::{Activity, Layout};

    const TARGET: &str = "iqn.2003-01.com.example:disks";

    /// A machine with a session that has a disk, and no bus.
    fn machine() -> (Machine, Arc<Engine>) {
        let machine = Machine::new();
        let portals = machine.add_gateway(TARGET, Chap::new("libvirtd", "mypassword12"));
        let portal = portals[0];
        machine.record(TARGET, &portal.ip().to_string(), portal.port(), "");
        machine.session(TARGET, &portal.ip().to_string(), &portal.port().to_string());
        machine.disk("sda", 1, "8:0");
        let engine = Engine::new(Layout::below(&machine.root()), None, Activity::default());
        (machine, engine)
    }

    #[tokio::test]
    async fn a_target_is_logged_out_of_once_its_file_system_is_unmounted() {
        let (machine, engine) = machine();
        machine.mount("sda", "/mnt");
        let ending = tokio::spawn(async move { engine.log_out_of_all(Duration::from_secs(60)).await });
        sleep(Duration::from_secs(1)).await;
        assert!(!ending.is_finished() && machine.sessions().len() == 1);
        machine.unmount("/mnt");
        let left = ending.await.unwrap();
        assert!(left.is_empty() && machine.sessions().is_empty(), "{left:?}");
    }

    #[tokio::test]
    async fn what_stays_in_use_is_left_as_it_is_and_named_in_time() {
        let (machine, engine) = machine();
        machine.mount("sda", "/mnt");
        let left = engine.log_out_of_all(Duration::from_millis(700)).await;
        let fault = left.get(TARGET).unwrap();
        assert!(fault.kind() == Kind::InUse && fault.message().contains("/mnt"), "{fault}");
        assert_eq!(machine.sessions().len(), 1);
        machine.unmount("/mnt");
        // Without iscsiadm nothing can be logged out of: it is not tried until the end.
        machine.remove("bin/iscsiadm");
        let begun = Instant::now();
        let left = engine.log_out_of_all(Duration::from_secs(60)).await;
        assert!(left.contains_key(TARGET) && begun.elapsed() < Duration::from_secs(30), "{left:?}");
    }

    #[tokio::test]
    async fn without_a_session_there_is_nothing_to_wait_for() {
        let machine = Machine::new();
        let engine = Engine::new(Layout::below(&machine.root()), None, Activity::default());
        assert!(engine.log_out_of_all(Duration::from_secs(60)).await.is_empty());
    }
}
