//! Reports the initiator name whenever it differs when read again, whoever changed it: to every connection, because
//! any local user may read it.

use std::{collections::BTreeMap, sync::Arc};

use iscsi_initiator_dbus::{INTERFACE, OBJECT_PATH};
use zbus::{Connection, Variant};

use crate::engine::{Engine, state::watch::FileEvents};

/// Emits `PropertiesChanged` for it, until the runtime ends.
pub(super) async fn report(connection: Connection, engine: Arc<Engine>, mut changes: FileEvents) {
    let mut known = engine.initiator_name().await.ok().flatten();
    loop {
        changes.changed().await;
        // A call that is changing it may still restore the old one.
        let now = engine.settled_initiator_name().await.ok().flatten();
        if now == known {
            continue;
        }
        let text = now.as_ref().map(ToString::to_string).unwrap_or_default();
        known = now;
        if let Err(error) = emit(&connection, text).await {
            tracing::warn!(%error, "a changed property could not be reported");
        }
    }
}

async fn emit(connection: &Connection, name: String) -> zbus::Result<()> {
    let changed = BTreeMap::from([("InitiatorName", Variant::from(name))]);
    let body = (INTERFACE, changed, Vec::<String>::new());
    let (to_all, properties) = (None::<&str>, "org.freedesktop.DBus.Properties");
    connection.emit_signal(to_all, OBJECT_PATH, properties, "PropertiesChanged", &body).await
}
