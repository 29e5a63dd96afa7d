//! The daemon iscsi-initiatord: `main -> bus -> engine -> backend`; nothing points back.
//! Must not be linked by a client: the contract crate holds what they share.
//!
//! | room | what it is |
//! |---|---|
//! | `backend` | what the daemon builds on: the kernel, open-iscsi, multipath, systemd, files |
//! | `bus` | the interface: parse, ask polkit, act, reply |
//! | `engine` | the operations, each with a `Call` that polkit allowed |
//! | `life` | when the daemon stops, without losing a call |

mod backend;
mod bus;
mod engine;
mod life;

use std::sync::Arc;

use iscsi_initiator_dbus::{BUS_NAME, OBJECT_PATH};
use iscsi_initiator_polkit::Gate;
use zbus::Connection;

#[cfg(feature = "steps")]
pub use self::backend::host::atomic::steps;
pub use self::backend::host::layout::Layout;
pub use self::bus::connect;
#[cfg(feature = "measure")]
pub use self::engine::state::measure;
pub use self::engine::turns::activity::Activity;
pub use self::life::live;
use crate::{
    bus::{Manager, mirror},
    engine::Engine,
};

/// Serves the interface on a connection, then takes the bus name, so that a call can arrive only
/// once everything is in place. Returns the counter of running calls. How many calls may run is limited
/// if the connection is one of [`connect`]'s.
pub async fn serve(connection: &Connection, layout: Layout) -> zbus::Result<Activity> {
    let activity = Activity::default();
    let engine = Engine::new(layout, connection, activity.clone());
    let changes = engine.file_events();
    engine.clean_up();
    let manager = Manager::new(Arc::clone(&engine), Gate::new(connection), activity.clone());
    connection.object_server().at(OBJECT_PATH, manager).await?;
    tokio::spawn(mirror(connection.clone(), engine, changes));
    connection.request_name(BUS_NAME).await?;
    Ok(activity)
}
