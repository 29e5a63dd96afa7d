//! What `make dev` starts, driven as a script does: by lines into its input.
//! Must not need root: who writes a client need not be root either.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{collections::HashMap, fs, path::Path, process::Stdio};

use iscsi_initiator_dbus::{Fault, Kind, proxy::InitiatorProxy};
use iscsi_initiator_tests::harness::{DEADLINE, process::program};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time::{Duration, Instant, sleep, timeout},
};
use zbus::{Connection, Variant, connection};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/development.md");

struct Dev {
    process: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    greeting: Vec<String>,
}

impl Dev {
    async fn start() -> Self {
        let mut command = program(env!("CARGO_BIN_EXE_dev"));
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = piped.spawn().unwrap();
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut dev = Self { process, input, output, greeting: Vec::new() };
        while !dev.greeting.last().is_some_and(|line| line.starts_with("Here: ")) {
            let line = dev.line().await;
            dev.greeting.push(line);
        }
        dev
    }

    async fn line(&mut self) -> String {
        timeout(DEADLINE, self.output.next_line()).await.expect("a line in time").unwrap().expect("a line")
    }

    async fn send(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    /// The answer's first line.
    async fn turn(&mut self, line: &str) -> String {
        self.send(line).await;
        self.line().await
    }

    /// What the greeting says that this is: `bus`, `machine`.
    fn word(&self, name: &str) -> String {
        let line = self.greeting.iter().find(|line| line.starts_with(&format!("{name} ")));
        line.expect("the greeting names it").split_whitespace().nth(1).unwrap().to_owned()
    }

    async fn connect(&self) -> Connection {
        connection::Builder::address(self.word("bus").as_str()).build().await.unwrap()
    }

    /// Waits for its end: it is a success, and nothing is left.
    async fn ends(mut self) {
        let status = timeout(DEADLINE, self.process.wait()).await.expect("an end in time").unwrap();
        assert!(status.success(), "{status}");
        let socket = self.word("bus").strip_prefix("unix:path=").unwrap().to_owned();
        for path in [self.word("machine"), socket] {
            let folder = Path::new(&path).parent().unwrap();
            assert!(!folder.exists(), "{} is left", folder.display());
        }
        // The bus has its address among its arguments.
        let is_bus = |line: &[u8]| String::from_utf8_lossy(line).contains(&self.word("bus"));
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
        assert_eq!(lines.filter(|line| is_bus(line)).count(), 0, "the bus is left");
    }
}

#[tokio::test]
async fn a_client_sees_what_the_knobs_do_and_nothing_is_left_behind() {
    let mut dev = Dev::start().await;
    let connection = dev.connect().await;
    let client = InitiatorProxy::new(&connection).await.unwrap();
    let portal = dev.word("gateway");
    let chap = || {
        let chap: [(&str, Variant<'_>); 2] =
            [("username", "libvirtd".into()), ("secret", "mypassword12".into())];
        HashMap::from(chap)
    };
    let fails_with = |result: Result<_, Fault>, kind: Kind| {
        let _: Vec<_> = match result {
            Err(fault) if fault.kind() == kind => return,
            other => other.unwrap(),
        };
        panic!("it did not fail with {kind:?}");
    };

    assert_eq!(dev.turn("refuse-chap").await, "ok");
    fails_with(client.connect(&portal, chap()).await, Kind::ChapRejected);
    assert_eq!(dev.turn("accept-chap").await, "ok");
    assert_eq!(dev.turn("deny connect").await, "ok");
    fails_with(client.connect(&portal, chap()).await, Kind::AccessDenied);
    assert_eq!(dev.turn("dismiss connect").await, "ok");
    fails_with(client.connect(&portal, chap()).await, Kind::AuthenticationDismissed);
    assert_eq!(dev.turn("allow connect").await, "ok");
    let entries = client.connect(&portal, chap()).await.unwrap();
    assert!(entries.len() == 2 && entries.iter().all(|entry| entry.maps.len() == 2), "{entries:?}");

    // What is wrong with a line is said, and nothing else happens.
    for line in [
        "dance",
        "deny dance",
        "pull-cable 192.0.2.1",
        "hold nothing qemu",
        "resize-lun 9 1",
        "ask login",
        "chmod etc/iscsid.conf soon",
        "chmod etc/none 600",
    ] {
        let answer = dev.turn(line).await;
        assert!(answer.starts_with("error: "), "{line}: {answer}");
    }
    assert_eq!(dev.turn("chmod etc/iscsid.conf 644").await, "ok");
    assert_eq!(dev.turn("chmod etc/iscsid.conf").await, "644");
    assert_eq!(dev.turn(&format!("pull-cable {portal}")).await, "ok");
    let began = Instant::now();
    loop {
        let paths = client.list_paths(HashMap::new()).await.unwrap();
        let broken = paths.iter().filter(|path| path.portal == portal && path.session_state != "LOGGED_IN");
        if broken.count() == 2 {
            assert_eq!(paths.len(), 4);
            break;
        }
        assert!(began.elapsed() < DEADLINE, "{paths:?}");
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(dev.turn(&format!("plug-cable {portal}")).await, "ok");
    // Who calls meanwhile hears at once that there is no daemon; afterwards it has all that the machine has.
    assert_eq!(dev.turn("kill-daemon").await, "ok");
    assert!(dev.turn("kill-daemon").await.starts_with("error: "));
    let gone = client.list_paths(HashMap::new()).await.unwrap_err();
    assert!(gone.error_name().ends_with(".ServiceUnknown"), "{gone:?}");
    assert_eq!(dev.turn("start-daemon").await, "ok");
    assert!(dev.turn("start-daemon").await.starts_with("error: "));
    assert_eq!(client.list_paths(HashMap::new()).await.unwrap().len(), 4);
    dev.send("quit").await;
    dev.ends().await;
}

#[tokio::test]
async fn it_ends_with_its_input_and_by_a_signal() {
    let (mut one, two) = (Dev::start().await, Dev::start().await);
    drop(one.input.take());
    one.ends().await;
    let pid = two.process.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    two.ends().await;
}

#[tokio::test]
async fn the_page_for_newcomers_lists_every_knob() {
    let mut dev = Dev::start().await;
    let page = fs::read_to_string(PAGE).unwrap();
    let mut line = dev.turn("help").await;
    loop {
        assert!(page.lines().any(|other| other.trim_end() == line), "{PAGE} does not have: {line}");
        if line.starts_with("quit ") {
            break;
        }
        line = dev.line().await;
    }
}
