//! `Examine` through the bus: every finding good and bad, and fixes that change what they say and nothing else.
//! Must not touch a disk or a unit: the machine is a temporary directory, and its systemd a stand-in.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{
    collections::HashMap,
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    time::Instant,
};

use crate::room::{Room, SECRET, SOON, TARGET, fails, machine::Picture, systemd};
use iscsi_initiator_dbus::{
    Kind,
    proxy::InitiatorProxy,
    results::{CheckState, Finding},
};
use iscsi_initiator_tests::harness::{MEMBER, STRANGER};
use zbus::{Connection, Variant};

type Options<'a> = HashMap<&'a str, Variant<'a>>;

const SOCKET: &str = "iscsid.socket";
/// What a machine has that works.
const UNITS: [(&str, bool, bool); 4] = [
    (SOCKET, true, true),
    ("iscsid.service", false, false),
    ("open-iscsi.service", true, true),
    ("multipathd.service", true, true),
];

/// A machine on which nothing is wrong.
async fn sound() -> Room {
    let room = Room::start().await;
    let machine = &room.machine;
    for file in [
        "share/polkit-1/actions/org.cloudatlas.IscsiInitiator.policy",
        "share/dbus-1/system.d/org.cloudatlas.IscsiInitiator.conf",
    ] {
        machine.put(file, "", 0o644);
    }
    symlink(machine.at("bin/iscsiadm"), machine.at("bin/iscsid")).unwrap();
    mode(&room, "etc/iscsid.conf", 0o600);
    for folder in ["db/nodes", "db/send_targets"] {
        mode(&room, folder, 0o700);
    }
    machine.record(TARGET, "192.0.2.21", 3260, &secret());
    room
}

fn secret() -> String {
    format!("node.session.auth.username = libvirtd\nnode.session.auth.password = {SECRET}\n")
}

fn mode(room: &Room, path: &str, mode: u32) {
    fs::set_permissions(room.machine.at(path), Permissions::from_mode(mode)).unwrap();
}

/// All but the programs, which write down that they were called.
fn pictures(room: &Room) -> Vec<Picture> {
    ["etc", "db", "state", "scratch", "sys", "run", "share"].map(|part| room.machine.picture_of(part)).into()
}

async fn ask(room: &Room, options: Options<'_>) -> Vec<Finding> {
    let client = InitiatorProxy::new(&room.root).await.unwrap();
    let findings = client.examine(options).await.unwrap();
    assert!(!format!("{findings:?}").contains(SECRET));
    for finding in &findings {
        let is_problem = matches!(finding.state, CheckState::Warning | CheckState::Failed);
        assert!(!finding.detail.is_empty() && (!is_problem || !finding.hint.is_empty()), "{finding:?}");
        assert!(is_problem || finding.fix.is_empty(), "{finding:?}");
    }
    findings
}

/// Looks, and sees to it that looking is all that is done.
async fn look(room: &Room) -> Vec<Finding> {
    let before = pictures(room);
    let findings = ask(room, Options::new()).await;
    assert!(pictures(room) == before, "it changed a file");
    let calls = room.machine.calls();
    let calls: Vec<&str> = calls.lines().filter(|line| line.starts_with("call")).collect();
    assert!(calls.iter().all(|call| *call == "call [--version]"), "{calls:?}");
    assert!(findings.iter().all(|finding| !finding.fixed), "{findings:?}");
    findings
}

async fn fix(room: &Room) -> Vec<Finding> {
    ask(room, Options::from([("fix", true.into())])).await
}

/// The findings of this name that are about something with this in its name.
fn of<'a>(findings: &'a [Finding], name: &str, subject: &str) -> Vec<&'a Finding> {
    findings.iter().filter(|finding| finding.name == name && finding.subject.contains(subject)).collect()
}

#[track_caller]
fn one<'a>(findings: &'a [Finding], name: &str, subject: &str) -> &'a Finding {
    let found = of(findings, name, subject);
    let [one] = found.as_slice() else { panic!("{name} {subject}: {findings:#?}") };
    one
}

fn problems(findings: &[Finding]) -> Vec<&Finding> {
    findings.iter().filter(|f| matches!(f.state, CheckState::Warning | CheckState::Failed)).collect()
}

async fn with_systemd(room: &Room) -> (Connection, systemd::Orders, systemd::Units) {
    let connection = room.world.connect().await;
    let (orders, units) = systemd::serve_units(&connection, Some("done"), UNITS).await;
    (connection, orders, units)
}

#[tokio::test]
async fn a_sound_machine_is_told_to_be_so_part_by_part() {
    let room = sound().await;
    let (_systemd, orders, _) = with_systemd(&room).await;
    let findings = look(&room).await;
    assert!(problems(&findings).is_empty(), "{findings:#?}");
    for (name, subject) in [
        ("open-iscsi", ""),
        ("kernel-modules", "iscsi_tcp"),
        ("kernel-modules", "dm_multipath"),
        ("iscsid", ""),
        ("initiator-name", "initiatorname.iscsi"),
        ("initiator-name-used", ""),
        ("initiator-name-unique", ""),
        ("programs", "iscsiadm"),
        ("programs", "iscsid"),
        ("services", SOCKET),
        ("services", "iscsid.service"),
        ("services", "open-iscsi.service"),
        ("services", "multipathd.service"),
        ("secret-files", ""),
        ("records", ""),
        ("leftovers", ""),
        ("polkit-policy", "org.cloudatlas.IscsiInitiator.policy"),
        ("bus-policy", "org.cloudatlas.IscsiInitiator.conf"),
    ] {
        assert_eq!(one(&findings, name, subject).state, CheckState::Ok, "{name} {subject}");
    }
    for (name, subject) in
        [("programs", "multipath"), ("sessions", ""), ("multipath-config", ""), ("lun-map", "")]
    {
        assert_eq!(one(&findings, name, subject).state, CheckState::Skipped, "{name}");
    }
    assert!(one(&findings, "polkit-policy", "").detail.contains("8 actions"), "the real polkitd was asked");
    let before = pictures(&room);
    assert!(fix(&room).await.iter().all(|finding| !finding.fixed), "there was something to fix");
    assert!(pictures(&room) == before && orders.lock().unwrap().is_empty(), "a fix of nothing did something");
}

#[tokio::test]
async fn files_that_others_may_read_are_found_and_fixed_and_nothing_else() {
    let room = sound().await;
    let (_systemd, ..) = with_systemd(&room).await;
    let machine = &room.machine;
    let record = machine.record(TARGET, "192.0.2.37", 3260, &secret());
    mode(&room, &record, 0o644);
    mode(&room, "etc/iscsid.conf", 0o644);
    mode(&room, "db/send_targets", 0o755);
    mode(&room, "etc/initiatorname.iscsi", 0o644);
    let found = look(&room).await;
    for (subject, state, fix) in [
        ("192.0.2.37,3260,1/default", CheckState::Failed, "set its mode to 0600"),
        ("iscsid.conf", CheckState::Warning, "set its mode to 0600"),
        ("send_targets", CheckState::Warning, "set its mode to 0700"),
    ] {
        let finding = one(&found, "secret-files", subject);
        assert_eq!((finding.state, finding.fix.as_str()), (state, fix), "{finding:?}");
    }
    assert_eq!(problems(&found).len(), 3, "{found:#?}");

    let before = machine.picture_of("");
    let fixed = fix(&room).await;
    assert!(problems(&fixed).is_empty(), "{fixed:#?}");
    assert_eq!(fixed.iter().filter(|finding| finding.fixed).count(), 3);
    let conf = one(&fixed, "secret-files", "iscsid.conf");
    assert!(conf.fixed && conf.state == CheckState::Ok && conf.detail.contains("0600"), "{conf:?}");
    let after = machine.picture_of("");
    let changed: Vec<_> = before
        .iter()
        .filter(|(path, seen)| !path.ends_with("bin/calls") && after.get(*path) != Some(*seen))
        .map(|(path, (mode, time, bytes))| {
            let (now, later, content) = &after[path];
            assert!(time == later && bytes == content, "{path:?} was written");
            (path.strip_prefix(machine.at("")).unwrap().display().to_string(), mode & 0o777, now & 0o777)
        })
        .collect();
    let record = format!("db/nodes/{TARGET}/192.0.2.37,3260,1/default");
    assert_eq!(
        changed,
        [
            (record, 0o644, 0o600),
            ("db/send_targets".to_owned(), 0o755, 0o700),
            ("etc/iscsid.conf".to_owned(), 0o644, 0o600),
        ]
    );
    assert!(look(&room).await.iter().all(|finding| finding.fix.is_empty()));
}

#[tokio::test]
async fn a_trap_is_told_and_left_alone() {
    let room = sound().await;
    let (_systemd, ..) = with_systemd(&room).await;
    let machine = &room.machine;
    machine.put("elsewhere", &secret(), 0o644);
    let link = format!("db/nodes/{TARGET}/192.0.2.21,3260,1/eth0");
    symlink(machine.at("elsewhere"), machine.at(&link)).unwrap();
    fs::create_dir(machine.at("other")).unwrap();
    machine.put("other/default", &secret(), 0o644);
    symlink(machine.at("other"), machine.at(format!("db/nodes/{TARGET}/192.0.2.99,3260,1"))).unwrap();
    fs::remove_file(machine.at("etc/iscsid.conf")).unwrap();
    symlink(machine.at("elsewhere"), machine.at("etc/iscsid.conf")).unwrap();
    let foreign = machine.record(TARGET, "192.0.2.37", 3260, &secret());
    mode(&room, &foreign, 0o644);
    std::os::unix::fs::chown(machine.at(&foreign), Some(MEMBER.uid), None).unwrap();
    let second = machine.record(TARGET, "192.0.2.38", 3260, &secret());
    mode(&room, &second, 0o644);
    fs::hard_link(machine.at(&second), machine.at("second")).unwrap();
    // Links that open-iscsi makes itself.
    symlink(
        machine.at("elsewhere"),
        machine.at(format!("db/send_targets/{TARGET},192.0.2.21,3260,1,default")),
    )
    .unwrap();

    let before = [pictures(&room), vec![machine.picture_of("elsewhere"), machine.picture_of("other")]];
    let fixed = fix(&room).await;
    let after = [pictures(&room), vec![machine.picture_of("elsewhere"), machine.picture_of("other")]];
    assert!(before == after, "a trap was stepped into");
    for subject in ["/eth0", "192.0.2.99,3260,1", "iscsid.conf", "192.0.2.37,3260,1/default"] {
        let finding = one(&fixed, "secret-files", subject);
        assert_eq!(
            (finding.state, finding.fix.as_str(), finding.fixed),
            (CheckState::Failed, "", false),
            "{finding:?}"
        );
    }
    let finding = one(&fixed, "secret-files", "192.0.2.38,3260,1/default");
    assert!(!finding.fixed && finding.detail.contains("the fix failed"), "{finding:?}");
    assert!(of(&fixed, "secret-files", "send_targets").is_empty(), "{fixed:#?}");
}

#[tokio::test]
async fn units_that_do_not_run_are_found_and_only_the_socket_is_started() {
    let room = sound().await;
    let (_systemd, orders, units) = with_systemd(&room).await;
    let record = room.machine.text(&format!("db/nodes/{TARGET}/192.0.2.21,3260,1/default"));
    let automatic = record.replace("node.startup = manual", "node.startup = automatic");
    room.machine.put(&format!("db/nodes/{TARGET}/192.0.2.21,3260,1/default"), &automatic, 0o600);
    units.lock().unwrap().values_mut().for_each(|unit| *unit = systemd::Unit::default());
    let found = look(&room).await;
    assert!(orders.lock().unwrap().is_empty(), "it started something by looking");
    let socket = one(&found, "services", SOCKET);
    assert_eq!((socket.state, socket.fix.as_str()), (CheckState::Failed, "enable and start iscsid.socket"));
    let at_boot = one(&found, "services", "open-iscsi.service");
    assert_eq!(
        (at_boot.state, at_boot.fix.as_str()),
        (CheckState::Warning, ""),
        "that is for a person to say"
    );
    assert!(at_boot.detail.contains("1 node"), "{at_boot:?}");
    assert_eq!(one(&found, "services", "multipathd.service").fix, "", "multipath was not set up");

    let fixed = fix(&room).await;
    let socket = one(&fixed, "services", SOCKET);
    assert_eq!((socket.state, socket.fixed), (CheckState::Ok, true), "{socket:?}");
    let told: Vec<(String, String)> = orders.lock().unwrap().drain(..).collect();
    assert_eq!(
        told,
        [(SOCKET.to_owned(), "enable".to_owned()), (SOCKET.to_owned(), "start replace".to_owned())]
    );

    units.lock().unwrap().clear();
    let none = look(&room).await;
    assert_eq!(one(&none, "services", "iscsid.service").state, CheckState::Failed);
    assert!(one(&none, "services", "iscsid.service").hint.contains("install"));
}

#[tokio::test]
async fn without_systemd_the_rest_is_still_looked_at() {
    let room = sound().await;
    let found = look(&room).await;
    assert_eq!(one(&found, "services", "").state, CheckState::Failed, "{found:#?}");
    assert_eq!(problems(&found).len(), 1, "{found:#?}");
    fails(
        room.call("Examine", &(Options::from([("fix", Variant::from("yes"))]),)).await,
        Kind::InvalidArgs,
        "options.fix",
    );
}

#[tokio::test]
async fn what_else_may_be_wrong_is_found_each_in_its_place() {
    let room = sound().await;
    let (_systemd, ..) = with_systemd(&room).await;
    let machine = &room.machine;
    let damaged = machine.record(TARGET, "192.0.2.37", 3260, "");
    machine.put(&damaged, "# BEGIN RECORD 2.1.11\nnode.name = iq", 0o600);
    machine.put("db/send_targets/192.0.2.21,3260/st_config", "", 0o600);
    machine.put("state/undo/0000000001.login-retries.0000000000000000.json", "{}", 0o600);
    machine.put("db/.iscsi-initiatord.tmp", "half", 0o600);
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(3600);
    fs::File::open(machine.at("db/.iscsi-initiatord.tmp")).unwrap().set_modified(old).unwrap();
    fs::remove_file(machine.at("bin/iscsid")).unwrap();
    fs::remove_file(machine.at("share/dbus-1/system.d/org.cloudatlas.IscsiInitiator.conf")).unwrap();
    machine.open_iscsid_socket(false);
    machine.put("etc/initiatorname.iscsi", "GenerateName=yes\n", 0o600);
    fs::set_permissions(machine.at("state"), Permissions::from_mode(0o777)).unwrap();
    let found = look(&room).await;
    let node = format!("{TARGET} 192.0.2.37:3260");
    for (name, subject, state, hint) in [
        ("records", node.as_str(), CheckState::Failed, "iscsictl forget"),
        ("records", "st_config", CheckState::Warning, "rm "),
        ("leftovers", ".iscsi-initiatord.tmp", CheckState::Warning, "systemctl restart iscsi-initiatord"),
        ("programs", "iscsid", CheckState::Failed, "install"),
        ("bus-policy", "", CheckState::Warning, "install"),
        ("iscsid", "", CheckState::Failed, "systemctl start iscsid.socket"),
        ("initiator-name", "initiatorname.iscsi", CheckState::Failed, "iscsictl initiator-name"),
        ("secret-files", "state", CheckState::Failed, "chmod go-w"),
    ] {
        let finding = one(&found, name, subject);
        assert!(finding.state == state && finding.hint.contains(hint), "{finding:?}");
        assert_eq!(finding.fix, "", "{finding:?}");
    }
    assert_eq!(of(&found, "leftovers", "").len(), 2, "{found:#?}");
}

#[tokio::test]
async fn sessions_that_need_somebody_are_found() {
    let room = sound().await;
    let (_systemd, ..) = with_systemd(&room).await;
    room.machine.session(TARGET, "192.0.2.21", "3260");
    room.machine.disk("sda", 0, "8:0");
    let found = look(&room).await;
    assert_eq!(one(&found, "sessions", "").state, CheckState::Ok, "{found:#?}");
    assert_eq!(one(&found, "lun-map", "").state, CheckState::Ok, "one path, and no multipath");
    let subject = format!("{TARGET} 192.0.2.21:3260");
    let state = "sys/devices/platform/host3/session1/iscsi_session/session1/state";
    for (word, expected) in [("FREE", CheckState::Failed), ("FAILED", CheckState::Warning)] {
        room.machine.put(state, &format!("{word}\n"), 0o444);
        let found = look(&room).await;
        let session = one(&found, "sessions", &subject);
        assert!(session.state == expected && session.hint.contains("iscsictl diagnose"), "{session:?}");
    }
    room.machine.put(state, "LOGGED_IN\n", 0o444);
    fs::remove_dir_all(room.machine.at(format!("db/nodes/{TARGET}"))).unwrap();
    let found = look(&room).await;
    let session = one(&found, "sessions", &subject);
    assert!(session.state == CheckState::Warning && session.detail.contains("no node record"), "{session:?}");
    assert!(session.hint.contains(&format!("iscsictl logout {subject}")), "{session:?}");
}

#[tokio::test]
async fn a_volume_group_that_the_machine_only_activated_is_found() {
    let room = sound().await;
    let (_systemd, ..) = with_systemd(&room).await;
    room.machine.session(TARGET, "192.0.2.21", "3260");
    room.machine.disk("sda", 0, "8:0");
    room.machine.disk("sdb", 1, "8:16");
    assert!(of_name(&look(&room).await, "volume-groups").is_empty());
    // A group of a guest, and one of the machine itself, which is mounted.
    room.machine.stacked("sda", "dm-7", "guest-root", "LVM-abc");
    room.machine.stacked("sda", "dm-8", "guest-swap", "LVM-def");
    room.machine.stacked("sdb", "dm-9", "own-data", "LVM-ghi");
    let mounts = format!("{}36 35 253:9 / /srv rw - ext4 /dev/dm-9 rw\n", crate::room::machine::ROOT);
    room.machine.put("proc/self/mountinfo", &mounts, 0o444);
    let found = look(&room).await;
    let groups = of_name(&found, "volume-groups");
    let [guest] = groups.as_slice() else { panic!("{groups:#?}") };
    assert_eq!((guest.subject.as_str(), guest.state), ("guest", CheckState::Warning));
    assert!(guest.detail.contains(&format!("sda (LUN 0 of {TARGET})")), "{guest:?}");
    assert!(guest.hint.contains(": sudo vgchange --activate n guest; "), "{guest:?}");
    // In use after all.
    let mounts = format!("{mounts}37 35 253:7 / /guest rw - ext4 /dev/dm-7 rw\n");
    room.machine.put("proc/self/mountinfo", &mounts, 0o444);
    assert!(of_name(&look(&room).await, "volume-groups").is_empty());
}

fn of_name(found: &[Finding], name: &str) -> Vec<Finding> {
    found.iter().filter(|finding| finding.name == name).cloned().collect()
}

#[tokio::test]
async fn a_program_that_hangs_does_not_hold_the_answer() {
    let room = sound().await;
    let (_systemd, ..) = with_systemd(&room).await;
    room.machine.put("bin/delay", "4", 0o644);
    let asked = Instant::now();
    let found = ask(&room, Options::from([("timeout", 1_u32.into())])).await;
    assert!(asked.elapsed() < SOON, "{:?}", asked.elapsed());
    assert_eq!(one(&found, "secret-files", "").state, CheckState::Ok, "the rest was looked at");
}

#[tokio::test]
async fn everybody_may_look_and_only_who_may_configure_may_fix() {
    let room = sound().await;
    let (_systemd, orders, _) = with_systemd(&room).await;
    mode(&room, "etc/iscsid.conf", 0o644);
    let before = pictures(&room);
    for user in [STRANGER, MEMBER] {
        let reply = room.world.call_as(user, "Examine", "a{sv}", &["0"]).await;
        assert!(reply.code == 0 && reply.stdout.contains("iscsid.conf"), "{user:?}: {reply:?}");
        assert!(!reply.stdout.contains(SECRET) && !reply.stdout.contains("libvirtd"), "{reply:?}");
        let reply = room.world.peer(user).await.ask(1, false, "Examine", &["{fix=true}"]).await;
        assert!(reply.starts_with(Kind::InteractiveAuthorizationRequired.name()), "{user:?}: {reply}");
    }
    assert!(pictures(&room) == before && orders.lock().unwrap().is_empty());
}

#[tokio::test]
async fn many_looks_at_once_take_turns() {
    let room = sound().await;
    let (_systemd, ..) = with_systemd(&room).await;
    room.machine.put("bin/delay", "4", 0o644);
    let client = InitiatorProxy::new(&room.root).await.unwrap();
    let with = |seconds: u32| client.examine(Options::from([("timeout", seconds.into())]));
    let others = async {
        // The first one is at work.
        while room.machine.calls().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        tokio::join!(with(1), with(1))
    };
    let (first, (second, third)) = tokio::join!(with(3), others);
    assert_eq!(one(&first.unwrap(), "secret-files", "").state, CheckState::Ok);
    for answer in [second, third] {
        fails(answer, Kind::Busy, "another call is examining");
    }
    let calls = room.machine.calls();
    assert_eq!(calls.lines().filter(|line| line.starts_with("call")).count(), 2, "{calls}");
}
