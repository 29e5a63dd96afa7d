//! The daemon iscsi-initiatord: `main -> bus -> engine -> backend`; nothing points back.
//! Must not be linked by a client: the contract crate holds what they share.
//!
//! | room | what it is |
//! |---|---|
//! | `backend` | what the daemon builds on: the kernel, open-iscsi, multipath, systemd, files |
//! | `bus` | the interface: parse, ask polkit, act, reply |
//! | `engine` | the operations, each with a `Call` that polkit allowed |
//! | `errands` | what the program does for units of systemd beside the daemon |
//! | `life` | when the daemon stops, without losing a call |

mod backend;
mod bus;
mod engine;
mod errands;
mod life;

use iscsi_initiator_dbus::{BUS_NAME, OBJECT_PATH};
use iscsi_initiator_polkit::Gate;
use zbus::Connection;

#[cfg(feature = "steps")]
pub use self::backend::host::atomic::steps;
pub use self::backend::host::layout::Layout;
pub use self::bus::{Entrance, connect};
#[cfg(feature = "measure")]
pub use self::engine::state::measure;
pub use self::engine::turns::activity::Activity;
pub use self::errands::{bring_up, has_automatic, log_out};
pub use self::life::live;
use crate::{
    bus::{Manager, Mirror, Objects, Watchers},
    engine::Engine,
};

/// Serves the interfaces on a connection, then takes the bus name, so that a call can arrive only
/// once everything is in place. Returns the counter of running calls.
///
/// # Errors
///
/// The bus failed, or the connection is served already.
pub async fn serve(entrance: &Entrance, layout: Layout) -> zbus::Result<Activity> {
    let connection: &Connection = entrance;
    let calls = entrance
        .calls_to_objects()
        .ok_or_else(|| zbus::Error::Failure("the connection is served already".into()))?;
    let activity = Activity::default();
    let engine = Engine::new(layout, connection, activity.clone());
    let watchers = Watchers::new(connection, activity.clone());
    let mirror = Mirror::start(connection, &engine, &watchers, &activity);
    engine.clean_up();
    engine.keep_logged_in().await;
    let gate = Gate::new(connection, entrance.callers());
    let objects = Objects::new(connection, gate.clone(), activity.clone(), mirror);
    let manager = Manager::new(engine, gate, activity.clone(), watchers);
    connection.object_server().at(OBJECT_PATH, manager).await?;
    tokio::spawn(objects.serve(calls));
    connection.request_name(BUS_NAME).await?;
    Ok(activity)
}
