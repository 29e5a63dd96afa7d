//! `iscsictl monitor` against a fake daemon on a bus of its own: what people and programs get of what changes.
//! Must not test the daemon: only what is made of its signals.

#![expect(unreachable_pub, reason = "the fake is a module of this test only")]
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of a test that fails, fails the test"
)]

mod fake;

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::{Duration, Instant},
};

use fake::{Bus, DISKS, HOSTILE, SLOW, Terminal};
use iscsi_initiator_dbus::{
    objects::{Disk, Id, Node, Object, Session},
    results::{Health, Path},
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// No test waits longer for what must come.
const DEADLINE: Duration = Duration::from_secs(60);
const OTHER: &str = "iqn.2003-01.com.example:other";
const PORTALS: [&str; 2] = ["192.0.2.21:3260", "192.0.2.37:3260"];

fn session(sid: u32, target: &str, state: &str) -> (Id, Object) {
    let mut session = Session::default();
    (session.sid, session.target, session.state) = (sid, target.to_owned(), state.to_owned());
    session.portal = PORTALS[usize::from(sid.is_multiple_of(2))].to_owned();
    session.disks = vec![Id::disk("naa.1", 1, 0).path()];
    (Id::session(sid), Object::Session(session))
}

/// A disk with a path through each session of the target.
fn disk(states: [&str; 2], health: Health) -> (Id, Object) {
    let mut disk = Disk::default();
    (disk.map, disk.map_device, disk.wwid) = ("mpatha".to_owned(), "dm-0".to_owned(), "naa.1".to_owned());
    (disk.size, disk.health, disk.model) = (64 << 20, health, HOSTILE.to_owned());
    disk.targets = vec![DISKS.to_owned()];
    disk.paths = (1..)
        .zip(["sda", "sdb"])
        .zip(states)
        .map(|((sid, device), state)| {
            let mut path = Path::default();
            (path.sid, path.device, path.dm_state) = (sid, device.to_owned(), state.to_owned());
            (path.target, path.map) = (DISKS.to_owned(), "mpatha".to_owned());
            (path.map_device, path.wwid) = ("dm-0".to_owned(), "naa.1".to_owned());
            (path.size, path.model) = (64 << 20, HOSTILE.to_owned());
            path.portal = PORTALS[usize::from(sid.is_multiple_of(2))].to_owned();
            path
        })
        .collect();
    (Id::disk("naa.1", 1, 0), Object::Disk(disk))
}

fn put(bus: &Bus, (id, object): (Id, Object)) {
    bus.put(&id, object);
}

/// A daemon with two sessions, and one disk whose paths work.
fn well() -> Bus {
    let bus = Bus::empty();
    put(&bus, session(1, DISKS, "LOGGED_IN"));
    put(&bus, session(2, DISKS, "LOGGED_IN"));
    put(&bus, disk(["active", "active"], Health::Optimal));
    bus.restart()
}

/// `iscsictl`, and its lines as they come.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(bus: &Bus, args: &[&str]) -> Self {
        Self::run(&mut bus.iscsictl(args))
    }

    fn run(command: &mut Command) -> Self {
        let mut child = command.env("TZ", "UTC").spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| send.send(line)));
        Self { child, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap()
    }

    /// A line without its time.
    fn told(&self) -> String {
        let line = self.line();
        let (time, told) = line.split_at(21);
        let form: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(form, "0000-00-00 00:00:00  ", "{line}");
        told.to_owned()
    }

    fn record(&self) -> Value {
        let line = self.line();
        let record: Value = serde_json::from_str(&line).unwrap();
        let keys: Vec<&str> = record.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["event", "message", "object", "path", "properties", "time"], "{line}");
        record
    }

    /// The events up to the first of this kind, with what they are about.
    fn until(&self, event: &str) -> Vec<(String, String)> {
        let mut records = Vec::new();
        loop {
            let record = self.record();
            let word = |key: &str| record[key].as_str().unwrap().to_owned();
            records.push((word("event"), word("object")));
            if record["event"] == event {
                return records;
            }
        }
    }

    /// How it ends, and what it says on standard error; no line is left.
    fn end(mut self) -> (Option<i32>, String) {
        match self.lines.recv_timeout(DEADLINE) {
            Err(RecvTimeoutError::Disconnected) => {}
            line => panic!("{line:?}"),
        }
        let mut said = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

#[test]
fn a_program_gets_all_that_is_there_and_then_each_change_as_a_line() {
    let bus = well();
    let running = Running::start(&bus, &["monitor", "--json"]);
    let began = running.until("watching");
    let of = |event: &str, object: &str| (event.to_owned(), object.to_owned());
    let [present, daemon] = [of("present", "session"), of("watching", "daemon")];
    assert_eq!(began, [present.clone(), present, of("present", "disk"), daemon]);

    put(&bus, session(2, DISKS, "FAILED"));
    let record = running.record();
    assert_eq!((&record["event"], &record["object"]), (&json!("changed"), &json!("session")));
    assert_eq!(record["path"], "/org/cloudatlas/IscsiInitiator/sessions/2");
    assert_eq!(record["properties"], json!({ "State": "FAILED" }));
    assert!(record["time"].as_f64().unwrap() > 1_700_000_000.0);
    put(&bus, disk(["active", "failed"], Health::Degraded));
    let record = running.record();
    assert_eq!(record["properties"]["Health"], "degraded");
    assert_eq!(record["properties"]["Paths"][1]["dm-state"], "failed");

    let mut node = Node::default();
    (node.target, node.portal) = (OTHER.to_owned(), PORTALS[0].to_owned());
    let id = Id::node(OTHER, PORTALS[0], "default");
    bus.put(&id, Object::Node(node));
    let record = running.record();
    assert_eq!((&record["event"], &record["properties"]["Target"]), (&json!("added"), &json!(OTHER)));
    bus.take(&id);
    let record = running.record();
    assert_eq!((&record["event"], &record["properties"]["Target"]), (&json!("removed"), &json!(OTHER)));

    running.signal(Signal::INT);
    assert_eq!(running.end(), (Some(130), String::new()));
}

#[test]
fn without_a_terminal_each_event_is_a_line_with_its_time() {
    let bus = well();
    let running = Running::start(&bus, &["monitor"]);
    let at = |sid: usize| format!("session {sid} ({DISKS} at {})", PORTALS[sid - 1]);
    assert_eq!(running.told(), format!("{}: LOGGED_IN", at(1)));
    assert_eq!(running.told(), format!("{}: LOGGED_IN", at(2)));
    let model = "\\u{1b}[2Jgw\\u{202e}";
    assert_eq!(running.told(), format!("disk mpatha: optimal 64 MiB {model} naa.1, 2 paths"));
    put(&bus, session(2, DISKS, "FAILED"));
    assert_eq!(running.told(), format!("{}: FAILED (was LOGGED_IN)", at(2)));
    put(&bus, disk(["active", "failed"], Health::Degraded));
    let path = format!("path sdb at {}", PORTALS[1]);
    assert_eq!(running.told(), format!("disk mpatha: {path} FAILED: path failed (was ok)"));
    assert_eq!(running.told(), "disk mpatha: degraded (was optimal)");
    bus.take(&Id::session(2));
    assert_eq!(running.told(), format!("{}: ended", at(2)));
    running.signal(Signal::TERM);
    assert_eq!(running.end(), (Some(143), String::new()));
}

#[test]
fn what_it_was_started_to_ignore_does_not_end_it() {
    let bus = well();
    let mut command = fake::command("sh");
    // As nohup does, and a shell without job control in the background.
    command.args(["-c", "trap '' HUP INT; exec \"$0\" monitor --json", env!("CARGO_BIN_EXE_iscsictl")]);
    command.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).stdin(Stdio::null());
    let running = Running::run(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    running.until("watching");
    running.signal(Signal::HUP);
    running.signal(Signal::INT);
    put(&bus, session(2, DISKS, "FAILED"));
    assert_eq!(running.record()["properties"], json!({ "State": "FAILED" }));
    running.signal(Signal::TERM);
    assert_eq!(running.end(), (Some(143), String::new()));
}

#[test]
fn only_what_is_asked_for_is_shown() {
    let bus = well();
    put(&bus, session(3, OTHER, "LOGGED_IN"));
    let running = Running::start(&bus, &["monitor", OTHER, "--json"]);
    let record = running.record();
    assert_eq!((&record["event"], &record["properties"]["Sid"]), (&json!("present"), &json!(3)));
    assert_eq!(running.record()["event"], "watching");
    put(&bus, session(1, DISKS, "FAILED"));
    put(&bus, session(3, OTHER, "FAILED"));
    assert_eq!(running.record()["path"], "/org/cloudatlas/IscsiInitiator/sessions/3");
    running.signal(Signal::TERM);
    assert_eq!(running.end().0, Some(143));
    let ended = bus.run(&["monitor", "gateway.example"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("the portal is numeric here"), "{}", ended.err);
}

#[test]
fn a_daemon_that_is_replaced_is_followed() {
    let mut bus = well();
    let program = Running::start(&bus, &["monitor", "--json"]);
    let person = Running::start(&bus, &["monitor"]);
    program.until("watching");
    for _ in 0..3 {
        person.told();
    }
    bus.crash();
    let lost = program.record();
    assert_eq!((&lost["event"], &lost["object"]), (&json!("lost"), &json!("daemon")));
    assert!(lost["message"].as_str().unwrap().starts_with("cannot reach the service"), "{lost}");
    assert!(person.told().starts_with("the daemon is gone, and is tried again: cannot reach the service"));
    put(&bus, session(2, DISKS, "FAILED"));
    let bus = bus.restart();
    let found = program.record();
    assert_eq!((&found["event"], &found["object"]), (&json!("found"), &json!("daemon")));
    assert_eq!(person.told(), "the daemon is followed again");
    assert_eq!(program.record()["event"], "restarted");
    assert_eq!(person.told(), "the daemon was restarted; everything was read again");
    assert_eq!(program.record()["properties"], json!({ "State": "FAILED" }));
    assert!(person.told().ends_with("FAILED (was LOGGED_IN)"));
    // It is a watcher of the new one.
    put(&bus, session(2, DISKS, "LOGGED_IN"));
    assert_eq!(program.record()["properties"], json!({ "State": "LOGGED_IN" }));
    assert!(person.told().ends_with("LOGGED_IN (was FAILED)"));
    bus.end();
    for (running, is_json) in [(program, true), (person, false)] {
        let (code, said) = running.end();
        assert_eq!(code, Some(12), "{said}");
        assert!(said.contains("the connection to the system bus was lost"), "{said}");
        assert_eq!(said.starts_with('{'), is_json, "{said}");
    }
}

#[test]
fn who_may_not_look_ends_with_3_and_an_older_daemon_is_named() {
    let bus = well();
    bus.forbid();
    let ended = bus.run(&["monitor"]);
    assert_eq!((ended.code, ended.out.as_str()), (3, ""));
    assert!(ended.err.ends_with(": sudo iscsictl monitor\n"), "{}", ended.err);
    let older = Bus::older();
    let ended = older.run(&["monitor", "--json"]);
    assert_eq!((ended.code, ended.out.as_str()), (1, ""));
    let error: Value = serde_json::from_str(&ended.err).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let message = format!("the daemon's version {version} cannot report changes as they happen");
    assert_eq!(error["message"], message);
    assert!(error["hint"].as_str().unwrap().ends_with(": systemctl restart iscsi-initiatord"), "{error}");
    assert_eq!(Bus::empty().run(&["monitor"]).code, 12);
}

#[test]
fn a_reader_that_leaves_ends_it_although_nothing_happens() {
    let bus = well();
    let mut child = bus.iscsictl(&["monitor", "--json"]).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.contains("\"present\""), "{line}");
    drop(output);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// The settings of the terminal before and after, and the exit code.
const LOOK: &str = "stty -g >before; \"$ISCSICTL\" monitor; echo code=$?; stty -g >after; \
    if cmp before after; then echo same; fi";

/// A shell on a terminal, in a folder of its own.
fn on_terminal(bus: &Bus, size: (u16, u16), line: &str) -> (Terminal, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let line = format!("cd '{}'; trap : INT; echo earlier; {line}", folder.path().display());
    (bus.terminal_of(size, &line), folder)
}

#[test]
fn a_terminal_gets_a_table_that_follows_what_happens_and_then_what_it_had() {
    let bus = well();
    let (mut terminal, _folder) = on_terminal(&bus, (100, 30), LOOK);
    let seen = terminal.until("the first picture", |seen| seen.contains("sdb"));
    let lines: Vec<&str> = seen.lines().collect();
    assert!(lines[0].contains("  2 sessions; 1 disk  ") && lines[0].ends_with("q quits"), "{seen}");
    assert!(seen.contains(&format!("{DISKS}  192.0.2.37:3260  2        LOGGED_IN")), "{seen}");
    assert!(seen.contains("optimal  mpatha  dm-0  64 MiB  \\u{1b}[2Jgw\\u{202e}  naa.1"), "{seen}");

    put(&bus, disk(["active", "failed"], Health::Degraded));
    let seen = terminal.until("a change", |seen| seen.contains("degraded (was optimal)"));
    assert!(seen.contains("degraded  mpatha") && seen.contains("FAILED: path failed"), "{seen}");
    assert!(seen.contains("1 disk, 1 not well"), "{seen}");
    let event = seen.lines().last().unwrap();
    assert!(event.ends_with("  disk mpatha: degraded (was optimal)"), "{seen}");
    assert_eq!(event.as_bytes()[2], b':', "{seen}");

    let drawn = terminal.written.len();
    terminal.resize(60, 8);
    let seen = terminal.until("a smaller picture", |seen| seen.contains("more"));
    assert!(seen.lines().count() <= 8 && !seen.contains("was optimal"), "{seen}");
    let drawn = String::from_utf8_lossy(&terminal.written[drawn..]).into_owned();
    assert!(drawn.contains("\x1b[?2026h\x1b[2J"), "cleared at once with what is drawn: {drawn:?}");
    assert_eq!(drawn.matches("\x1b[2J").count(), 1, "{drawn:?}");
    terminal.resize(200, 30);
    terminal.until("a larger picture", |seen| seen.contains("was optimal") && seen.contains("sdb"));

    terminal.press("xq");
    let seen = terminal.end();
    assert_eq!(seen, "earlier\ncode=0\nsame");
}

#[test]
fn only_what_changed_is_drawn() {
    let bus = well();
    let (mut terminal, _folder) = on_terminal(&bus, (100, 30), LOOK);
    terminal.until("the first picture", |seen| seen.contains("sdb"));
    let before = terminal.written.len();
    put(&bus, session(2, DISKS, "FAILED"));
    terminal.until("the change", |seen| seen.contains("FAILED (was LOGGED_IN)"));
    let drawn = String::from_utf8_lossy(&terminal.written[before..]).into_owned();
    assert!(!drawn.contains("sda") && !drawn.contains("\x1b[2J"), "{drawn:?}");
    assert!(drawn.starts_with("\x1b[?2026h"), "{drawn:?}");
    terminal.press("q");
    terminal.end();
}

#[test]
fn an_interrupt_and_a_signal_leave_the_terminal_as_it_was() {
    let bus = well();
    let (mut terminal, _folder) = on_terminal(&bus, (100, 30), LOOK);
    terminal.until("the first picture", |seen| seen.contains("sdb"));
    terminal.press("\x03");
    assert_eq!(terminal.end(), "earlier\ncode=130\nsame");

    let line = LOOK.replace("\"$ISCSICTL\"", "sh -c 'echo $$ >pid; exec \"$ISCSICTL\" monitor'; :");
    let (mut terminal, folder) = on_terminal(&bus, (100, 30), &line);
    terminal.until("the first picture", |seen| seen.contains("sdb"));
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap().trim().parse().unwrap();
    let pid = Pid::from_raw(pid).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    assert!(terminal.end().ends_with("same"));
}

#[test]
fn a_stop_gives_the_terminal_back_and_the_table_returns_with_the_program() {
    let bus = well();
    let line = LOOK.replace("\"$ISCSICTL\" monitor", "sh -c 'echo $$ >pid; exec \"$ISCSICTL\" monitor'");
    let (mut terminal, folder) = on_terminal(&bus, (100, 30), &line);
    terminal.until("the first picture", |seen| seen.contains("sdb"));
    let pid = std::fs::read_to_string(folder.path().join("pid")).unwrap().trim().parse().unwrap();
    terminal.press("\x1a");
    terminal.until("the earlier screen", |seen| seen.starts_with("earlier"));
    let state = || std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    while !state().contains(") T ") {
        std::thread::yield_now();
    }
    put(&bus, session(2, DISKS, "FAILED"));
    kill_process(Pid::from_raw(pid).unwrap(), Signal::CONT).unwrap();
    terminal.until("the table again", |seen| seen.contains("FAILED (was LOGGED_IN)"));
    terminal.press("q");
    assert_eq!(terminal.end(), "earlier\ncode=0\nsame");
}

/// A program in the background of a shell, which is ended there; another one, which is fetched from there, stopped,
/// and ended.
const JOBS: &str = "set -m; stty -echo; stty -g >before; \
    \"$ISCSICTL\" monitor & echo $! >first; read line; \
    kill %1; kill -CONT %1 2>&-; wait %1; echo code=$?; \
    \"$ISCSICTL\" monitor & echo $! >second; read line; fg >/dev/null; \
    echo stopped; read line; kill %1; kill -CONT %1 2>&-; wait %1; echo code=$?; \
    stty -g >after; if cmp before after; then echo same; fi";

#[test]
fn in_the_background_it_leaves_the_terminal_to_the_shell_and_can_be_ended() {
    let bus = well();
    let (mut terminal, folder) = on_terminal(&bus, (100, 30), JOBS);
    // Stopped, or with the thread that waits for keys.
    let has_begun = |file: &str| {
        let pid = std::fs::read_to_string(folder.path().join(file)).unwrap_or_default();
        let status = std::fs::read_to_string(format!("/proc/{}/status", pid.trim())).unwrap_or_default();
        let has = |line: &str| status.lines().any(|known| known.starts_with(line));
        has("State:\tT") || (has("Threads:") && !has("Threads:\t1"))
    };
    let wait = |file: &str| {
        let end = Instant::now() + DEADLINE;
        while !has_begun(file) {
            assert!(Instant::now() < end, "{file} does not begin");
            std::thread::yield_now();
        }
    };
    wait("first");
    terminal.press("\n");
    let seen = terminal.until("the end of the first", |seen| seen.contains("code="));
    assert!(seen.starts_with("earlier\n") && seen.contains("code=143"), "{seen}");
    assert!(!terminal.written.contains(&0x1b), "{:?}", String::from_utf8_lossy(&terminal.written));

    wait("second");
    terminal.press("\n");
    terminal.until("the table", |seen| seen.contains("sdb"));
    terminal.press("\x1a");
    terminal.until("the shell", |seen| seen.starts_with("earlier\n") && seen.contains("stopped"));
    terminal.press("\n");
    let seen = terminal.end();
    assert_eq!(seen.matches("code=143").count(), 2, "{seen}");
    assert!(seen.ends_with("same"), "{seen}");
}

#[test]
fn a_terminal_that_cannot_draw_gets_lines_and_one_without_colours_none() {
    let bus = well();
    let line = "TERM=dumb \"$ISCSICTL\" monitor; echo code=$?";
    let (mut terminal, _folder) = on_terminal(&bus, (100, 30), line);
    terminal.until("the first line", |seen| seen.contains("  disk mpatha: optimal"));
    assert!(!terminal.written.contains(&0x1b));
    terminal.press("\x03");
    assert!(terminal.end().ends_with("code=130"));

    let (mut terminal, _folder) = on_terminal(&bus, (100, 30), "NO_COLOR=1 \"$ISCSICTL\" monitor");
    terminal.until("the first picture", |seen| seen.contains("sdb"));
    let written = String::from_utf8_lossy(&terminal.written).into_owned();
    assert!(!written.contains("\x1b[1m") && !written.contains("\x1b[32m"), "{written:?}");
    terminal.press("q");
    terminal.end();
}

#[test]
fn a_table_says_that_the_daemon_is_gone_and_goes_on_with_the_next() {
    let mut bus = well();
    let (mut terminal, _folder) = on_terminal(&bus, (100, 30), LOOK);
    terminal.until("the first picture", |seen| seen.contains("sdb"));
    bus.crash();
    terminal.until("it is gone", |seen| seen.lines().nth(1).unwrap().starts_with("the daemon is gone"));
    put(&bus, session(2, DISKS, "FAILED"));
    let bus = bus.restart();
    terminal.until("it is back", |seen| {
        !seen.lines().nth(1).unwrap().starts_with("the daemon is gone") && seen.contains("1 not well")
    });
    bus.end();
    let seen = terminal.end();
    assert!(seen.contains("iscsictl: the connection to the system bus was lost"), "{seen}");
    assert!(seen.ends_with("code=12\nsame"), "{seen}");
}

#[test]
fn a_daemon_that_is_slow_to_come_back_is_followed_while_the_table_is_drawn() {
    let mut bus = well();
    let (mut terminal, _folder) = on_terminal(&bus, (100, 30), LOOK);
    terminal.until("the first picture", |seen| seen.contains("sdb"));
    bus.crash();
    put(&bus, session(2, DISKS, "FAILED"));
    // Longer than from one look at the rates to the next.
    bus.delay(Duration::from_millis(1500));
    let bus = bus.restart();
    terminal.until("it is back", |seen| seen.contains("everything was read again"));
    terminal.until("what it has", |seen| seen.contains("FAILED (was LOGGED_IN)"));
    put(&bus, session(2, DISKS, "LOGGED_IN"));
    terminal.until("a change", |seen| seen.contains("LOGGED_IN (was FAILED)"));
    terminal.press("q");
    assert_eq!(terminal.end(), "earlier\ncode=0\nsame");
}

#[test]
fn the_list_of_paths_goes_on_with_what_changes() {
    let bus = well();
    let line = "\"$ISCSICTL\" paths --watch; echo code=$?";
    let (mut terminal, _folder) = on_terminal(&bus, (100, 30), line);
    let seen = terminal.until("the list", |seen| seen.contains("no map"));
    assert!(seen.contains("  1 path ") && seen.contains("sda") && !seen.contains("sdb"), "{seen}");
    put(&bus, session(2, DISKS, "FAILED"));
    let seen = terminal.until("the event", |seen| seen.contains("FAILED (was LOGGED_IN)"));
    assert!(seen.lines().last().unwrap().contains("  session 2 ("), "{seen}");
    terminal.press("q");
    assert_eq!(terminal.end(), "earlier\ncode=0");

    let running = Running::start(&bus, &["paths", "--watch", "--json"]);
    running.until("watching");
    bus.put(&Id::node(OTHER, PORTALS[0], "default"), Object::Node(Node::default()));
    put(&bus, session(2, DISKS, "LOGGED_IN"));
    assert_eq!(running.record()["object"], "session", "a record is not among the paths");
    running.signal(Signal::INT);
    assert_eq!(running.end(), (Some(130), String::new()));
}

#[test]
fn a_list_of_paths_that_is_not_there_yet_is_waited_for_and_one_that_is_refused_asked_for_again() {
    let bus = well();
    bus.silent(true);
    let line = "\"$ISCSICTL\" paths --watch; echo code=$?";
    let (mut terminal, _folder) = on_terminal(&bus, (100, 30), line);
    let seen = terminal.until("a picture", |seen| seen.contains("q quits"));
    assert!(seen.ends_with("reading the list of paths …"), "{seen}");
    assert!(!seen.contains("0 paths") && !seen.contains("no session"), "{seen}");
    bus.busy(true);
    bus.silent(false);
    let refused = "out of date, the daemon is asked again: too many calls at once";
    terminal.until("the refusal", |seen| seen.lines().nth(1) == Some(refused));
    bus.busy(false);
    terminal.until("the list", |seen| seen.contains("sda") && !seen.contains("out of date"));
    bus.busy(true);
    put(&bus, session(2, DISKS, "FAILED"));
    let seen = terminal.until("another refusal", |seen| seen.lines().nth(1) == Some(refused));
    assert!(seen.contains("sda"), "what is known stays: {seen}");
    bus.busy(false);
    terminal.until("the list again", |seen| seen.contains("sda") && !seen.contains("out of date"));
    terminal.press("q");
    assert_eq!(terminal.end(), "earlier\ncode=0");
}

#[test]
fn a_target_without_a_session_is_looked_at_again_although_nothing_happens() {
    let bus = well();
    let line = format!("\"$ISCSICTL\" paths {SLOW} --watch; echo code=$?");
    let (mut terminal, _folder) = on_terminal(&bus, (100, 30), &line);
    terminal.until("the list", |seen| seen.contains("held by backup"));
    bus.release();
    terminal.until("the list without it", |seen| seen.contains("no session; see what is recorded"));
    terminal.press("q");
    assert_eq!(terminal.end(), "earlier\ncode=0");
}

#[test]
fn a_daemon_that_has_too_much_to_do_is_asked_again_to_let_it_watch() {
    let mut bus = well();
    let program = Running::start(&bus, &["monitor", "--json"]);
    let person = Running::start(&bus, &["monitor"]);
    let (mut terminal, _folder) = on_terminal(&bus, (100, 30), LOOK);
    program.until("watching");
    for _ in 0..3 {
        person.told();
    }
    terminal.until("the first picture", |seen| seen.contains("sdb"));
    bus.busy(true);
    bus.crash();
    let bus = bus.restart();
    let refused = "out of date, the daemon is asked again: too many calls at once";
    // Before, there may have been no daemon for a moment.
    while program.record()["message"] != "too many calls at once" {}
    while person.told() != refused {}
    terminal.until("the refusal", |seen| seen.lines().nth(1) == Some(refused));
    bus.busy(false);
    assert_eq!(program.record()["event"], "found");
    assert_eq!(person.told(), "the daemon is followed again");
    assert_eq!(program.record()["event"], "restarted");
    assert_eq!(person.told(), "the daemon was restarted; everything was read again");
    terminal.until("what it has", |seen| seen.contains("everything was read again"));
    terminal.press("q");
    assert_eq!(terminal.end(), "earlier\ncode=0\nsame");
}
