//! Reports changes on the bus: only values that it has just read, and only from here.

use std::sync::Arc;

use iscsi_initiator_dbus::OBJECT_PATH;
use zbus::Connection;

use super::Manager;
use crate::engine::{Engine, state::watch::FileEvents};

/// Emits `PropertiesChanged` whenever the initiator name differs when read again, whoever changed
/// it.
pub(crate) async fn mirror(connection: Connection, engine: Arc<Engine>, mut changes: FileEvents) {
    let mut known = engine.initiator_name().await.ok().flatten();
    loop {
        changes.changed().await;
        // A call that is changing it may still restore the old one.
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
