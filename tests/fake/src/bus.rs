//! A private D-Bus daemon for one test: of the session's kind, or with a configuration of the test's own.
//! Must not outlive its handle, nor have anything to do with the host's buses.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc,
};

use tempfile::TempDir;
use zbus::{Connection, connection};

use crate::DEADLINE;

/// A running bus; it ends when this is dropped.
#[derive(Debug)]
pub struct Bus {
    daemon: Child,
    address: String,
    /// Where its socket is, unless its configuration says that.
    folder: Option<TempDir>,
}

impl Bus {
    /// A bus that lets its own user do everything, and can start nothing.
    pub fn session() -> Self {
        Self::session_with("/nonexistent".as_ref())
    }

    /// The same, with what it can start below this folder, in `dbus-1/services`.
    pub fn session_with(data: &Path) -> Self {
        let folder = tempfile::tempdir().expect("make a folder for the socket");
        let mut command = program("dbus-daemon");
        command.arg(format!("--address=unix:path={}/bus", folder.path().display()));
        // It complains that it may not raise its limit of descriptors.
        command.env("XDG_DATA_HOME", data).arg("--session").stderr(Stdio::null());
        let mut bus = Self::start(command);
        bus.folder = Some(folder);
        bus
    }

    /// A bus with this configuration file.
    pub fn with_config(config: &Path) -> Self {
        let mut command = program("dbus-daemon");
        command.arg(format!("--config-file={}", config.display()));
        Self::start(command)
    }

    /// A bus from a command that becomes dbus-daemon and has its configuration; the rest of the arguments is added.
    pub fn start(mut command: Command) -> Self {
        command.args(["--nofork", "--nopidfile", "--nosyslog", "--print-address=1"]);
        let mut daemon =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start dbus-daemon");
        let output = daemon.stdout.take().expect("dbus-daemon's output");
        let (send, address) = mpsc::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = BufReader::new(output).read_line(&mut line);
            send.send(read.map(|_| line.trim().to_owned()))
        });
        let mut bus = Self { daemon, address: String::new(), folder: None };
        bus.address = address.recv_timeout(DEADLINE).expect("an address in time").expect("read an address");
        assert!(
            !bus.address.is_empty(),
            "dbus-daemon did not start (package dbus-daemon); its messages are above"
        );
        bus
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    /// A connection of this process.
    pub async fn connect(&self) -> Connection {
        connection::Builder::address(self.address.as_str()).build().await.expect("connect to the private bus")
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

fn program(name: &str) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the one place of this crate that starts a program")]
    Command::new(name)
}
