//! The daemon leaves when it is idle, and each call around that moment is answered: by it, or by the next one.
//! A call that runs when it is asked to stop is answered, too. Each daemon is a process that the bus starts, with the
//! end of life of the program and a short wait before it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{collections::BTreeSet, fs, path::Path};

use iscsi_initiator_dbus::{
    BUS_NAME, Kind,
    objects::{Event, Id},
    proxy::InitiatorProxy,
    watch::Watcher,
};
use iscsi_initiator_fake::{Bus, Machine, polkit};
use iscsi_initiatord::{Layout, connect, live, serve};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Duration, sleep};
use zbus::{Connection, fdo::DBusProxy};

const ENTRANCE: &str = "a_daemon_that_the_bus_starts";
/// The bus hands its own environment on.
const ROOT: &str = "LIFE_ROOT";
const ADDRESS: &str = "DBUS_STARTER_ADDRESS";
const QUIET: Duration = Duration::from_millis(60);

/// In the process that the bus starts; without its variables, nothing.
#[test]
fn a_daemon_that_the_bus_starts() {
    let (Ok(root), Ok(address)) = (std::env::var(ROOT), std::env::var(ADDRESS)) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let connection = connect(&address.parse().unwrap()).await.unwrap();
        let activity = serve(&connection, Layout::below(Path::new(&root))).await.unwrap();
        // The last one loses its bus with the test.
        drop(live(&connection, &activity, QUIET).await);
    });
}

fn put(path: &Path, text: &str) {
    #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
    fs::write(path, text).unwrap();
}

/// A bus that starts the daemon for a call.
fn bus(folder: &Path, root: &Path) -> Bus {
    let program = std::env::current_exe().unwrap();
    // The bus's own output, which it would inherit, is closed.
    let exec = format!(
        "/bin/sh -c \"exec {} --exact {ENTRANCE} --nocapture --test-threads=1 >/dev/null\"",
        program.display()
    );
    put(
        &folder.join(format!("{BUS_NAME}.service")),
        &format!("[D-BUS Service]\nName={BUS_NAME}\nExec=/usr/bin/env {ROOT}={} {exec}\n", root.display()),
    );
    let here = folder.display();
    put(
        &folder.join("bus.conf"),
        &format!(
            "<busconfig><type>session</type><listen>unix:path={here}/bus</listen><servicedir>{here}</servicedir>\
             <policy context=\"default\"><allow send_destination=\"*\"/><allow receive_sender=\"*\"/><allow own=\"*\"/></policy>\
             </busconfig>"
        ),
    );
    Bus::with_config(&folder.join("bus.conf"))
}

/// What the daemons live on: the bus with its folder, and a polkit that allows everything.
struct Home {
    _folder: tempfile::TempDir,
    bus: Bus,
    _authority: Connection,
}

/// A home, and a client there.
async fn home(machine: &Machine) -> (Home, InitiatorProxy<'static>, DBusProxy<'static>) {
    let folder = tempfile::tempdir().unwrap();
    let bus = bus(folder.path(), &machine.root());
    let authority = bus.connect().await;
    let _denied = polkit::serve(&authority, &[]).await;
    let connection: Connection = bus.connect().await;
    let names = DBusProxy::new(&connection).await.unwrap();
    let client = InitiatorProxy::new(&connection).await.unwrap();
    (Home { _folder: folder, bus, _authority: authority }, client, names)
}

/// Who answers to the name; empty between two daemons.
async fn owner(bus: &DBusProxy<'_>) -> String {
    bus.get_name_owner(BUS_NAME.try_into().unwrap()).await.map(|name| name.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn each_call_around_the_moment_at_which_it_leaves_is_answered() {
    let machine = Machine::new();
    let (_home, client, names) = home(&machine).await;
    let mut owners = BTreeSet::new();
    // Around the moment, on either side of it and ever closer; the call itself begins the wait anew.
    for round in 0..60_u32 {
        let offset = Duration::from_micros(u64::from(round % 30) * 400);
        sleep(if round < 30 { QUIET.saturating_sub(offset) } else { QUIET + offset }).await;
        let answer = client.list_paths(std::collections::HashMap::new()).await;
        assert!(answer.is_ok(), "round {round}: {answer:?}");
        owners.insert(owner(&names).await);
    }
    owners.remove("");
    assert!((5..60).contains(&owners.len()), "it did not leave, or left at once: {owners:?}");
}

#[tokio::test]
async fn a_call_that_runs_when_it_is_asked_to_stop_is_answered() {
    let machine = Machine::new();
    let (_home, client, names) = home(&machine).await;
    // It accepts connections, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let portal = silent.local_addr().unwrap().to_string();
    let options = std::collections::HashMap::from([("timeout", zbus::Variant::from(2_u32))]);
    let (answer, ()) = tokio::join!(client.discover(&portal, options), async {
        sleep(Duration::from_secs(1)).await;
        let daemon = names.get_connection_unix_process_id(BUS_NAME.try_into().unwrap()).await.unwrap();
        let daemon = Pid::from_raw(i32::try_from(daemon).unwrap()).unwrap();
        kill_process(daemon, Signal::TERM).unwrap();
    });
    let fault = answer.unwrap_err();
    assert_eq!(fault.kind(), Kind::TimedOut, "{fault}");
}

/// How long a process may take to end: what it waits for when it is asked to stop, and a busy machine.
const ENDS: Duration = Duration::from_secs(60);

/// Waits for the end of a process.
async fn ended(pid: Pid) {
    let state = || fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let is_running = || !state().is_empty() && !state().contains(") Z ");
    let ending = async {
        while is_running() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(tokio::time::timeout(ENDS, ending).await.is_ok(), "it still runs");
}

#[tokio::test]
async fn a_thread_that_hangs_does_not_keep_the_daemon() {
    let machine = Machine::new();
    // To open it blocks: as a resolver whose name server does not answer.
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let hosts = machine.at("etc/hosts");
    rustix::fs::mknodat(rustix::fs::CWD, &hosts, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let (_home, client, names) = home(&machine).await;
    for is_asked in [false, true] {
        let options = std::collections::HashMap::from([("timeout", zbus::Variant::from(1_u32))]);
        let discovery = client.discover("slow.example.com", options);
        let look = async {
            sleep(Duration::from_millis(300)).await;
            let daemon = names.get_connection_unix_process_id(BUS_NAME.try_into().unwrap()).await.unwrap();
            Pid::from_raw(i32::try_from(daemon).unwrap()).unwrap()
        };
        let (answer, daemon) = tokio::join!(discovery, look);
        let fault = answer.unwrap_err();
        assert_eq!(fault.kind(), Kind::TimedOut, "{fault}");
        if is_asked {
            // It may be about to leave by itself.
            let _ = kill_process(daemon, Signal::TERM);
        }
        ended(daemon).await;
    }
}

/// The process of the daemon that runs.
async fn process(names: &DBusProxy<'_>) -> Pid {
    let daemon = names.get_connection_unix_process_id(BUS_NAME.try_into().unwrap()).await.unwrap();
    Pid::from_raw(i32::try_from(daemon).unwrap()).unwrap()
}

#[tokio::test]
async fn a_daemon_stays_for_its_watchers_and_leaves_when_the_last_has_left() {
    let machine = Machine::new();
    let (home, client, names) = home(&machine).await;
    for is_stopped in [true, false] {
        let connection = home.bus.connect().await;
        let watcher = Watcher::start(&connection).await.unwrap();
        let daemon = process(&names).await;
        sleep(QUIET * 20).await;
        client.list_paths(std::collections::HashMap::new()).await.unwrap();
        sleep(QUIET * 20).await;
        assert_eq!(process(&names).await, daemon, "it left with a watcher on the bus");
        if is_stopped {
            watcher.stop().await.unwrap();
        } else {
            drop(watcher);
            connection.close().await.unwrap();
        }
        ended(daemon).await;
    }
}

#[tokio::test]
async fn a_watcher_notices_that_the_daemon_is_another_one_and_reads_it_anew() {
    let machine = Machine::new();
    let (home, _client, names) = home(&machine).await;
    let connection = home.bus.connect().await;
    let mut watcher = Watcher::start(&connection).await.unwrap();
    let mut known = Vec::new();
    for (signal, portal) in [(Signal::KILL, "192.0.2.21"), (Signal::TERM, "192.0.2.37")] {
        let daemon = process(&names).await;
        kill_process(daemon, signal).unwrap();
        ended(daemon).await;
        let sid = machine.session("iqn.2001-04.com.example:empty", portal, "3260");
        known.push(sid);
        // No daemon was there to report it.
        let mut events = Vec::new();
        while events.last() != Some(&Event::Added(Id::session(sid))) {
            events.push(tokio::time::timeout(ENDS, watcher.next()).await.unwrap().unwrap());
        }
        assert_eq!(events[0], Event::Restarted, "{events:?}");
        let sids: Vec<u32> = watcher.model().sessions().map(|(_, session)| session.sid).collect();
        assert_eq!(sids, known);
        assert_ne!(process(&names).await, daemon);
    }
    // And it hears of what happens to this one.
    while let Ok(event) = tokio::time::timeout(Duration::ZERO, watcher.next()).await {
        event.unwrap();
    }
    let sid = machine.session("iqn.2001-04.com.example:empty", "192.0.2.22", "3260");
    let event = tokio::time::timeout(ENDS, watcher.next()).await.unwrap().unwrap();
    assert_eq!(event, Event::Added(Id::session(sid)));
}
