//! The daemon as a process of its own, with the descriptors that systemd gives by default.
//! Must not do anything that the program does not: it is the same `connect` and `serve`, on a machine of files.

use std::{fs, path::Path};

use iscsi_initiator_tests::harness::process::program;
use iscsi_initiatord::{Layout, connect, live, serve};
use tokio::{process::Child, time::Duration};

const ENTRANCE: &str = "the_daemon_under_attack";
const ROOT: &str = "FLOODED_ROOT";
const ADDRESS: &str = "FLOODED_BUS";
const LOG: &str = "flooded.log";

/// In the child: serves until it is killed, or until its connection ends.
pub(crate) fn run() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let address = std::env::var(ADDRESS).unwrap();
    #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
    let log = fs::File::create(Path::new(&root).join(LOG)).unwrap();
    tracing_subscriber::fmt().with_writer(log).with_ansi(false).init();
    // As in the program.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(16).build();
    runtime.unwrap().block_on(async {
        let connection = connect(&address.parse().unwrap()).await.unwrap();
        let activity = serve(&connection, Layout::below(Path::new(&root))).await.unwrap();
        // The last one loses its bus with the test.
        drop(live(&connection, &activity, Duration::from_secs(3600)).await);
    });
}

/// It is killed when this is dropped.
pub(crate) struct Daemon {
    process: Child,
    root: std::path::PathBuf,
}

impl Daemon {
    pub(crate) fn start(root: &Path, address: &str) -> Self {
        let mut command = program("prlimit");
        command.args(["--nofile=1024:1024", "--"]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", ENTRANCE, "--nocapture", "--test-threads=1"]);
        command.env(ROOT, root).env(ADDRESS, address).stdout(std::process::Stdio::null());
        Self { process: command.spawn().unwrap(), root: root.to_owned() }
    }

    #[track_caller]
    pub(crate) fn assert_runs(&mut self) {
        let ended = self.process.try_wait().unwrap();
        assert!(ended.is_none(), "the daemon ended: {ended:?}");
    }

    /// The most memory that it ever held, in MB.
    #[track_caller]
    pub(crate) fn peak(&self) -> u64 {
        let status = self.at("status");
        let text = fs::read_to_string(status).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the daemon runs");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    }

    /// How many descriptors it has open.
    #[track_caller]
    pub(crate) fn descriptors(&self) -> usize {
        fs::read_dir(self.at("fd")).unwrap().count()
    }

    /// For how long it has had a processor, in ticks of 10 ms.
    #[track_caller]
    pub(crate) fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(self.at("stat")).unwrap();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.root.join(LOG)).unwrap()
    }

    fn at(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.process.id().expect("the daemon runs"))
    }
}
