//! The one place that tells the bus that something changed.
//! It may not change anything itself, nor tell what it has not just read.

use std::sync::Arc;

use iscsi_initiator_dbus::OBJECT_PATH;
use tokio::sync::watch;
use zbus::Connection;

use super::Manager;
use crate::engine::Engine;

/// Emits `PropertiesChanged` whenever the initiator name, read again, is another one.
pub(crate) async fn mirror(connection: Connection, engine: Arc<Engine>, mut changes: watch::Receiver<()>) {
    let mut known = engine.initiator_name().await.ok().flatten();
    while changes.changed().await.is_ok() {
        let now = engine.initiator_name().await.ok().flatten();
        if now == known {
            continue;
        }
        known = now;
        if let Err(error) = emit(&connection).await {
            tracing::warn!(%error, "a changed property could not be told");
        }
    }
}

async fn emit(connection: &Connection) -> zbus::Result<()> {
    let interface = connection.object_server().interface::<_, Manager>(OBJECT_PATH).await?;
    let manager = interface.get().await;
    manager.initiator_name_changed(interface.signal_emitter()).await
}
