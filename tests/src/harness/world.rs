//! A private system bus with the real polkitd, our policy and the example rule in force.
//! Must not outlive its test: what it started is killed when it is dropped.

use std::{future::Future, path::Path, process::Stdio};

use iscsi_initiator_dbus::{BUS_NAME, INTERFACE, OBJECT_PATH};
use iscsi_initiator_fake::Bus;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tokio::{
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};
use zbus::{Connection, export::ordered_stream::OrderedStreamExt as _, fdo::DBusProxy};

use super::{
    DEADLINE, Peer, User, files,
    process::{program_as, program_in},
};

/// The private bus and what runs on it.
#[derive(Debug)]
pub struct World {
    // Dropped in this order: the daemon, polkitd, the bus, the files.
    daemon: Option<JoinHandle<()>>,
    polkitd: Child,
    bus: Bus,
    root: Connection,
    directory: tempfile::TempDir,
}

/// What a program answered.
#[derive(Debug)]
pub struct Reply {
    /// The exit code; -1 if a signal ended it.
    pub code: i32,
    /// All of it.
    pub stdout: String,
    /// All of it.
    pub stderr: String,
}

impl World {
    /// Starts the bus and polkitd, and waits until polkitd answers to its name.
    pub async fn start() -> Self {
        Self::start_with_rules("").await
    }

    /// The same with further rules, which come before the example's.
    pub async fn start_with_rules(rules: &str) -> Self {
        assert!(
            geteuid().is_root(),
            "this test needs root: it runs the real polkitd with files of its own (unshare, mount --bind) and \
             calls as other users; run it as root, for example in a container"
        );
        let directory = tempfile::tempdir().expect("make a temporary directory");
        files::lay_out(directory.path(), rules);
        let mut dbus_daemon = program_in(directory.path(), files::USERS, "dbus-daemon");
        dbus_daemon.arg(format!("--config-file={}/bus.conf", directory.path().display()));
        let bus = Bus::start(dbus_daemon.into_std());
        let polkitd = start_polkitd(directory.path(), bus.address());
        let root = bus.connect().await;
        let world = Self { daemon: None, polkitd, bus, root, directory };
        world.wait_for("org.freedesktop.PolicyKit1").await;
        world
    }

    /// The address of the bus.
    pub fn address(&self) -> &str {
        self.bus.address()
    }

    /// A directory of this test's own, which everybody may read.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A connection of root's.
    pub async fn connect(&self) -> Connection {
        self.bus.connect().await
    }

    /// Runs the daemon under test in this process until the world ends, on a connection of its own (root's).
    /// Returns when it owns the name; if it ends before that, the test fails.
    pub async fn serve<F, Run>(&mut self, daemon: F)
    where
        F: FnOnce(Connection) -> Run,
        Run: Future<Output = ()> + Send + 'static,
    {
        let mut task = tokio::spawn(daemon(self.connect().await));
        tokio::select! {
            ended = &mut task => panic!("the daemon ended before it took its name: {ended:?}"),
            () = self.wait_for(BUS_NAME) => self.daemon = Some(task),
        }
    }

    /// Waits until somebody owns the name.
    pub async fn wait_for(&self, name: &str) {
        let wait = async {
            let bus = DBusProxy::new(&self.root).await?;
            let mut changes = bus.receive_name_owner_changed_with_args(&[(0, name)]).await?;
            // Asked after listening, so that nothing happens unseen in between.
            while !bus.name_has_owner(name.try_into()?).await? {
                changes.next().await;
            }
            zbus::Result::Ok(())
        };
        match timeout(DEADLINE, wait).await {
            Ok(done) => done.expect("listen to the bus"),
            Err(_) => panic!("nobody owned {name} within {DEADLINE:?}; its messages are above"),
        }
    }

    /// A program of this user, with the private bus as its system bus: the built daemon, the CLI.
    pub fn command_as(&self, user: User, name: impl AsRef<Path>) -> Command {
        let mut command = program_as(user, name);
        command.env("DBUS_SYSTEM_BUS_ADDRESS", self.address());
        command
    }

    /// Calls a method of ours with busctl; polkit may not ask anybody.
    pub async fn call_as(&self, user: User, method: &str, signature: &str, args: &[&str]) -> Reply {
        let mut busctl = self.busctl(user);
        busctl.arg("--allow-interactive-authorization=no");
        busctl.args(["call", BUS_NAME, OBJECT_PATH, INTERFACE, method, signature]).args(args);
        output(busctl).await
    }

    /// busctl on the private bus; append what it should do and give it to [`output`].
    pub fn busctl(&self, user: User) -> Command {
        let mut busctl = self.command_as(user, "busctl");
        busctl.arg(format!("--address={}", self.address())).arg("--timeout=60");
        busctl
    }

    /// A process of this user; see [`Peer`].
    pub async fn peer(&self, user: User) -> Peer {
        Peer::start(self, user).await
    }

    /// polkitd dies, and nobody starts it again.
    pub async fn kill_polkitd(&mut self) {
        self.polkitd.kill().await.expect("kill polkitd");
    }

    /// polkitd stays on the bus and does not answer.
    pub fn stop_polkitd(&self) {
        self.signal_polkitd(Signal::STOP);
    }

    /// polkitd goes on after [`World::stop_polkitd`].
    pub fn resume_polkitd(&self) {
        self.signal_polkitd(Signal::CONT);
    }

    fn signal_polkitd(&self, signal: Signal) {
        let pid = self.polkitd.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).expect("polkitd runs");
        kill_process(pid, signal).expect("signal polkitd");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(daemon) = &self.daemon {
            daemon.abort();
        }
        // A stopped process dies of SIGKILL too; its handle would send it anyway, but only after the bus is gone.
        let _ = self.polkitd.start_kill();
    }
}

/// Waits for the end of a program and takes what it wrote.
pub async fn output(mut command: Command) -> Reply {
    let output = timeout(DEADLINE, command.output()).await.expect("end in time").expect("start a program");
    Reply {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn start_polkitd(directory: &Path, address: &str) -> Child {
    let mut command = program_in(directory, files::USERS_AND_POLKIT, "/usr/lib/polkit-1/polkitd");
    command.arg("--no-debug").env("DBUS_SYSTEM_BUS_ADDRESS", address).stdout(Stdio::null());
    command.spawn().expect("start setpriv (package util-linux)")
}
