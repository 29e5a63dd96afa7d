//! What the program does for units of systemd beside the daemon: each is a process of its own that ends by itself.

use std::{collections::HashMap, time::Duration};

use iscsi_initiator_dbus::{
    BUS_NAME, INTERFACE, OBJECT_PATH,
    results::{Node, Startup},
};
use tokio::time::{Instant, sleep, timeout_at};
use zbus::{Connection, Variant};

use crate::{Activity, Layout, backend::open_iscsi::database::Database, engine::Engine};

/// Between two looks at what is missing.
const AGAIN: Duration = Duration::from_millis(200);

/// Whether any node is set to log in automatically: without one, nothing has to be started at the boot.
pub fn has_automatic(layout: &Layout) -> bool {
    let database = Database::new(&layout.find_database(), &layout.config, &layout.lock);
    let Ok(listing) = database.list() else { return false };
    listing.nodes.iter().any(|node| node.startup == Startup::Automatic && node.damage.is_none())
}

/// Waits until every node that is set so has a session, or for this long, and returns whether it has. Whatever is not
/// there yet, such as the bus, is waited for as well.
pub async fn await_automatic(wait: Duration) -> bool {
    let deadline = Instant::now() + wait;
    let waiting = async {
        loop {
            if let Ok(nodes) = nodes().await
                && nodes.iter().all(is_up)
            {
                return;
            }
            sleep(AGAIN).await;
        }
    };
    timeout_at(deadline, waiting).await.is_ok()
}

async fn nodes() -> zbus::Result<Vec<Node>> {
    let connection = Connection::system().await?;
    let every: HashMap<&str, Variant<'_>> = HashMap::new();
    let body = (every,);
    let reply =
        connection.call_method(Some(BUS_NAME), OBJECT_PATH, Some(INTERFACE), "ListNodes", &body).await?;
    reply.body().deserialize()
}

fn is_up(node: &Node) -> bool {
    node.startup != Startup::Automatic || node.logged_in || node.waiting.is_empty()
}

/// Logs out of every target that nothing uses, and waits this long for the rest of them. Returns those that are left,
/// with the reason. Needs neither the daemon nor the bus.
pub async fn log_out(layout: Layout, wait: Duration) -> Vec<(String, String)> {
    let engine = Engine::new(layout, None, Activity::default());
    let left = engine.log_out_of_all(wait).await;
    left.into_iter().map(|(target, fault)| (target, fault.message().to_owned())).collect()
}
