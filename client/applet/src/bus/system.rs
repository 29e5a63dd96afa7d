//! The connection to the system bus, or to the one that `DBUS_SYSTEM_BUS_ADDRESS` names.
//! Must not set a deadline: the daemon has one for every call, and polkit may wait for a person.

use iscsi_initiator_dbus::{BUS_NAME, Fault, proxy::InitiatorProxy};
use zbus::{Connection, proxy::CacheProperties};

use super::stream::next;

/// A connection of its own. The daemon is not asked anything yet.
pub(crate) async fn connect() -> Result<InitiatorProxy<'static>, Fault> {
    let connection = Connection::system().await?;
    // They are read when they are needed: none has a signal.
    Ok(InitiatorProxy::builder(&connection).cache_properties(CacheProperties::No).build().await?)
}

/// Waits until the daemon's name gets an owner, or the bus is gone.
pub(super) async fn appears(connection: &Connection) {
    let Ok(bus) = zbus::fdo::DBusProxy::new(connection).await else { return };
    let Ok(mut changes) = bus.receive_name_owner_changed_with_args(&[(0, BUS_NAME)]).await else { return };
    while let Some(change) = next(&mut changes).await {
        if change.args().is_ok_and(|args| args.new_owner().is_some()) {
            return;
        }
    }
}
