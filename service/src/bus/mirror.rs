//! The one place that reports changes on the bus: what it has just read, and nothing else.

use std::sync::Arc;

use iscsi_initiator_dbus::OBJECT_PATH;
use zbus::Connection;

use super::Manager;
use crate::engine::{Engine, state::watch::FileEvents};

/// Emits `PropertiesChanged` whenever the initiator name, read again, is another one, whoever changed it.
pub(crate) async fn mirror(connection: Connection, engine: Arc<Engine>, mut changes: FileEvents) {
    let mut known = engine.initiator_name().await.ok().flatten();
    loop {
        changes.changed().await;
        // While a call changes it, it may still be put back.
        let now = engine.settled_initiator_name().await.ok().flatten();
        if now == known {
            continue;
        }
        known = now;
        if let Err(error) = emit(&connection).await {
            tracing::warn!(%error, "a changed property could not be reported");
        }
    }
}

async fn emit(connection: &Connection) -> zbus::Result<()> {
    let interface = connection.object_server().interface::<_, Manager>(OBJECT_PATH).await?;
    let manager = interface.get().await;
    manager.initiator_name_changed(interface.signal_emitter()).await
}
