//! What the program does for units of systemd beside the daemon: each is a process of its own that ends by itself.

use std::{collections::HashMap, num::NonZeroUsize, time::Duration};

use iscsi_initiator_dbus::{
    BUS_NAME, INTERFACE, OBJECT_PATH,
    results::{Node, Startup},
};
use serde::Serialize;
use tokio::time::{sleep, timeout};
use tokio_stream::StreamExt;
use zbus::{Connection, DynamicType, MatchRule, Message, MessageStream, Variant, message::Type};

use crate::{Activity, Layout, backend::open_iscsi::database::Database, engine::Engine};

/// Before another try, and between two looks at what is missing.
const AGAIN: Duration = Duration::from_millis(200);
/// Between two looks at most.
const LOST: Duration = Duration::from_secs(2);
/// How many signals wait: one is enough to look again.
const QUEUE: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// Whether any node is set to log in automatically: without one, nothing has to be started at the boot.
pub fn has_automatic(layout: &Layout) -> bool {
    let database = Database::new(&layout.find_database(), &layout.config, &layout.lock);
    let Ok(listing) = database.list() else { return false };
    listing.nodes.iter().any(|node| node.startup == Startup::Automatic && node.damage.is_none())
}

/// Waits until every node that is set so has a session, or for this long, and returns whether it has. Whatever is not
/// there yet, such as the bus, is waited for as well.
pub async fn await_automatic(wait: Duration) -> bool {
    let waiting = async {
        while await_nodes().await.is_err() {
            sleep(AGAIN).await;
        }
    };
    timeout(wait, waiting).await.is_ok()
}

/// Looks again when the daemon reports anything.
async fn await_nodes() -> zbus::Result<()> {
    let connection = Connection::system().await?;
    let signals =
        MatchRule::builder().msg_type(Type::Signal).sender(BUS_NAME).path_namespace(OBJECT_PATH).build()?;
    let mut signals = MessageStream::for_match_rule(signals, &connection, Some(QUEUE)).await?;
    call(&connection, "Subscribe", &()).await?;
    loop {
        let every: HashMap<&str, Variant<'_>> = HashMap::new();
        let nodes: Vec<Node> = call(&connection, "ListNodes", &(every,)).await?.body().deserialize()?;
        if nodes.iter().all(is_up) {
            return Ok(());
        }
        // As long as nothing is heard, perhaps because the daemon has ended, it is asked now and then.
        let _ = timeout(LOST, signals.next()).await;
        // More than one comes of what happens.
        sleep(AGAIN).await;
    }
}

async fn call<B: Serialize + DynamicType>(
    connection: &Connection,
    method: &str,
    body: &B,
) -> zbus::Result<Message> {
    connection.call_method(Some(BUS_NAME), OBJECT_PATH, Some(INTERFACE), method, body).await
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
