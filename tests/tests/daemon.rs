//! The daemon through its bus: CHAP into the records, what is recorded, one call at a time, and when it is idle.
//! Must not touch a disk: the machine is a temporary directory, and its targets play scripts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{
    collections::HashMap,
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use crate::room::{
    Room, SECRET, SOON, TARGET, fails,
    machine::{CONF, record_text},
    target::{Chap, Script},
};
use iscsi_initiator_dbus::{
    Fault, Kind,
    proxy::InitiatorProxy,
    results::{ChapMode, NodeState, Startup},
};
use tokio::time::timeout;
use zbus::{MessageStream, Variant, export::ordered_stream::OrderedStreamExt as _, message::Type};

type Options<'a> = HashMap<&'a str, Variant<'a>>;

const PORTAL: &str = "192.0.2.21:3260";

fn chap() -> Options<'static> {
    Options::from([("username", "libvirtd".into()), ("secret", SECRET.into())])
}

fn mutual() -> Options<'static> {
    let target = [("target-username", "gateway".into()), ("target-secret", "theirsecret34".into())];
    chap().into_iter().chain(target).collect()
}

/// The lines that CHAP is in a record.
fn lines(kind: &str, secret: &str) -> String {
    format!(
        "{kind}.auth.authmethod = CHAP\n{kind}.auth.username = libvirtd\n{kind}.auth.password = {secret}\n"
    )
}

#[tokio::test]
async fn chap_goes_into_the_record_and_every_other_line_keeps_its_bytes() {
    let room = Room::start().await;
    let client = room.client().await;
    let path = room.machine.record(TARGET, "192.0.2.21", 3260, "");
    let other = room.machine.record("iqn.2001-04.com.example:other", "192.0.2.21", 3260, "");
    let before = room.machine.picture_of(&other);
    // As a careless administrator may leave it.
    room.machine.put(&path, &record_text(TARGET, "192.0.2.21", 3260, ""), 0o644);

    client.set_chap(TARGET, "", chap()).await.unwrap();
    let one_way = lines("node.session", SECRET);
    assert_eq!(room.machine.text(&path), record_text(TARGET, "192.0.2.21", 3260, &one_way));
    assert_eq!(room.machine.mode(&path), 0o600);

    client.set_chap(TARGET, PORTAL, mutual()).await.unwrap();
    let theirs = "node.session.auth.username_in = gateway\nnode.session.auth.password_in = theirsecret34\n";
    let both = format!("{one_way}{theirs}");
    assert_eq!(room.machine.text(&path), record_text(TARGET, "192.0.2.21", 3260, &both));

    // One-way again: what the target had to prove is gone.
    client.set_chap(TARGET, "", chap()).await.unwrap();
    assert_eq!(room.machine.text(&path), record_text(TARGET, "192.0.2.21", 3260, &one_way));

    client.set_chap(TARGET, "", Options::from([("clear", true.into())])).await.unwrap();
    let none = "node.session.auth.authmethod = None\n";
    assert_eq!(room.machine.text(&path), record_text(TARGET, "192.0.2.21", 3260, none));
    assert!(room.machine.picture_of(&other) == before, "another target's record was touched");
    assert_eq!(room.machine.calls(), "");
}

#[tokio::test]
async fn the_default_and_a_portals_chap_are_private_files() {
    let room = Room::start().await;
    let client = room.client().await;
    let record = room.machine.record(TARGET, "192.0.2.21", 3260, "");
    let before = room.machine.picture_of(&record);
    assert_eq!(room.machine.mode("etc/iscsid.conf"), 0o644);

    client.set_chap("", "", chap()).await.unwrap();
    assert_eq!(room.machine.mode("etc/iscsid.conf"), 0o600);
    let conf = room.machine.text("etc/iscsid.conf");
    assert_eq!(conf, format!("{CONF}{}", lines("node.session", SECRET)));

    client.set_chap("", PORTAL, chap()).await.unwrap();
    let discovery = "db/send_targets/192.0.2.21,3260/st_config";
    assert_eq!(
        (room.machine.mode(discovery), room.machine.mode("db/send_targets/192.0.2.21,3260")),
        (0o600, 0o700)
    );
    assert!(room.machine.text(discovery).contains(&lines("discovery.sendtargets", SECRET)));
    assert!(room.machine.picture_of(&record) == before, "an existing record was touched");

    // What is discovered from now on has it; its own secret stays out of the answer.
    let target = Script::listing([("iqn.2001-04.com.example:new", "")]).listen().await;
    let nodes = client.discover(&target.portal(), Options::new()).await.unwrap();
    assert_eq!(nodes[0].chap, ChapMode::OneWay);
    client.set_chap("", "", Options::from([("clear", true.into())])).await.unwrap();
    assert!(!room.machine.text("etc/iscsid.conf").contains(SECRET));
}

fn pipe(text: &[u8]) -> OwnedFd {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(text).unwrap();
    reader.into()
}

fn regular(text: &[u8]) -> OwnedFd {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text).unwrap();
    file.rewind().unwrap();
    file.into()
}

fn socket(text: &[u8]) -> OwnedFd {
    let (reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
    writer.write_all(text).unwrap();
    reader.into()
}

fn with_fd(fd: OwnedFd) -> Options<'static> {
    Options::from([("username", "libvirtd".into()), ("secret-fd", Variant::from(zbus::Fd::from(fd)))])
}

// One test for all: the daemon reads four of them at a time, and it is in this process.
#[tokio::test]
async fn a_secret_behind_a_descriptor_is_read_to_its_end_or_refused() {
    let room = Room::start().await;
    let client = room.client().await;
    let path = room.machine.record(TARGET, "192.0.2.21", 3260, "");
    let long = "s".repeat(255);
    for (fd, secret) in [
        (pipe(b"inapipe12345\n"), "inapipe12345"),
        (pipe(b"without newline"), "without newline"),
        (regular(b"inafile12345\n"), "inafile12345"),
        (socket(b"inasocket123"), "inasocket123"),
        (pipe(format!("{long}\n").as_bytes()), long.as_str()),
    ] {
        client.set_chap(TARGET, "", with_fd(fd)).await.unwrap();
        let expected = record_text(TARGET, "192.0.2.21", 3260, &lines("node.session", secret));
        assert_eq!(room.machine.text(&path), expected);
    }
    let mut both = with_fd(pipe(b"ours12345678\n"));
    both.insert("target-username", "gateway".into());
    both.insert("target-secret-fd", Variant::from(zbus::Fd::from(pipe(b"theirs123456\n"))));
    client.set_chap(TARGET, "", both).await.unwrap();
    assert!(room.machine.text(&path).contains("password_in = theirs123456\n"));

    let before = room.machine.picture();
    let open = |path: &str| OwnedFd::from(File::open(path).unwrap());
    let (_, writing) = std::io::pipe().unwrap();
    for (fd, words) in [
        (open("/dev/zero"), "not a pipe, socket or regular file"),
        (open("/dev/null"), "not a pipe, socket or regular file"),
        (open("/tmp"), "not a pipe, socket or regular file"),
        (writing.into(), "cannot be read"),
        (pipe(&[b'x'; 257]), "more than 255 bytes"),
        (pipe(&[b'x'; 60_000]), "more than 255 bytes"),
        (regular(&[b'x'; 256]), "more than 255 bytes"),
        (pipe(b""), "empty"),
        (pipe(b"\n"), "empty"),
        (pipe(b"two\nlines"), "more than one line"),
        (pipe(&[0xff, 0xfe]), "UTF-8"),
    ] {
        let asked = Instant::now();
        let fault = fails(client.set_chap(TARGET, "", with_fd(fd)).await, Kind::InvalidArgs, words);
        assert!(fault.message().starts_with("chap.secret-fd: "), "{fault}");
        assert!(asked.elapsed() < SOON, "{words}: {:?}", asked.elapsed());
    }

    let after = room.machine.picture();
    assert!(before.keys().eq(after.keys()), "a refused secret left a file");
}

#[tokio::test]
async fn a_secret_is_not_read_before_the_call_is_allowed() {
    let mut room = Room::start().await;
    room.machine.record(TARGET, "192.0.2.21", 3260, "");
    room.world.kill_polkitd().await;
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(b"unread").unwrap();
    let asked = Instant::now();
    let options = with_fd(reader.try_clone().unwrap().into());
    fails(room.client().await.set_chap(TARGET, "", options).await, Kind::AccessDenied, "polkit");
    assert!(asked.elapsed() < SOON, "it waited for the other end: {:?}", asked.elapsed());
    drop(writer);
    let mut left = String::new();
    reader.read_to_string(&mut left).unwrap();
    assert_eq!(left, "unread");
}

#[tokio::test]
async fn what_is_not_recorded_is_no_such_node() {
    let room = Room::start().await;
    let client = room.client().await;
    room.machine.record(TARGET, "192.0.2.21", 3260, "");
    let before = room.machine.picture();
    for (target, portal) in
        [("iqn.2001-04.com.example:other", ""), (TARGET, "192.0.2.37"), (TARGET, "192.0.2.21:3261")]
    {
        for answer in [
            client.login(target, portal, Options::new()).await.map(drop),
            client.logout(target, portal, Options::new()).await.map(drop),
            client.set_chap(target, portal, chap()).await,
        ] {
            let fault = fails(answer, Kind::NoSuchNode, target);
            // It may be served where it is not recorded.
            let step = if target == TARGET { "iscsictl add" } else { "iscsictl discover" };
            assert!(fault.next_step().contains(step), "{fault}");
        }
    }
    assert!(room.machine.picture() == before);
}

#[tokio::test]
async fn the_recorded_nodes_are_listed_with_what_their_records_say() {
    let room = Room::start().await;
    let client = room.client().await;
    let chap = lines("node.session", SECRET) + "node.conn[0].startup = automatic\n";
    room.machine.record(TARGET, "192.0.2.21", 3260, &chap);
    room.machine.record(TARGET, "192.0.2.37", 3261, "");
    room.machine.record("iqn.2001-04.com.example:v6", "2001:db8::5", 3260, "");
    // Not open-iscsi's, and not shown.
    room.machine.put("db/nodes/lost+found/x", "", 0o600);
    room.machine.put(&format!("db/nodes/{TARGET}/192.0.2.99/default"), "", 0o600);
    let nodes = client.list_nodes(Options::new()).await.unwrap();
    let shown: Vec<_> = nodes.iter().map(|n| (n.portal.as_str(), n.chap, n.startup, n.tpgt)).collect();
    assert_eq!(
        shown,
        [
            ("[2001:db8::5]:3260", ChapMode::None, Startup::Manual, 1),
            (PORTAL, ChapMode::OneWay, Startup::Automatic, 1),
            ("192.0.2.37:3261", ChapMode::None, Startup::Manual, 1),
        ]
    );
    assert!(nodes.iter().all(|node| node.state == NodeState::Known && !node.logged_in));
    for (filter, count) in [
        (Options::from([("target", TARGET.into())]), 2),
        (Options::from([("portal", "192.0.2.21".into())]), 1),
        (Options::from([("target", TARGET.into()), ("portal", "192.0.2.99".into())]), 0),
    ] {
        assert_eq!(client.list_nodes(filter).await.unwrap().len(), count);
    }
    assert_eq!(client.list_paths(Options::new()).await.unwrap(), []);
    assert_eq!(client.list_paths(Options::from([("target", TARGET.into())])).await.unwrap(), []);
    assert!(!format!("{nodes:?}").contains(SECRET));
}

#[tokio::test]
async fn a_second_call_on_a_target_is_told_busy_and_others_go_on() {
    let room = Room::start().await;
    let slow = Script::silent().listen().await;
    room.machine.record(TARGET, "127.0.0.1", slow.address.port(), "");
    let other = "iqn.2001-04.com.example:other";
    room.machine.record(other, "192.0.2.21", 3260, "");
    let client = room.client().await;
    let options = || Options::from([("timeout", 3_u32.into())]);
    let first = tokio::spawn({
        let client = client.clone();
        async move { client.login(TARGET, "", options()).await }
    });
    slow.visited().await;

    let asked = Instant::now();
    fails(client.login(TARGET, "", options()).await, Kind::Busy, TARGET);
    fails(client.logout(TARGET, "", Options::new()).await, Kind::Busy, TARGET);
    fails(client.set_chap(TARGET, "", chap()).await, Kind::Busy, TARGET);
    fails(client.set_chap("", "", chap()).await, Kind::Busy, "");
    fails(client.set_initiator_name("iqn.2001-04.com.example:new").await, Kind::Busy, "");
    client.set_chap(other, "", chap()).await.unwrap();
    assert_eq!(client.list_nodes(Options::new()).await.unwrap().len(), 2);
    assert!(asked.elapsed() < Duration::from_secs(2) && !first.is_finished(), "{:?}", asked.elapsed());

    // A call at work is a reason to stay.
    let quiet = Duration::from_millis(50);
    assert!(timeout(Duration::from_millis(500), room.activity.idle_for(quiet)).await.is_err());
    fails(first.await.unwrap(), Kind::TimedOut, &slow.portal());
    timeout(SOON, room.activity.idle_for(quiet)).await.unwrap();
    // The place is given back.
    client.set_chap(TARGET, "", chap()).await.unwrap();
    timeout(SOON, room.activity.idle_for(quiet)).await.unwrap();
    assert_eq!(room.machine.calls(), "", "a target that does not answer is not iscsid's to wait for");
}

#[tokio::test]
async fn without_open_iscsi_it_says_what_to_install() {
    let room = Room::start().await;
    let target = Script::listing([(TARGET, "")]).listen().await;
    room.machine.record(TARGET, "127.0.0.1", target.address.port(), "");
    std::fs::remove_file(room.machine.at("bin/iscsiadm")).unwrap();
    let client = room.client().await;
    let answers: [Result<(), Fault>; 4] = [
        client.discover(&target.portal(), Options::new()).await.map(drop),
        client.login(TARGET, "", Options::new()).await.map(drop),
        client.set_chap("", "", chap()).await,
        client.set_initiator_name("iqn.2001-04.com.example:new").await,
    ];
    for answer in answers {
        let fault = fails(answer, Kind::BackendUnavailable, "iscsiadm");
        assert!(fault.next_step().contains("install"), "{fault}");
    }
    client.list_nodes(Options::new()).await.unwrap();
    assert_eq!(target.visits(), 0);
}

#[tokio::test]
async fn a_login_without_a_session_afterwards_is_no_login() {
    let room = Room::start().await;
    let target = Script::default().listen().await;
    room.machine.record(TARGET, "127.0.0.1", target.address.port(), "");
    let client = room.client().await;
    // iscsiadm says 0, and the kernel has none.
    room.machine.programs_answer(0);
    fails(client.login(TARGET, "", Options::new()).await, Kind::Failed, "there is no session");
    // 15: iscsid has one that the kernel does not show.
    room.machine.programs_answer(15);
    let entries = client.login(TARGET, "", Options::new()).await.unwrap();
    assert!(
        entries[0].sid == 0 && entries[0].message.contains("iscsid already has a session"),
        "{entries:?}"
    );
    room.machine.programs_answer(8);
    fails(client.login(TARGET, "", Options::new()).await, Kind::TimedOut, "exit code 8");
    room.machine.open_iscsid_socket(false);
    let calls = room.machine.calls();
    let fault = fails(client.login(TARGET, "", Options::new()).await, Kind::BackendUnavailable, "iscsid");
    assert_eq!((fault.next_step(), room.machine.calls()), ("systemctl start iscsid.socket", calls));
}

#[tokio::test]
async fn a_target_that_takes_another_digest_is_asked_again_and_its_record_says_so() {
    let room = Room::start().await;
    let client = room.client().await;
    // iscsiadm makes no session.
    room.machine.programs_answer(0);
    for (algorithm, name) in [(6, "SHA1"), (7, "SHA256"), (8, "SHA3-256")] {
        let chap = Chap { algorithm, ..crate::room::chap() };
        let target = Script::default().with_chap(chap).listen().await;
        let record =
            room.machine.record(TARGET, "127.0.0.1", target.address.port(), &lines("node.session", SECRET));
        let before = room.machine.text(&record);
        fails(client.login(TARGET, &target.portal(), Options::new()).await, Kind::Failed, "no session");
        let adopted = format!("node.session.auth.chap_algs = {name}\n# END RECORD");
        assert_eq!(room.machine.text(&record), before.replace("# END RECORD", &adopted));
    }
    // One that has no secret for us refuses whatever is offered: that is no digest's fault.
    let target = Script::default().with_chap(Chap { algorithm: 99, ..crate::room::chap() }).listen().await;
    let record =
        room.machine.record(TARGET, "127.0.0.1", target.address.port(), &lines("node.session", SECRET));
    let before = room.machine.text(&record);
    let answer = client.login(TARGET, &target.portal(), Options::new()).await;
    fails(answer, Kind::ChapRejected, "before a secret was sent");
    assert_eq!((room.machine.text(&record), target.visits()), (before, 2));
}

#[tokio::test]
async fn what_goes_on_after_a_login_that_timed_out_keeps_the_target_and_the_daemon() {
    let room = Room::start().await;
    let target = Script::default().listen().await;
    let record = room.machine.record(TARGET, "127.0.0.1", target.address.port(), "");
    let before = room.machine.text(&record);
    room.machine.programs_answer(0);
    room.machine.put("bin/delay", "3", 0o644);
    let client = room.client().await;
    let options = || Options::from([("timeout", 1_u32.into())]);
    fails(client.login(TARGET, "", options()).await, Kind::TimedOut, "iscsid did not log in");
    assert_eq!(room.machine.text(&record), before, "its retries are put back at once");
    fails(client.login(TARGET, "", options()).await, Kind::Busy, TARGET);
    let quiet = Duration::from_millis(50);
    assert!(timeout(Duration::from_millis(500), room.activity.idle_for(quiet)).await.is_err());
    timeout(SOON * 2, room.activity.idle_for(quiet)).await.unwrap();
    std::fs::remove_file(room.machine.at("bin/delay")).unwrap();
    fails(client.login(TARGET, "", Options::new()).await, Kind::Failed, "there is no session");
}

#[tokio::test]
async fn the_bus_is_asked_once_who_a_caller_is() {
    const BUS: &str = "org.freedesktop.DBus";
    let room = Room::start().await;
    let callers = [room.world.connect().await, room.world.connect().await];
    let names = callers.each_ref().map(|caller| caller.unique_name().unwrap().to_string());
    let [often, once] = callers.each_ref().map(InitiatorProxy::new);
    let (often, once) = (often.await.unwrap(), once.await.unwrap());
    let monitor = room.world.connect().await;
    let bus = zbus::fdo::DBusProxy::new(&monitor).await.unwrap();
    let polkitd =
        bus.get_name_owner("org.freedesktop.PolicyKit1".try_into().unwrap()).await.unwrap().to_string();
    let mut heard = MessageStream::from(&monitor);
    let rules = names.clone().map(|name| format!("type='method_call',destination='{BUS}',arg0='{name}'"));
    let path = "/org/freedesktop/DBus";
    let begun = monitor
        .call_method(
            Some(BUS),
            path,
            Some("org.freedesktop.DBus.Monitoring"),
            "BecomeMonitor",
            &(rules.to_vec(), 0_u32),
        )
        .await;
    begun.unwrap();
    for client in [&often, &often, &often, &once] {
        client.list_nodes(Options::new()).await.unwrap();
    }
    // What the bus was asked about the two, but by polkitd: first about the one that called thrice.
    let mut asked = Vec::new();
    while asked.len() < 2 {
        let message = timeout(SOON, heard.next()).await.unwrap().unwrap().unwrap();
        let header = message.header();
        if header.message_type() == Type::MethodCall && header.sender().is_some_and(|name| *name != *polkitd)
        {
            asked.push(message.body().deserialize::<String>().unwrap());
        }
    }
    assert_eq!(asked, names);
}
