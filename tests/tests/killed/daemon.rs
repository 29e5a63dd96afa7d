//! The daemon as a process of its own, which dies in the place of its n-th write.
//! Must not do anything that the program does not: it is the same `serve`, on a machine of files.

use std::{os::unix::process::ExitStatusExt as _, path::Path};

use iscsi_initiator_dbus::BUS_NAME;
use iscsi_initiator_tests::harness::{DEADLINE, process::program};
use iscsi_initiatord::{Layout, connect, serve, steps};
use rustix::process::Signal;
use tokio::{
    process::Child,
    time::{Duration, sleep, timeout},
};
use zbus::{Connection, fdo::DBusProxy};

const ENTRANCE: &str = "the_daemon_that_may_die";
const ROOT: &str = "DAEMON_ROOT";
const ADDRESS: &str = "DAEMON_BUS";
const DIES_AT: &str = "DAEMON_DIES_AT";

/// In the child: serves until it is killed, or kills itself.
pub(crate) fn run() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let (address, dies_at) = (std::env::var(ADDRESS).unwrap(), std::env::var(DIES_AT).unwrap());
    steps::die_at(dies_at.parse().unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = connect(&address.parse().unwrap()).await.unwrap();
        let _activity = serve(&connection, Layout::below(Path::new(&root))).await.unwrap();
        std::future::pending::<()>().await;
    });
}

/// It is killed when this is dropped.
pub(crate) struct Daemon(Child);

impl Daemon {
    /// Starts it, to die at its n-th write; 0 is never.
    pub(crate) fn start(root: &Path, address: &str, dies_at: u64) -> Self {
        // As it was built: another build may have taken its name since.
        let mut command = program(std::env::current_exe().unwrap());
        command.args(["--exact", ENTRANCE, "--nocapture", "--test-threads=1"]);
        command.env(ROOT, root).env(ADDRESS, address).env(DIES_AT, dies_at.to_string());
        command.stdout(std::process::Stdio::null());
        Self(command.spawn().unwrap())
    }

    /// Waits until it can be called; `false` if it died first.
    pub(crate) async fn is_up(&mut self, bus: &Connection) -> bool {
        let bus = DBusProxy::new(bus).await.unwrap();
        let up = async {
            loop {
                if bus.name_has_owner(BUS_NAME.try_into().unwrap()).await.unwrap() {
                    return true;
                }
                if self.0.try_wait().unwrap().is_some() {
                    return false;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, up).await.expect("the daemon is up in time")
    }

    /// It has died of its own hand, and of nothing else.
    pub(crate) async fn has_aborted(&mut self) {
        let status = timeout(DEADLINE, self.0.wait()).await.expect("it is dead").unwrap();
        assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    }

    /// Kills it, if it lives, and waits until the bus knows.
    pub(crate) async fn kill(mut self, bus: &Connection) {
        self.0.kill().await.unwrap();
        let bus = DBusProxy::new(bus).await.unwrap();
        let gone = async {
            while bus.name_has_owner(BUS_NAME.try_into().unwrap()).await.unwrap() {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, gone).await.expect("the bus knows in time");
    }
}
