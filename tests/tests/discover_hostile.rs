//! Discoveries at targets that lie: what is recorded afterwards is read back from the database, file by file.
//! Must not trust the answer: a name that is refused there may still have become a file.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{
    collections::HashMap,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    sync::Arc,
    time::Instant,
};

use crate::room::{
    Room, SECRET, TARGET, fails,
    machine::record_text,
    target::{Chap, Listening, Script},
};
use iscsi_initiator_dbus::{
    Fault, Iqn, Kind,
    proxy::InitiatorProxy,
    results::{ChapMode, Node, NodeState, Startup},
};
use zbus::Variant;

type Options<'a> = HashMap<&'a str, Variant<'a>>;

async fn discover(room: &Room, portal: &str, options: Options<'_>) -> Result<Vec<Node>, Fault> {
    InitiatorProxy::new(&room.root).await.unwrap().discover(portal, options).await
}

/// Every file of the database is a record of a checked name at a checked portal, whole, private, and made of
/// lines that the daemon writes; other records (`known`: paths) may hold other lines. The paths.
#[track_caller]
fn check_database(room: &Room, known: &[&str]) -> Vec<String> {
    let lines = [
        "node.name",
        "node.tpgt",
        "node.startup",
        "node.conn[0].startup",
        "iface.iscsi_ifacename",
        "iface.transport_name",
        "node.discovery_address",
        "node.discovery_port",
        "node.discovery_type",
        "node.conn[0].address",
        "node.conn[0].port",
        // From iscsid.conf.
        "node.session.timeo.replacement_timeout",
        "node.conn[0].timeo.login_timeout",
    ];
    let mut paths = Vec::new();
    for (path, text) in room.machine.database() {
        let parts: Vec<&str> = path.split('/').collect();
        let ["nodes", target, portal, "default"] = parts.as_slice() else { panic!("a stray file: {path:?}") };
        assert!(target.parse::<Iqn>().is_ok(), "{path:?}");
        let (address, port) = portal.strip_suffix(",1").unwrap().split_once(',').unwrap();
        assert!(address.parse::<std::net::IpAddr>().is_ok() && port.parse::<u16>().is_ok(), "{path:?}");
        paths.push(path.clone());
        if known.contains(&path.as_str()) {
            continue;
        }
        assert_eq!(room.machine.mode(&format!("db/{path}")), 0o600, "{path}");
        assert_eq!(room.machine.mode(&format!("db/nodes/{target}")), 0o700, "{path}");
        let body = text.strip_prefix("# BEGIN RECORD 2.1\n").and_then(|t| t.strip_suffix("# END RECORD\n"));
        let values: HashMap<&str, &str> =
            body.unwrap().lines().map(|line| line.split_once(" = ").unwrap()).collect();
        assert!(values.keys().all(|key| lines.contains(key)), "{path}: {text}");
        let expected =
            [("node.name", *target), ("node.conn[0].address", address), ("node.conn[0].port", port)];
        assert!(expected.iter().all(|(key, value)| values[key] == *value), "{path}: {text}");
    }
    assert_eq!(room.machine.calls(), "", "iscsiadm must not hear of what a target says");
    paths
}

fn node_path(target: &str, portal: &str) -> String {
    format!("nodes/{target}/{},1/default", portal.replace(':', ","))
}

fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        ".",
        "..",
        "../../../../etc/cron.d/x",
        "iqn.2001-04.com.example:../../../x",
        "iqn.2001-04.com.example/../../x",
        "/etc/passwd",
        "iqn.2001-04.com.example:a\nnode.startup = automatic",
        "iqn.2001-04.com.example:a\r\n# END RECORD",
        "iqn.2001-04.com.example:a b",
        "iqn.2001-04.com.example:a,3260,1",
        "iqn.2001-04.com.example:\u{1b}[2J",
        "iqn.2001-04.com.example:\u{202e}ksid",
        "-T iqn.2001-04.com.example:a",
        "--help",
        "$(touch /tmp/x)",
        "default",
        "iqn.",
        "eui.0",
    ]
    .map(str::to_owned)
    .into();
    names.push(format!("iqn.2001-04.com.example:{}", "x".repeat(200)));
    names
}

#[tokio::test]
async fn bad_names_and_addresses_leave_nothing_behind_and_good_ones_beside_them_are_recorded() {
    let room = Room::start().await;
    let names = hostile_names();
    let longest = format!("iqn.2001-04.com.example:{}", "y".repeat(199));
    let good =
        ["iqn.2001-04.com.example:good", "iqn.2001-04.com.example:%s%n", "eui.02004567A425678D", &longest];
    let mut listed = Vec::new();
    for (at, name) in names.iter().enumerate() {
        listed.push((name.as_str(), ""));
        listed.push((good[at % good.len()], "127.0.0.1:3260,1"));
    }
    for address in [
        "0.0.0.0:3260,1",
        "127.0.0.1:0,1",
        "127.0.0.1:99999,1",
        "127.0.0.1:3260,65536",
        "127.0.0.1:3260,-1",
        "../../x,1",
        "a b,1",
        "[fe80::1%lo]:3260,1",
        "127.0.0.1\nnode.startup = automatic,1",
        "255.255.255.255,1",
        "no-such-host.invalid:3260,1",
        "",
    ] {
        // The empty one leaves the name alone: then it is at the portal that was asked.
        listed.push(("iqn.2001-04.com.example:elsewhere", address));
    }
    let target = Script::listing(listed).listen().await;
    let nodes = discover(&room, &target.portal(), Options::new()).await.unwrap();

    let mut expected: Vec<String> = good.iter().map(|name| node_path(name, "127.0.0.1:3260")).collect();
    expected.push(node_path("iqn.2001-04.com.example:elsewhere", &target.portal()));
    expected.sort();
    let mut recorded = check_database(&room, &[]);
    recorded.sort();
    assert_eq!(recorded, expected);
    let mut answered: Vec<String> = nodes.iter().map(|node| node_path(&node.target, &node.portal)).collect();
    answered.sort();
    assert_eq!(answered, expected);
    assert!(nodes.iter().all(|node| node.state == NodeState::New && node.startup == Startup::Manual));
}

#[tokio::test]
async fn existing_records_keep_every_byte_whatever_is_listed() {
    let room = Room::start().await;
    let chap = format!("node.session.auth.username = me\nnode.session.auth.password = {SECRET}\n");
    let target = Script::listing([
        (TARGET, "127.0.0.1:3260,1"),
        ("iqn.2001-04.com.example:new", "127.0.0.1:3260,1"),
        (&format!("{TARGET}\nnode.session.auth.password = x"), "127.0.0.1:3260,1"),
    ])
    .listen()
    .await;
    let known = room.machine.record(TARGET, "127.0.0.1", 3260, &chap);
    let port = target.address.port();
    let gone_text = format!("node.discovery_address = 127.0.0.1\nnode.discovery_port = {port}\n");
    let gone = room.machine.record("iqn.2001-04.com.example:gone", "127.0.0.1", 3260, &gone_text);
    let other = room.machine.record("iqn.2001-04.com.example:other", "192.0.2.1", 3260, "");
    let look = || [&known, &gone, &other].map(|path| room.machine.picture_of(path));
    let before = look();

    for round in [NodeState::New, NodeState::Known] {
        let options = Options::from([("startup", "automatic".into())]);
        let nodes = discover(&room, &target.portal(), options).await.unwrap();
        let state = |name: &str| nodes.iter().find(|node| node.target == name).map(|node| node.state);
        assert_eq!(nodes.len(), 3);
        assert_eq!(state(TARGET), Some(NodeState::Known));
        assert_eq!(state("iqn.2001-04.com.example:gone"), Some(NodeState::Gone));
        assert_eq!(state("iqn.2001-04.com.example:new"), Some(round));
        let one = nodes.iter().find(|node| node.target == TARGET).unwrap();
        assert_eq!((one.chap, one.startup), (ChapMode::OneWay, Startup::Manual));
        assert!(look() == before, "an existing record was touched");
    }
    let known = [&known, &gone, &other].map(|path| path.strip_prefix("db/").unwrap());
    assert_eq!(check_database(&room, &known).len(), 4);
}

#[tokio::test]
async fn more_than_ten_thousand_targets_are_refused_as_a_whole() {
    let room = Room::start().await;
    let before = room.machine.picture();
    let names: Vec<String> = (0..=10_000).map(|n| format!("iqn.a:{n}")).collect();
    let target = Script::listing(names.iter().map(|name| (name.as_str(), ""))).listen().await;
    let asked = Instant::now();
    fails(discover(&room, &target.portal(), Options::new()).await, Kind::Failed, "more than 10,000 targets");
    assert!(asked.elapsed() < crate::room::SOON, "{:?}", asked.elapsed());
    assert!(room.machine.picture() == before);
}

#[tokio::test]
async fn as_many_as_a_large_gateway_has_are_recorded() {
    let room = Room::start().await;
    let names: Vec<String> = (0..1000).map(|n| format!("iqn.2001-04.com.example:{n}")).collect();
    let target = Script::listing(names.iter().map(|name| (name.as_str(), ""))).listen().await;
    let asked = Instant::now();
    let nodes = discover(&room, &target.portal(), Options::new()).await.unwrap();
    assert_eq!((nodes.len(), check_database(&room, &[]).len()), (1000, 1000));
    // The rest of the call's own limit, 20 s; it is some 2 s where nothing else runs.
    assert!(asked.elapsed().as_secs() < 20, "{:?}", asked.elapsed());
}

#[tokio::test]
async fn an_empty_list_is_an_empty_answer() {
    let room = Room::start().await;
    let target = Script::default().listen().await;
    assert_eq!(discover(&room, &target.portal(), Options::new()).await.unwrap(), []);
    assert!(check_database(&room, &[]).is_empty());
}

#[tokio::test]
async fn a_list_that_is_none_leaves_nothing_behind() {
    let room = Room::start().await;
    let before = room.machine.picture();
    for list in [
        &b"TargetAddress=127.0.0.1:3260,1\0"[..],
        b"SendTargets=Reject\0",
        b"TargetName\0",
        b"TargetName=iqn.2001-04.com.example:a\0\xff\xfe=1\0",
        b"TargetName=iqn.2001-04.com.example:a\0=\0",
    ] {
        let target = Script { list: Arc::new(list.to_vec()), ..Script::default() }.listen().await;
        fails(discover(&room, &target.portal(), Options::new()).await, Kind::TargetRejected, "");
        assert!(room.machine.picture() == before, "{:?}", String::from_utf8_lossy(list));
    }
}

#[tokio::test]
async fn a_portal_that_says_nothing_is_given_up_at_the_callers_deadline() {
    let room = Room::start().await;
    let before = room.machine.picture();
    let target = Script::silent().listen().await;
    let asked = Instant::now();
    let options = Options::from([("timeout", 1_u32.into())]);
    fails(discover(&room, &target.portal(), options).await, Kind::TimedOut, &target.portal());
    assert!((1..4).contains(&asked.elapsed().as_secs()), "{:?}", asked.elapsed());
    assert!(room.machine.picture() == before);
}

async fn with_chap(chap: Chap) -> Listening {
    Script::listing([(TARGET, "")]).with_chap(chap).listen().await
}

#[tokio::test]
async fn a_discovery_that_wants_chap_says_so_and_stores_nothing_of_what_it_is_given() {
    let room = Room::start().await;
    let before = room.machine.picture();
    let chap = || Options::from([("username", "libvirtd".into()), ("secret", SECRET.into())]);
    let strict = with_chap(crate::room::another_chap()).await;
    let fault = fails(
        discover(&room, &strict.portal(), Options::new()).await,
        Kind::ChapRejected,
        "no user name and secret are set",
    );
    // What set-chap stores without a target and a portal is for logins: it would not help here.
    assert!(fault.next_step().contains(&format!("discover {} --user", strict.portal())), "{fault}");
    let fault = fails(discover(&room, &strict.portal(), chap()).await, Kind::ChapRejected, "libvirtd");
    assert!(!fault.to_string().contains(SECRET), "{fault}");
    assert!(room.machine.picture() == before, "a refused discovery changed a file");

    let content = with_chap(crate::room::chap()).await;
    let nodes = discover(&room, &content.portal(), chap()).await.unwrap();
    assert_eq!((nodes.len(), nodes[0].chap), (1, ChapMode::None));
    assert_eq!(check_database(&room, &[]).len(), 1);
    assert!(!format!("{:?}", room.machine.database()).contains(SECRET));
}

#[tokio::test]
async fn stored_discovery_chap_is_used_at_its_portal_only() {
    let room = Room::start().await;
    let (one, other) = (with_chap(crate::room::chap()).await, with_chap(crate::room::chap()).await);
    let client = InitiatorProxy::new(&room.root).await.unwrap();
    let chap = Options::from([("username", "libvirtd".into()), ("secret", SECRET.into())]);
    client.set_chap("", &one.portal(), chap).await.unwrap();
    assert_eq!(discover(&room, &one.portal(), Options::new()).await.unwrap().len(), 1);
    fails(
        discover(&room, &other.portal(), Options::new()).await,
        Kind::ChapRejected,
        "no user name and secret are set",
    );
    assert_eq!(other.proofs().len(), 0, "a secret's proof went to another portal");
}

#[tokio::test]
async fn a_link_planted_in_the_database_is_not_followed() {
    let room = Room::start().await;
    let outside = room.machine.at("outside");
    fs::create_dir(&outside).unwrap();
    // Where any user can put a file.
    fs::set_permissions(&outside, fs::Permissions::from_mode(0o777)).unwrap();
    std::os::unix::fs::symlink(&outside, room.machine.at(format!("db/nodes/{TARGET}"))).unwrap();
    let target = Script::listing([(TARGET, "")]).listen().await;
    let answer = discover(&room, &target.portal(), Options::new()).await;
    fails(answer, Kind::InvalidConfiguration, "");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o777);
}

/// A crash of iscsiadm leaves such records; nothing can log in with them, nor delete them.
#[tokio::test]
async fn a_damaged_record_is_made_new_when_its_node_is_listed() {
    let room = Room::start().await;
    let target = Script::listing([(TARGET, "")]).listen().await;
    let port = target.address.port();
    let path = room.machine.record(TARGET, "127.0.0.1", port, "");
    room.machine.put(&path, record_text(TARGET, "127.0.0.1", port, "").get(..40).unwrap(), 0o600);
    let nodes = discover(&room, &target.portal(), Options::new()).await.unwrap();
    assert_eq!(nodes[0].state, NodeState::New);
    let copy = format!("db/replaced/{TARGET}/127.0.0.1,{port},1,default.1");
    assert_eq!(room.machine.text(&copy).len(), 40, "what was there is kept");
    room.machine.remove("db/replaced");
    assert_eq!(check_database(&room, &[]).len(), 1);
}
