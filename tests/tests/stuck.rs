//! What hangs holds its own thread and its own call: root is answered meanwhile, also after many of them.
//! Must not share its process with other tests: the threads that are left hanging are the daemon's, and it is in here.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod room;

use std::{
    io::{Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::{Fault, Kind};
use iscsi_initiator_tests::harness::process::program;
use room::{Machine, Options, Room, TARGET, fails, option, within};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use zbus::Variant;

const PORTAL: &str = "192.0.2.21:3260";
/// How soon root is answered, whatever hangs.
const ANSWERED: Duration = Duration::from_secs(5);

/// A file that blocks who opens it, until this is dropped; then it is gone.
struct Pipe(std::path::PathBuf);

impl Pipe {
    fn new(machine: &Machine, path: &str) -> Self {
        machine.remove(path);
        let path = machine.at(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        mknodat(CWD, &path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        Self(path)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NONBLOCK;
        let both_ends = rustix::fs::open(&self.0, flags, Mode::empty());
        let _ = std::fs::remove_file(&self.0);
        drop(both_ends);
    }
}

async fn is_answered(room: &Room) {
    let asked = Instant::now();
    room.client().await.list_paths(Options::new()).await.unwrap();
    room.client().await.list_nodes(Options::new()).await.unwrap();
    room.client().await.initiator_name().await.unwrap();
    assert!(asked.elapsed() < ANSWERED, "{:?}", asked.elapsed());
}

fn with_fd(fd: OwnedFd) -> Options {
    Options::from([("username", "libvirtd".into()), ("secret-fd", Variant::from(zbus::Fd::from(fd)))])
}

/// A socket that is readable as soon as it has a byte, and out of which a read that may block takes 257.
fn greedy_socket() -> (UnixStream, UnixStream) {
    let (reader, mut writer) = UnixStream::pair().unwrap();
    // SOL_SOCKET, SO_RCVLOWAT: no library sets it without unsafe code.
    let set = "setsockopt(STDIN, 1, 18, pack('i', 257)) or die $!";
    let mut perl = program("perl").into_std();
    let set = perl.args(["-e", set]).stdin(OwnedFd::from(reader.try_clone().unwrap())).status();
    assert!(set.unwrap().success());
    writer.write_all(b"x").unwrap();
    (reader, writer)
}

/// A pipe that is readable again and again, and that another reader empties at once.
fn drained_pipe(end: &Arc<AtomicBool>) -> OwnedFd {
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (mut other, end) = (reader.try_clone().unwrap(), Arc::clone(end));
    std::thread::spawn(move || {
        let flags = rustix::fs::OFlags::NONBLOCK;
        let number = rustix::fd::AsRawFd::as_raw_fd(&other);
        // Opened anew, so that it alone does not block.
        let path = format!("/proc/self/fd/{number}");
        let again = rustix::fs::open(path, rustix::fs::OFlags::RDONLY | flags, Mode::empty()).unwrap();
        let mut again = std::fs::File::from(again);
        while !end.load(Ordering::Relaxed) {
            let _ = writer.write_all(b"x");
            let _ = again.read(&mut [0; 8]);
            std::thread::sleep(Duration::from_millis(1));
        }
        drop(other.read(&mut []));
    });
    reader.into()
}

/// All threads that read secrets are meant: one test at a time.
static SECRETS: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

#[tokio::test]
async fn secrets_whose_other_ends_stay_open_are_given_up_and_a_fifth_is_not_waited_with() {
    let _turn = SECRETS.lock().await;
    let room = Room::start().await;
    let client = room.client().await;
    room.machine.record(TARGET, "192.0.2.21", 3260, "");
    let before = room.machine.picture();
    let asked = Instant::now();
    let (mut ends, mut calls) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (reader, mut writer) = std::io::pipe().unwrap();
        writer.write_all(b"x").unwrap();
        ends.push((reader.try_clone().unwrap(), writer));
        let client = client.clone();
        calls.push(tokio::spawn(async move { client.set_chap("", PORTAL, with_fd(reader.into())).await }));
    }
    let is_begun = |end: &std::io::PipeReader| rustix::io::ioctl_fionread(end).unwrap() == 0;
    while !ends.iter().all(|(reader, _writer)| is_begun(reader)) {
        assert!(asked.elapsed() < ANSWERED);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (fifth, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"x").unwrap();
    drop(writer);
    fails(client.set_chap(TARGET, "", with_fd(fifth.into())).await, Kind::Busy, "secrets");
    // Nobody else waits for them.
    client.list_nodes(Options::new()).await.unwrap();
    assert!(asked.elapsed() < ANSWERED);
    for call in calls {
        let fault = fails(call.await.unwrap(), Kind::InvalidArgs, "timed out");
        assert!(fault.message().starts_with("chap.secret-fd: "), "{fault}");
    }
    assert!(asked.elapsed() < Duration::from_secs(12), "{:?}", asked.elapsed());
    let after = room.machine.picture();
    assert!(before.keys().eq(after.keys()), "a refused secret left a file");
}

#[tokio::test]
async fn twenty_secrets_that_never_come_keep_nobody_waiting_and_are_given_up() {
    let _turn = SECRETS.lock().await;
    let room = Room::start().await;
    room.machine.record(TARGET, "192.0.2.21", 3260, "");
    let (end, mut writers) = (Arc::new(AtomicBool::new(false)), Vec::new());
    for round in 0..5 {
        let mut calls = Vec::new();
        for number in 0..4 {
            let fd = if number % 2 == 0 {
                let (reader, writer) = greedy_socket();
                writers.push(writer);
                reader.into()
            } else {
                drained_pipe(&end)
            };
            let client = room.client().await;
            calls.push(tokio::spawn(async move { client.set_chap(TARGET, "", with_fd(fd)).await }));
        }
        is_answered(&room).await;
        for call in calls {
            let fault: Fault = call.await.unwrap().unwrap_err();
            // A drained pipe may have lost nothing in between.
            assert!(matches!(fault.kind(), Kind::InvalidArgs | Kind::Busy), "{round}: {fault}");
        }
    }
    is_answered(&room).await;
    end.store(true, Ordering::Relaxed);
    // None of the threads that read is held: the next secret is read.
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"mypassword12\n").unwrap();
    drop(writer);
    room.client().await.set_chap(TARGET, "", with_fd(reader.into())).await.unwrap();
}

#[tokio::test]
async fn a_resolver_that_hangs_holds_no_other_call_and_not_more_than_a_share() {
    let room = Room::start().await;
    let hosts = Pipe::new(&room.machine, "etc/hosts");
    let slow = |number: u32| {
        let portal = format!("slow{number}.example.com");
        let client = async { room.client().await };
        async move { client.await.discover(&portal, within(1)).await }
    };
    let first = tokio::join!(slow(1), slow(2), slow(3), slow(4));
    for result in [first.0, first.1, first.2, first.3] {
        fails(result, Kind::TimedOut, "slow");
    }
    is_answered(&room).await;
    for number in 5..25 {
        let asked = Instant::now();
        fails(slow(number).await, Kind::Busy, "too many host names are being resolved");
        assert!(asked.elapsed() < ANSWERED, "{:?}", asked.elapsed());
    }
    is_answered(&room).await;
    // A portal that is a number needs none of that.
    let closed = room.client().await.discover("127.0.0.1:1", within(10)).await;
    fails(closed, Kind::PortalUnreachable, "127.0.0.1");
    assert!(room.client().await.add_node(TARGET, "192.0.2.21", Options::new()).await.is_ok());
    drop(hosts);
    room.machine.put("etc/hosts", "", 0o644);
    let mut back = slow(30).await;
    while back.as_ref().is_err_and(|fault| fault.kind() == Kind::Busy) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        back = slow(30).await;
    }
    fails(back, Kind::PortalUnreachable, "has no address");
}

#[tokio::test]
async fn a_process_that_cannot_be_looked_into_is_named_and_holds_nobody() {
    let (room, _) = Room::logged_in().await;
    let machine = &room.machine;
    machine.put("proc/424242/comm", "hangs\n", 0o444);
    let status =
        |uid: u32| format!("Name:\thangs\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{uid}\nGroups:\t\n");
    machine.put("proc/424242/status", &status(0), 0o444);
    let maps = Pipe::new(machine, "proc/424242/maps");
    for _ in 0..6 {
        let client = room.client().await;
        let logout = tokio::spawn(async move { client.logout(TARGET, "", within(30)).await });
        is_answered(&room).await;
        let words = "may be held open by hangs (pid 424242, uid 0), which could not be inspected";
        fails(logout.await.unwrap(), Kind::InUse, words);
    }
    // Whoever could not have opened the disks does not keep them in use by that.
    machine.put("proc/424242/status", &status(4_000_000), 0o444);
    room.client().await.logout(TARGET, "", within(60)).await.unwrap();
    drop(maps);
}

#[tokio::test]
async fn swap_space_is_not_taken_away_by_force() {
    let (room, _) = Room::logged_in().await;
    room.machine.swap("dm-0", true);
    let fault = room.client().await.logout(TARGET, "", option("force", true)).await;
    let fault = fails(fault, Kind::InUse, "dm-0 is used as swap space");
    assert!(fault.next_step().contains("swapoff"), "{fault}");
    assert_eq!((room.runs("--logout"), room.machine.sessions().len()), (0, 2));
    room.machine.swap("dm-0", false);
    room.client().await.logout(TARGET, "", option("force", true)).await.unwrap();
}
