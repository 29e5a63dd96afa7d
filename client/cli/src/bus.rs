//! The connection to the daemon: the system bus, or the one that `DBUS_SYSTEM_BUS_ADDRESS` names.
//! Must not set a deadline: the daemon has one for every call, and polkit may wait for a person.

use iscsi_initiator_dbus::proxy::InitiatorProxy;
use zbus::{Connection, proxy::CacheProperties};

use crate::problem::Problem;

/// Connects; the daemon is not asked anything yet.
pub(crate) async fn connect() -> Result<InitiatorProxy<'static>, Problem> {
    // No method_timeout: zbus sets none by itself.
    let connection = Connection::system().await.map_err(|error| Problem::no_bus(&error))?;
    let proxy = InitiatorProxy::builder(&connection)
        // One property is read at most, once.
        .cache_properties(CacheProperties::No)
        .build()
        .await?;
    Ok(proxy)
}
