//! `Diagnose` through the bus: every check of this machine and of a portal, and that it touches nothing.
//! Must not touch a disk: the machine is a temporary directory, and its targets play scripts.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{collections::HashMap, time::Duration};

use crate::room::{
    Room, SECRET, TARGET,
    machine::INITIATOR,
    target::{Listening, Script},
};
use iscsi_initiator_dbus::{
    Kind,
    proxy::InitiatorProxy,
    results::{Check, CheckState},
};
use zbus::Variant;

type Options<'a> = HashMap<&'a str, Variant<'a>>;

const MACHINE: [&str; 6] = [
    "open-iscsi",
    "kernel-modules",
    "iscsid",
    "initiator-name",
    "initiator-name-used",
    "initiator-name-unique",
];
const PORTAL: [&str; 10] = [
    "name-resolution",
    "tcp",
    "iscsi",
    "discovery",
    "initiator-accepted",
    "chap",
    "mutual-chap",
    "luns",
    "session",
    "node-record",
];

async fn diagnose(room: &Room, target: &str, portal: &str, options: Options<'_>) -> Vec<Check> {
    let before = room.machine.picture();
    let client = InitiatorProxy::new(&room.root).await.unwrap();
    let checks = client.diagnose(target, portal, options).await.unwrap();
    assert!(room.machine.picture() == before, "it changed a file");
    assert_eq!(room.machine.calls(), "", "it started a program");
    assert!(!format!("{checks:?}").contains(SECRET));
    for check in &checks {
        let is_failed = check.state == CheckState::Failed;
        assert_eq!(is_failed, !check.error.is_empty(), "{check:?}");
        let needs_hint = is_failed || check.state == CheckState::Warning;
        assert!(!check.detail.is_empty() && (!needs_hint || !check.hint.is_empty()), "{check:?}");
    }
    checks
}

fn names(checks: &[Check]) -> Vec<&str> {
    checks.iter().map(|check| check.name.as_str()).collect()
}

fn find<'a>(checks: &'a [Check], name: &str) -> &'a Check {
    checks.iter().find(|check| check.name == name).unwrap()
}

fn state(checks: &[Check], name: &str) -> CheckState {
    find(checks, name).state
}

async fn target(script: Script) -> Listening {
    Script { list: Script::listing([(TARGET, "")]).list, ..script }.listen().await
}

fn recorded_chap() -> String {
    format!("node.session.auth.username = libvirtd\nnode.session.auth.password = {SECRET}\n")
}

#[tokio::test]
async fn the_checks_come_in_the_order_of_a_login() {
    let room = Room::start().await;
    let target = target(Script::default().with_chap(crate::room::chap())).await;
    room.machine.record(TARGET, "127.0.0.1", target.address.port(), &recorded_chap());
    let checks = diagnose(&room, TARGET, &target.portal(), Options::new()).await;
    assert_eq!(names(&checks), [&MACHINE[..], &PORTAL[..]].concat());
    for name in [
        "open-iscsi",
        "iscsid",
        "initiator-name",
        "tcp",
        "iscsi",
        "initiator-accepted",
        "chap",
        "node-record",
    ] {
        assert_eq!(state(&checks, name), CheckState::Ok, "{checks:#?}");
    }
    // The target asks for CHAP before it lists, and none is stored for that.
    assert_eq!(state(&checks, "discovery"), CheckState::Warning);
    assert!(find(&checks, "chap").detail.contains("libvirtd"));
    for check in &checks {
        let is_machine = MACHINE.contains(&check.name.as_str());
        assert_eq!(check.portal.is_empty(), is_machine, "{check:?}");
    }
    // Without a portal: each that is recorded, and no name to resolve.
    let checks = diagnose(&room, TARGET, "", Options::new()).await;
    assert_eq!(names(&checks), [&MACHINE[..], &PORTAL[1..]].concat());
}

#[tokio::test]
async fn a_secret_is_shown_only_to_the_portal_that_it_is_recorded_for() {
    let room = Room::start().await;
    let honest = target(Script::default().with_chap(crate::room::chap())).await;
    let curious = target(Script::default().with_chap(crate::room::chap())).await;
    room.machine.record(TARGET, "127.0.0.1", honest.address.port(), &recorded_chap());
    let checks = diagnose(&room, TARGET, &curious.portal(), Options::new()).await;
    assert_eq!(state(&checks, "chap"), CheckState::Failed, "{checks:#?}");
    assert_eq!(find(&checks, "chap").error, Kind::ChapRejected.name());
    assert_eq!(state(&checks, "node-record"), CheckState::Warning, "it is not recorded there");
    assert!(curious.proofs().is_empty(), "it learned something of the secret");
    // What the caller gives is the caller's to show.
    let given = Options::from([("username", "libvirtd".into()), ("secret", SECRET.into())]);
    let checks = diagnose(&room, TARGET, &curious.portal(), given).await;
    assert_eq!(state(&checks, "chap"), CheckState::Ok, "{checks:#?}");
    assert!(!curious.proofs().is_empty());
}

#[tokio::test]
async fn the_first_thing_that_is_wrong_is_named_and_what_comes_after_is_not_judged() {
    let room = Room::start().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let silent = Script::silent().listen().await;
    let rejecting = target(Script::default().with_chap(crate::room::another_chap())).await;
    for (portal, failed, kind) in [
        (closed, "tcp", Kind::PortalUnreachable),
        (silent.address, "iscsi", Kind::TimedOut),
        (rejecting.address, "chap", Kind::ChapRejected),
    ] {
        room.machine.record(TARGET, "127.0.0.1", portal.port(), &recorded_chap());
        let short = Options::from([("timeout", 1_u32.into())]);
        let checks = diagnose(&room, TARGET, &portal.to_string(), short).await;
        let found: Vec<&Check> = checks.iter().filter(|check| check.state == CheckState::Failed).collect();
        let [only] = found.as_slice() else { panic!("{found:#?}") };
        assert_eq!((only.name.as_str(), only.error.as_str()), (failed, kind.name()));
        let after =
            PORTAL.iter().skip_while(|name| **name != failed).skip(1).take_while(|name| **name != "luns");
        for name in after {
            assert_eq!(state(&checks, name), CheckState::Skipped, "{name}: {checks:#?}");
        }
    }
}

#[tokio::test]
async fn a_portal_alone_is_looked_at_and_its_only_target_with_it() {
    let room = Room::start().await;
    let one = target(Script::default()).await;
    let checks = diagnose(&room, "", &one.portal(), Options::new()).await;
    assert_eq!(state(&checks, "discovery"), CheckState::Ok);
    assert_eq!(state(&checks, "initiator-accepted"), CheckState::Ok, "{checks:#?}");
    assert!(find(&checks, "initiator-accepted").detail.contains(INITIATOR));
    let two = Script::listing([(TARGET, ""), ("iqn.2001-04.com.example:other", "")]).listen().await;
    let checks = diagnose(&room, "", &two.portal(), Options::new()).await;
    assert_eq!(state(&checks, "initiator-accepted"), CheckState::Skipped);
    let hint = &find(&checks, "initiator-accepted").hint;
    let one_of_them =
        format!("name a target: iscsictl diagnose iqn.2001-04.com.example:other {}", two.portal());
    assert!(*hint == one_of_them || hint.contains(TARGET), "{hint}");
    let nobody = diagnose(&room, "", "no-such-host.invalid", Options::new()).await;
    assert_eq!(state(&nobody, "name-resolution"), CheckState::Failed, "{nobody:#?}");
    let unrecorded = diagnose(&room, "iqn.2001-04.com.example:none", "", Options::new()).await;
    assert_eq!(find(&unrecorded, "node-record").error, Kind::NoSuchNode.name());
}

#[tokio::test]
async fn this_machines_own_faults_are_found() {
    let room = Room::start().await;
    let file = "etc/initiatorname.iscsi";
    let look = || diagnose(&room, TARGET, "", Options::new());
    for (text, state_of_name) in [
        ("GenerateName=yes\n", CheckState::Failed),
        ("InitiatorName=not a name\n", CheckState::Failed),
        ("InitiatorName=iqn.2001-04.com.example:One\n", CheckState::Warning),
        ("InitiatorName=iqn.com.example:one\n", CheckState::Warning),
        (
            "InitiatorName=iqn.2001-04.com.example:one\nInitiatorName=iqn.2001-04.com.example:two\n",
            CheckState::Warning,
        ),
        ("InitiatorName=iqn.2001-04.com.example:one\n", CheckState::Ok),
    ] {
        room.machine.put(file, text, 0o600);
        assert_eq!(state(&look().await, "initiator-name"), state_of_name, "{text}");
    }
    room.machine.put(file, "InitiatorName=iqn.1994-05.com.redhat:rh7-client\n", 0o600);
    assert_eq!(state(&look().await, "initiator-name-unique"), CheckState::Warning);

    // iscsid started a minute after the machine, which has run for two: the file is younger.
    room.machine.put("proc/uptime", "120.00 100.00\n", 0o444);
    let stat = "77 (iscsid) S 1 77 77 0 -1 4194624 1 0 0 0 0 0 0 0 10 -10 1 0 6000 4 5 6\n";
    room.machine.put("proc/77/stat", stat, 0o444);
    room.machine.put("proc/77/status", "Name:\tiscsid\nUid:\t0\t0\t0\t0\n", 0o444);
    let checks = look().await;
    assert!(find(&checks, "iscsid").detail.contains("77"));
    assert_eq!(state(&checks, "initiator-name-used"), CheckState::Warning, "{checks:#?}");
    assert!(find(&checks, "initiator-name-used").hint.contains("systemctl restart iscsid"));

    room.machine.open_iscsid_socket(false);
    std::fs::remove_file(room.machine.at("bin/iscsiadm")).unwrap();
    std::fs::remove_file(room.machine.at(file)).unwrap();
    let checks = look().await;
    for name in ["open-iscsi", "iscsid", "initiator-name"] {
        assert_eq!(state(&checks, name), CheckState::Failed, "{checks:#?}");
    }
    for name in ["initiator-name-used", "initiator-name-unique"] {
        assert_eq!(state(&checks, name), CheckState::Skipped, "{checks:#?}");
    }
}

#[tokio::test]
async fn a_damaged_record_is_found_and_its_repair_named() {
    let room = Room::start().await;
    let target = target(Script::default()).await;
    let port = target.address.port();
    let path = format!("db/nodes/{TARGET}/127.0.0.1,{port},1/default");
    for damaged in ["", "# BEGIN RECORD 2.1.11\nnode.name = iq"] {
        room.machine.put(&path, damaged, 0o600);
        let checks = diagnose(&room, TARGET, "", Options::new()).await;
        let record = find(&checks, "node-record");
        assert_eq!(
            (record.state, record.error.as_str()),
            (CheckState::Failed, Kind::InvalidConfiguration.name())
        );
        assert!(record.hint.contains(&format!("iscsictl forget {TARGET} ")), "{record:?}");
    }
}

#[tokio::test]
async fn a_session_that_is_up_is_seen_and_left_alone() {
    let room = Room::start().await;
    let target = target(Script::default()).await;
    let port = target.address.port();
    room.machine.record(TARGET, "127.0.0.1", port, "");
    room.machine.session(TARGET, "127.0.0.1", &port.to_string());
    let checks = diagnose(&room, TARGET, "", Options::from([("timeout", 5_u32.into())])).await;
    assert_eq!(state(&checks, "session"), CheckState::Ok, "{checks:#?}");
    assert_eq!(state(&checks, "luns"), CheckState::Warning, "the session has none");
    // Only the list and the login were asked for: no session for the LUNs' sake beside the one that is up.
    assert_eq!(target.visits(), 2);
    tokio::time::timeout(Duration::from_secs(1), target.visited()).await.unwrap();
}

#[tokio::test]
async fn a_portal_that_sends_us_on_is_followed_once_and_told() {
    let room = Room::start().await;
    let real = target(Script::default()).await;
    let first = Script::sending_to(&real.portal()).listen().await;
    let checks = diagnose(&room, TARGET, &first.portal(), Options::new()).await;
    let accepted = find(&checks, "initiator-accepted");
    assert_eq!(accepted.state, CheckState::Ok, "{checks:#?}");
    assert!(accepted.detail.contains(&format!("after a redirection to {}", real.portal())), "{accepted:?}");
    let loops = Script::sending_to(&first.portal()).listen().await;
    let checks = diagnose(&room, TARGET, &loops.portal(), Options::new()).await;
    let refused = find(&checks, "initiator-accepted");
    assert_eq!(refused.error, Kind::TargetRejected.name(), "{checks:#?}");
    assert!(refused.hint.contains("iscsictl discover"), "{refused:?}");
}
