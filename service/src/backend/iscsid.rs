//! iscsid: whether it can be reached, and made to read its initiator name again.
//! It may not speak to its socket: that is a C struct that changes from version to version.

use std::{path::Path, time::Duration};

use iscsi_initiator_dbus::{Fault, Kind};
use zbus::Connection;

/// The abstract socket of iscsid (usr/mgmt_ipc.h), held by systemd or by iscsid itself.
const SOCKET: &str = "@ISCSIADM_ABSTRACT_NAMESPACE";

/// Fails with what to do if nobody listens. iscsiadm would try to start it itself, with a shell.
pub(crate) fn check_reachable(proc: &Path) -> Result<(), Fault> {
    let sockets = std::fs::read_to_string(proc.join("self/net/unix"))
        .map_err(|error| Fault::new(Kind::BackendUnavailable, format!("the list of sockets: {error}")))?;
    if sockets.lines().any(|line| line.contains(SOCKET)) {
        return Ok(());
    }
    Err(Fault::new(Kind::BackendUnavailable, "iscsid is not running, and its socket is not open")
        .hint("systemctl start iscsid.socket"))
}

#[zbus::proxy(
    interface = "org.freedesktop.systemd1.Manager",
    default_service = "org.freedesktop.systemd1",
    default_path = "/org/freedesktop/systemd1"
)]
trait Manager {
    fn try_restart_unit(&self, name: &str, mode: &str) -> zbus::Result<zbus::OwnedObjectPath>;
    fn subscribe(&self) -> zbus::Result<()>;
    #[zbus(signal)]
    fn job_removed(&self, id: u32, job: zbus::ObjectPath<'_>, unit: String, result: String);
}

const ALREADY_SUBSCRIBED: &str = "org.freedesktop.systemd1.AlreadySubscribed";

/// Restarts iscsid if it runs, and waits for it. One that does not run reads the name when it starts.
pub(crate) async fn restart(bus: &Connection) -> Result<(), Fault> {
    let restarted = tokio::time::timeout(Duration::from_secs(15), try_restart(bus)).await;
    let why = match restarted {
        Ok(Ok(result)) if result == "done" => return Ok(()),
        Ok(Ok(result)) => format!("systemd says \"{result}\""),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "systemd did not finish within 15 s".to_owned(),
    };
    Err(Fault::new(Kind::BackendUnavailable, format!("iscsid could not be restarted: {why}"))
        .hint("systemctl restart iscsid.service"))
}

async fn try_restart(bus: &Connection) -> zbus::Result<String> {
    use std::pin::pin;
    use tokio_stream::StreamExt;
    let manager =
        ManagerProxy::builder(bus).cache_properties(zbus::proxy::CacheProperties::No).build().await?;
    // Once for a connection, and a systemd that was executed anew has forgotten it.
    match manager.subscribe().await {
        Err(zbus::Error::MethodError(name, ..)) if name.as_str() == ALREADY_SUBSCRIBED => {}
        subscribed => subscribed?,
    }
    // Before the job is made: its end could be told before we listen.
    let mut ends = pin!(manager.receive_job_removed().await?);
    let job = manager.try_restart_unit("iscsid.service", "replace").await?;
    while let Some(end) = ends.next().await {
        let end = end.args()?;
        if end.job.as_str() == job.as_str() {
            return Ok(end.result);
        }
    }
    Err(zbus::Error::Failure("the bus went away".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_nobody_opened_is_told_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("self/net");
        std::fs::create_dir_all(&net).unwrap();
        let dir = super::super::atomic::Dir::open(&net).unwrap();
        let other = "0000: 00000002 00000000 00010000 0001 01 123 @/org/kernel/linux/storage/multipathd\n";
        dir.replace("unix", other.as_bytes(), 0o644).unwrap();
        let fault = check_reachable(folder.path()).unwrap_err();
        assert_eq!(fault.kind(), Kind::BackendUnavailable);
        assert!(fault.next_step().contains("iscsid.socket"));
        let open = format!("{other}0000: 00000002 00000000 00010000 0001 01 124 {SOCKET}\n");
        dir.replace("unix", open.as_bytes(), 0o644).unwrap();
        assert!(check_reachable(folder.path()).is_ok());
    }
}
