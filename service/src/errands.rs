//! What the program does for units of systemd beside the daemon: each is a process of its own that ends by itself.

use std::{pin::pin, time::Duration};

use iscsi_initiator_dbus::results::Startup;
use tokio::time::timeout;

use crate::{
    Activity, Layout,
    backend::{host::age, open_iscsi::database::Database, systemd::Alone},
    engine::{Engine, login::keep::await_automatic},
};

/// How much longer systemctl may take than the sessions: where it has time, systemd answers at once, and finds a program
/// of this unit's that is left over worth a warning.
const MOMENT: Duration = Duration::from_millis(200);
/// The daemon's unit.
const DAEMON: &str = "iscsi-initiatord.service";

/// Whether any node is set to log in automatically: without one, nothing has to be started at the boot.
pub fn has_automatic(layout: &Layout) -> bool {
    let database = Database::new(&layout.find_database(), &layout.config, &layout.lock);
    // What cannot be read may be one.
    let Ok(listing) = database.list() else { return true };
    listing
        .nodes
        .iter()
        .any(|node| node.startup == Startup::Automatic && node.boot.is_none() && node.damage.is_none())
}

/// Has systemd start the daemon, and waits until every node that is set so has a session, or until this long after this
/// process was started: that takes its time, too. Returns whether it has. Needs no bus. If the daemon cannot be
/// started that is logged, and sessions of others are waited for. A systemctl that has not ended by then goes on: early in
/// a boot systemd may have no time for it.
pub async fn bring_up(layout: &Layout, wait: Duration) -> bool {
    let starting = async {
        let started = match Alone::new(layout) {
            Some(systemd) => systemd.start(DAEMON).await,
            None => Err("there is no systemctl".to_owned()),
        };
        if let Err(error) = started {
            tracing::warn!(error, "the daemon could not be started");
        }
    };
    let left = wait.saturating_sub(age::of(&layout.proc, "self").unwrap_or_default());
    let (mut starting, mut waiting) = (pin!(starting), pin!(await_automatic(layout, left)));
    let mut is_started = false;
    let are_up = loop {
        tokio::select! {
            // It is begun in any case.
            biased;
            () = &mut starting, if !is_started => is_started = true,
            are_up = &mut waiting => break are_up,
        }
    };
    if !is_started {
        // It may go on.
        let _ = timeout(MOMENT, starting).await;
    }
    are_up
}

/// Logs out of every target that nothing uses, and waits this long for the rest of them. Returns those that are left,
/// with the reason. Needs neither the daemon nor the bus.
pub async fn log_out(layout: Layout, wait: Duration) -> Vec<(String, String)> {
    let engine = Engine::new(layout, None, Activity::default());
    let left = engine.log_out_of_all(wait).await;
    left.into_iter().map(|(target, fault)| (target, fault.message().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_fake::Machine;
    use tokio::time::Instant;

    use super::*;

    const TARGET: &str = "iqn.2003-01.com.example:disks";

    /// A machine with one node that is set to log in automatically, and a systemctl.
    fn world(systemctl: &str) -> (Machine, Layout) {
        let machine = Machine::new();
        machine.record(TARGET, "192.0.2.1", 3260, "node.startup = automatic\n");
        let place = machine.root().join("started");
        machine.put(
            "bin/systemctl",
            &format!("#!/bin/sh\nprintf '%s ' \"$@\" >{}\n{systemctl}\n", place.display()),
            0o755,
        );
        let mut layout = Layout::below(&machine.root());
        layout.systemctl = vec![machine.root().join("bin/systemctl")];
        (machine, layout)
    }

    /// As long as this process has run, and so much more.
    fn from_now(layout: &Layout, wait: Duration) -> Duration {
        age::of(&layout.proc, "self").unwrap_or_default() + wait
    }

    #[tokio::test]
    async fn the_daemon_is_started_and_its_sessions_are_waited_for_until_then() {
        let (machine, layout) = world("");
        assert!(has_automatic(&layout));
        assert!(!bring_up(&layout, from_now(&layout, Duration::from_millis(200))).await);
        let asked = async {
            while machine.text("started") != "start --no-block -- iscsi-initiatord.service " {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(Duration::from_secs(60), asked).await.is_ok(), "{}", machine.text("started"));
        machine.session(TARGET, "192.0.2.1", "3260");
        assert!(bring_up(&layout, from_now(&layout, Duration::from_secs(60))).await);
    }

    #[tokio::test]
    async fn a_systemd_without_time_does_not_make_the_boot_wait_for_longer() {
        let (machine, layout) = world("cd ${0%/bin/*}; while ! test -e go; do sleep 0.01; done; : >ended");
        let begun = Instant::now();
        assert!(!bring_up(&layout, from_now(&layout, Duration::from_millis(200))).await);
        assert!(begun.elapsed() < Duration::from_secs(5), "systemctl is given 5 s");
        machine.put("go", "", 0o444);
        let ending = async {
            while !machine.at("ended").exists() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        assert!(timeout(Duration::from_secs(60), ending).await.is_ok(), "it has not gone on");
    }

    #[tokio::test]
    async fn without_a_systemctl_the_sessions_of_others_are_waited_for() {
        let (machine, mut layout) = world("exit 1");
        machine.session(TARGET, "192.0.2.1", "3260");
        assert!(bring_up(&layout, from_now(&layout, Duration::from_secs(60))).await);
        layout.systemctl.clear();
        assert!(bring_up(&layout, from_now(&layout, Duration::from_secs(60))).await);
    }

    #[test]
    fn a_node_that_is_not_set_so_starts_nothing() {
        let machine = Machine::new();
        machine.record(TARGET, "192.0.2.1", 3260, "");
        assert!(!has_automatic(&Layout::below(&machine.root())));
    }
}
