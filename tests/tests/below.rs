//! What the daemon trusts below it is root's: iscsid's and multipathd's sockets. And what it starts gets nothing from a
//! caller. Abstract names are the machine's own; who squats on one is another user's thread.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{
    io::{ErrorKind, Read as _},
    os::{
        fd::OwnedFd,
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    time::Instant,
};

use crate::room::{Options, Room, SECRET, TARGET, fails, option};
use iscsi_initiator_dbus::{
    Fault, Kind,
    results::{CheckState, Finding},
};
use iscsi_initiator_tests::harness::{DEADLINE, STRANGER};
use rustix::{
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
    process::Uid,
};
use zbus::Variant;

/// A socket that a stranger listens on.
fn squat(name: &str) -> UnixListener {
    let name = name.to_owned();
    let binding = std::thread::spawn(move || {
        let uid = Uid::from_raw(STRANGER.uid);
        // Of this thread alone.
        rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
        let (name, until) = (SocketAddr::from_abstract_name(name).unwrap(), Instant::now() + DEADLINE);
        loop {
            match UnixListener::bind_addr(&name) {
                // A program that another test is starting has a copy of the socket that was closed, until its own code runs.
                Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < until => {
                    std::thread::yield_now();
                }
                socket => return socket.unwrap(),
            }
        }
    });
    binding.join().unwrap()
}

/// All that was sent there.
fn received(socket: &UnixListener) -> Vec<u8> {
    socket.set_nonblocking(true).unwrap();
    let mut all = Vec::new();
    while let Ok((mut stream, _)) = socket.accept() {
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.read_to_end(&mut all).unwrap();
    }
    all
}

async fn examine(room: &Room) -> Vec<Finding> {
    room.client().await.examine(option("timeout", 60_u32)).await.unwrap()
}

#[tokio::test]
async fn a_user_who_holds_iscsids_socket_gets_nothing_and_is_named() {
    let (room, [portal, _]) = Room::logged_in().await;
    let (calls, records) = (room.machine.calls(), room.machine.database());
    room.machine.open_iscsid_socket(false);
    let squatter = squat(&room.machine.iscsid_socket());
    let words = format!("held by uid {} (process {}), not by root", STRANGER.uid, std::process::id());
    let refused = |fault: Fault| {
        let hint =
            format!("end that process: sudo kill {} && systemctl restart iscsid.socket", std::process::id());
        assert_eq!(fault.next_step(), hint);
    };
    let client = room.client().await;
    refused(fails(client.logout(TARGET, "", Options::new()).await, Kind::BackendUnavailable, &words));
    let chap = || Options::from([("username", Variant::from("libvirtd")), ("secret", Variant::from(SECRET))]);
    refused(fails(client.connect(&portal.to_string(), chap()).await, Kind::BackendUnavailable, &words));
    room.machine.add_gateway("iqn.2003-01.com.example:second", crate::room::chap());
    room.machine.record("iqn.2003-01.com.example:second", "127.0.0.1", portal.port(), "");
    let login = client.login("iqn.2003-01.com.example:second", "", Options::new()).await;
    refused(fails(login, Kind::BackendUnavailable, &words));
    let checks = client.diagnose(TARGET, "", Options::new()).await.unwrap();
    let check = checks.iter().find(|check| check.name == "iscsid").unwrap();
    assert!(check.state == CheckState::Failed && check.detail.contains(&words), "{check:?}");
    let found = examine(&room).await;
    let finding = found.iter().find(|finding| finding.name == "iscsid").unwrap();
    assert!(finding.state == CheckState::Failed && finding.detail.contains(&words), "{finding:?}");
    assert_eq!(received(&squatter), b"");
    let login = |calls: &str| calls.matches("[--log").count();
    assert_eq!(login(&room.machine.calls()), login(&calls), "iscsiadm was started");
    room.machine.remove("db/nodes/iqn.2003-01.com.example:second");
    assert_eq!(room.machine.database(), records);
    // Once root holds the name again, all is well.
    drop(squatter);
    room.machine.open_iscsid_socket(true);
    client.logout(TARGET, "", Options::new()).await.unwrap();
}

#[tokio::test]
async fn a_user_who_holds_multipathds_socket_is_sent_no_command() {
    let (room, _) = Room::logged_in().await;
    room.machine.close_multipathd_socket();
    let squatter = squat(&room.machine.multipathd_socket());
    let words = format!("multipathd's socket is held by uid {}, not by root", STRANGER.uid);
    let fault =
        fails(room.client().await.logout(TARGET, "", Options::new()).await, Kind::BackendUnavailable, &words);
    assert!(fault.next_step().contains("systemctl restart multipathd"), "{fault:?}");
    // What the kernel shows is there without multipathd.
    assert_eq!(room.client().await.list_paths(Options::new()).await.unwrap().len(), 4);
    assert_eq!(received(&squatter), b"");
}

#[tokio::test]
async fn a_multipathd_that_does_not_accept_holds_nobody() {
    let (room, _) = Room::logged_in().await;
    room.machine.close_multipathd_socket();
    let address = SocketAddrUnix::new_abstract_name(room.machine.multipathd_socket().as_bytes()).unwrap();
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let connect = || {
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
            None,
        )?;
        rustix::net::connect(&socket, &address).map(|()| socket)
    };
    let queue: Vec<OwnedFd> = std::iter::from_fn(|| connect().ok()).collect();
    assert!(!queue.is_empty());
    let client = room.client().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = client.clone();
        calls.spawn(async move { client.list_paths(Options::new()).await.map(|paths| paths.len()) });
    }
    // A connection that waits for a place in the queue would wait for ever.
    for answer in calls.join_all().await {
        assert_eq!(answer.unwrap(), 4);
    }
    let logout = client.logout(TARGET, "", Options::new()).await;
    fails(logout, Kind::BackendUnavailable, "multipathd does not answer");
    drop(queue);
}
