//! The end of the daemon's life: when no call has come for a while, or when it is asked to leave. No call is lost.

use std::time::Duration;

use iscsi_initiator_dbus::BUS_NAME;
use tokio::signal::unix::{SignalKind, signal};
use tokio_stream::StreamExt;
use zbus::Connection;

use crate::Activity;

/// How long calls that were on their way when the name was released may take to arrive.
const GRACE: Duration = Duration::from_millis(200);

/// How long calls that are being answered may take then; less than the unit's `TimeoutStopSec`.
const FINISH: Duration = Duration::from_secs(25);

/// Serves until no call has come for `quiet`, or until SIGTERM or SIGINT; then releases the name and answers what
/// had come before that.
///
/// # Errors
///
/// The bus closed the connection.
pub async fn live(connection: &Connection, activity: &Activity, quiet: Duration) -> zbus::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        () = activity.idle_for(quiet) => tracing::info!("idle, leaving"),
        _ = terminate.recv() => tracing::info!("asked to leave"),
        _ = interrupt.recv() => tracing::info!("asked to leave"),
        () = closed(connection) => return Err(zbus::Error::Failure("the system bus went away".into())),
    }
    // Calls that come later start a new daemon; those at work or on their way are still answered here. A
    // further SIGTERM changes nothing: systemd sends one when the name is given back, and after
    // TimeoutStopSec it does not ask any more.
    connection.release_name(BUS_NAME).await?;
    if tokio::time::timeout(FINISH, activity.idle_for(GRACE)).await.is_err() {
        tracing::warn!("leaving although calls are at work");
    }
    Ok(())
}

/// Returns when the bus has closed the connection.
async fn closed(connection: &Connection) {
    let mut messages = zbus::MessageStream::from(connection);
    while let Some(message) = messages.next().await {
        if message.is_err() {
            return;
        }
    }
}
