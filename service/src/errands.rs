//! What the program does for units of systemd beside the daemon: each is a process of its own that ends by itself.

use std::time::Duration;

use iscsi_initiator_dbus::results::Startup;

use crate::{
    Activity, Layout,
    backend::{host::age, open_iscsi::database::Database, systemd::Alone},
    engine::{Engine, login::keep::await_automatic},
};

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
/// process was started: a sandbox takes its time, too. Returns whether it has. Needs no bus. If the daemon cannot be
/// started that is logged, and sessions of others are waited for.
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
    // At the same time: the boot waits for both.
    tokio::join!(starting, await_automatic(layout, left)).1
}

/// Logs out of every target that nothing uses, and waits this long for the rest of them. Returns those that are left,
/// with the reason. Needs neither the daemon nor the bus.
pub async fn log_out(layout: Layout, wait: Duration) -> Vec<(String, String)> {
    let engine = Engine::new(layout, None, Activity::default());
    let left = engine.log_out_of_all(wait).await;
    left.into_iter().map(|(target, fault)| (target, fault.message().to_owned())).collect()
}
