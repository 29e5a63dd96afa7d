//! The end of the daemon's life: it stops when it has been idle for a while, or when it is asked to. No call is lost.

use std::time::Duration;

use iscsi_initiator_dbus::BUS_NAME;
use tokio::signal::unix::{SignalKind, signal};
use zbus::Connection;

use crate::Activity;

/// How long calls that were in transit when the name was released may take to arrive.
const GRACE: Duration = Duration::from_millis(200);

/// How long releasing the name, and calls that are being answered, may take then; less than the unit's `TimeoutStopSec`.
const FINISH: Duration = Duration::from_secs(25);

/// Serves until no call has come and no watcher was there for `quiet`, or until SIGTERM or SIGINT; then releases the name and answers what
/// had come before that.
///
/// # Errors
///
/// The bus closed the connection, or a part of the daemon has ended.
pub async fn live(connection: &Connection, activity: &Activity, quiet: Duration) -> zbus::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut result = Ok(());
    tokio::select! {
        () = activity.idle_for(quiet) => tracing::info!("idle, stopping"),
        _ = terminate.recv() => tracing::info!("asked to stop"),
        _ = interrupt.recv() => tracing::info!("asked to stop"),
        () = activity.given_up() => result = Err(zbus::Error::Failure("a part of the daemon has ended".into())),
        () = connection.closed() => return Err(zbus::Error::Failure("lost the connection to the system bus".into())),
    }
    activity.stop();
    // Later calls start a new daemon; those that are running or in transit are still answered here.
    // Another SIGTERM changes nothing: systemd sends one when the name is released, and uses
    // SIGKILL after TimeoutStopSec.
    let finish = async {
        connection.release_name(BUS_NAME).await?;
        activity.without_calls_for(GRACE).await;
        Ok(())
    };
    let finished: zbus::Result<()> = tokio::time::timeout(FINISH, finish).await.unwrap_or_else(|_| {
        tracing::warn!("stopping although calls are running");
        Ok(())
    });
    result.and(finished)
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_fake::Bus;

    use super::*;

    #[tokio::test]
    async fn a_daemon_of_which_a_part_has_ended_leaves_the_bus_when_its_calls_are_answered_and_fails() {
        let bus = Bus::session();
        let (connection, activity) = (bus.connect().await, Activity::default());
        connection.request_name(BUS_NAME).await.unwrap();
        let call = activity.begin();
        let living = tokio::spawn({
            let (connection, activity) = (connection.clone(), activity.clone());
            async move { live(&connection, &activity, Duration::from_secs(3600)).await }
        });
        activity.give_up();
        // Its name is free for the next daemon while a call is running.
        let other = bus.connect().await;
        while other.request_name(BUS_NAME).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(!living.is_finished());
        drop(call);
        let error = living.await.unwrap().unwrap_err();
        assert!(error.to_string().contains("a part of the daemon has ended"), "{error}");
    }
}
