//! The real program against a fake daemon on a bus of its own: what people, programs and scripts get.
//! Must not test the daemon: only what is sent to it and made of its answers.

#![expect(unreachable_pub, reason = "the fake is a module of this test only")]
#![expect(clippy::unwrap_used, reason = "a helper of a test that fails, fails the test")]

mod fake;

use std::{
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use fake::{
    BARE, Bus, CLOSED, DENIED, DISKS, DISMISSED, ENDLESS, FORBIDDEN, HALF, LATE, LEAKY, PARTLY, REFUSED,
    SECRET, SLOW, SOUND, STUBBORN, UNKNOWN, WELL,
};
use serde_json::{Value, json};

#[test]
fn a_login_shows_every_portal_and_ends_with_0() {
    let bus = Bus::new();
    let ended = bus.run(&["login", DISKS, "--timeout", "20", "--no-wait", "--startup", "manual"]);
    assert_eq!(
        ended.out,
        "TARGET                         PORTAL           OUTCOME    SESSION  DISKS  MAPS\n\
         iqn.2003-01.com.example:disks  192.0.2.21:3260  logged-in  1        sda    mpatha\n\
         iqn.2003-01.com.example:disks  192.0.2.37:3260  logged-in  2        sda    mpatha\n"
    );
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let call = &bus.seen().calls[0];
    for part in ["startup=", "\"manual\"", "timeout=", "20", "wait=", "false"] {
        assert!(call.contains(part), "{call}");
    }
    assert_eq!(bus.run(&["-q", "login", DISKS]).out, "");
}

#[test]
fn a_portal_that_failed_is_explained_and_ends_with_11() {
    let bus = Bus::new();
    let ended = bus.run(&["login", HALF]);
    assert!(ended.out.contains("192.0.2.37:3260  failed     -        -      -\n"), "{}", ended.out);
    assert_eq!(ended.err, "iscsictl: 192.0.2.37:3260: no route to the portal\nhint: check the cable\n");
    assert_eq!(ended.code, 11);
    let ended = bus.run(&["login", HALF, "--json"]);
    let rows: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(rows[0]["outcome"], "logged-in");
    assert_eq!(rows[1]["error"], "org.cloudatlas.IscsiInitiator.Error.PortalUnreachable");
    assert_eq!(rows[1]["hint"], "check the cable");
    assert_eq!((ended.code, ended.err.as_str()), (11, ""));
}

#[test]
fn a_refused_secret_ends_with_4_and_nothing_hostile_reaches_the_terminal() {
    let bus = Bus::new();
    let ended = bus.run(&["login", REFUSED]);
    assert_eq!((ended.code, ended.out.as_str()), (4, ""));
    assert_eq!(
        ended.err,
        "iscsictl: the target refused the secret \\u{1b}[2Jgw\\u{202e}\n\
         hint: find the cause: iscsictl diagnose iqn.2003-01.com.example:refused\n"
    );
    let ended = bus.run(&["login", REFUSED, "--json"]);
    assert_eq!((ended.code, ended.out.as_str()), (4, ""));
    assert!(!ended.err.contains(['\x1b', '\u{202e}']), "{:?}", ended.err);
    let error: Value = serde_json::from_str(&ended.err).unwrap();
    let name = "org.cloudatlas.IscsiInitiator.Error.ChapRejected";
    let message = format!("the target refused the secret {}", fake::HOSTILE);
    let hint = format!("find the cause: iscsictl diagnose {REFUSED}");
    assert_eq!(error, json!({ "error": name, "message": message, "hint": hint }));
}

#[test]
fn who_dismissed_the_dialog_is_not_sent_to_an_administrator() {
    let ended = Bus::new().run(&["login", DISMISSED]);
    assert_eq!((ended.code, ended.out.as_str()), (3, ""));
    assert_eq!(
        ended.err,
        "iscsictl: the dialog that asked for a password was dismissed\nhint: try again, and answer it\n"
    );
}

#[test]
fn lists_are_tables_for_people_and_keys_for_programs() {
    let bus = Bus::new();
    let ended = bus.run(&["discover", "192.0.2.21"]);
    assert!(ended.out.contains("\\u{1b}[2Jgw\\u{202e}  192.0.2.21:3260  1     none"), "{}", ended.out);
    let ended = bus.run(&["discover", "192.0.2.99"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
    assert!(ended.err.starts_with("note: the portal lists no target"), "{}", ended.err);
    assert_eq!(bus.run(&["discover", "192.0.2.99", "--json"]).out, "[]\n");
    let paths: Value = serde_json::from_str(&bus.run(&["paths", "--json"]).out).unwrap();
    assert_eq!((&paths[0]["device"], &paths[0]["size"]), (&json!("sda"), &json!(u64::MAX)));
    assert_eq!(paths[0]["model"], fake::HOSTILE);
    let nodes = bus.run(&["nodes", "-q", "-p", "192.0.2.21"]);
    assert_eq!(nodes.out, format!("{DISKS}  192.0.2.21:3260  1  none  manual  new  -\n"));
    assert!(bus.seen().calls.last().unwrap().contains("192.0.2.21:3260"));
    let name = bus.run(&["initiator-name"]);
    assert_eq!((name.code, name.out.as_str()), (0, "iqn.1989-06.io.cloud-atlas:libvirt-client\n"));
    assert!(bus.run(&["logout", DISKS]).out.contains("not-logged-in"));
}

#[test]
fn what_a_logout_would_meet_is_shown_and_ends_with_9() {
    let bus = Bus::new();
    let ended = bus.run(&["in-use", HALF, "192.0.2.21"]);
    let shown = "DEVICE  KIND   UNIT  DETAIL\n\
                 dm-0    mount  -     dm-0 is mounted on \\u{1b}[2Jgw\\u{202e}\n        \
                 hint: umount /mnt\n";
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (9, shown, ""));
    assert_eq!(bus.seen().calls, [format!("check-in-use {HALF} \"192.0.2.21:3260\"")]);
    let rows: Value = serde_json::from_str(&bus.run(&["in-use", HALF, "--json"]).out).unwrap();
    assert_eq!((&rows[0]["mount-point"], &rows[0]["pid"]), (&json!(fake::HOSTILE), &json!(0)));
    let free = bus.run(&["in-use", DISKS]);
    assert_eq!((free.code, free.out.as_str()), (0, ""));
    assert_eq!(
        free.err,
        format!("note: nothing stands in the way of a logout\nhint: log out: iscsictl logout {DISKS}\n")
    );
    assert_eq!((bus.run(&["in-use", DISKS, "-q"]).err.as_str(), bus.run(&["in-use", UNKNOWN]).code), ("", 8));
}

#[test]
fn a_target_is_held_and_released_and_its_holders_are_listed() {
    let bus = Bus::new();
    let ended = bus.run(&["hold", DISKS, "--as", "libvirt:web"]);
    assert_eq!((ended.code, ended.out), (0, format!("{DISKS} is held as libvirt:web.\n")));
    let ended = bus.run(&["release", "-T", DISKS, "--as", "a b", "--json"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, "[]\n"));
    assert_eq!(
        bus.seen().calls,
        [format!("hold {DISKS} \"libvirt:web\""), format!("release {DISKS} \"a b\""),]
    );
    assert_eq!(bus.run(&["hold", UNKNOWN, "--as", "x"]).code, 8);
    let refused = bus.run(&["release", FORBIDDEN, "--as", "x"]);
    assert_eq!(refused.code, 3);
    assert!(
        refused.err.ends_with(&format!("as root: sudo iscsictl release {FORBIDDEN} --as x\n")),
        "{refused:?}"
    );

    let ended = bus.run(&["holds", SLOW]);
    assert_eq!(
        ended.out,
        format!(
            "TARGET                        HOLDER               SESSIONS\n\
                 {SLOW}  \\u{{1b}}[2Jgw\\u{{202e}}  none\n\
                 {SLOW}  backup               none\n"
        )
    );
    assert!(ended.err.ends_with(&format!("hint: log in: iscsictl login {SLOW}\n")), "{}", ended.err);
    assert_eq!(ended.code, 0, "a target without a session is no failure");
    let rows: Value = serde_json::from_str(&bus.run(&["holds", SLOW, "--json"]).out).unwrap();
    assert_eq!(rows[1], json!({ "target": SLOW, "holder": "backup", "sids": [] }));
    let none = bus.run(&["holds"]);
    assert_eq!((none.code, none.out.as_str()), (0, ""));
    assert_eq!(none.err, "note: no target is held\nhint: see how: iscsictl hold --help\n");
    let paths = bus.run(&["paths", SLOW]);
    assert!(
        paths.out.contains("held by backup, \\u{1b}[2Jgw") && paths.out.contains("no session"),
        "{}",
        paths.out
    );
}

#[test]
fn a_connect_shows_its_steps_in_order_and_then_what_a_login_shows() {
    let bus = Bus::new();
    let ended = bus.run(&["connect", "192.0.2.21", "--startup", "automatic", "--timeout", "60"]);
    let (steps, remark) = ended.err.split_at(ended.err.find("it is logged in to at every boot").unwrap());
    assert!(remark.contains("in /etc/fstab: _netdev,nofail,x-systemd.device-timeout=30s"), "{remark}");
    assert_eq!(
        steps.trim_end_matches(|c: char| c != '\n'),
        "discover: 192.0.2.21:3260 lists one target at 2 portals\n\
         record: 2 nodes, 2 of them new\n\
         set-chap: CHAP in 2 records\n\
         \\u{1b}[2Jgw\\u{202e}: \\u{1b}[2Jgw\\u{202e}\n\
         login: 2 of 2 portals are up\n"
    );
    assert_eq!((ended.code, ended.out.as_str()), (0, bus.run(&["login", DISKS]).out.as_str()));
    let (one, two) = ("iqn.2003-01.com.example:two", "iqn.2003-01.com.example:one");
    for quiet in ["--quiet", "--json"] {
        let ended = bus.run(&["connect", "-p", "192.0.2.21", "--target", one, "-T", two, "--no-wait", quiet]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        if quiet == "--json" {
            let rows: Value = serde_json::from_str(&ended.out).unwrap();
            assert_eq!((&rows[1]["outcome"], &rows[1]["sid"]), (&json!("logged-in"), &json!(2)));
        } else {
            assert_eq!(ended.out, "");
        }
    }
    let calls: Vec<String> = bus.seen().calls.into_iter().filter(|call| !call.starts_with("login")).collect();
    let named = format!("connect {WELL} None None wait=false [{one:?}, {two:?}] ");
    let first = format!("connect {WELL} Some(60s) Some(Automatic) wait=true [] ");
    assert_eq!(calls, [first, named.clone(), named]);
}

#[test]
fn a_connect_that_failed_says_so_as_a_login_does() {
    let bus = Bus::new();
    let ended = bus.run(&["connect", PARTLY]);
    assert_eq!(
        ended.err,
        "discover: asking the portal\n\
         iscsictl: 192.0.2.37:3260: no route to the portal\nhint: check the cable\n"
    );
    assert!(ended.out.contains("192.0.2.37:3260  failed"), "{}", ended.out);
    assert_eq!(ended.code, 11);
    let ended = bus.run(&["connect", CLOSED]);
    assert_eq!(
        ended.err,
        "login: at 2 portals\nundo: putting the records back\n\
         iscsictl: the step login failed: the secret was refused\n\
         hint: find the cause: iscsictl diagnose 192.0.2.66:3260\n"
    );
    assert_eq!((ended.code, ended.out.as_str()), (4, ""));
    let ended = bus.run(&["connect", CLOSED, "--json"]);
    let error: Value = serde_json::from_str(&ended.err).unwrap();
    assert_eq!(error["error"], "org.cloudatlas.IscsiInitiator.Error.ChapRejected");
}

#[test]
fn a_diagnosis_is_a_line_a_check_and_a_hint_below_it() {
    let bus = Bus::new();
    let ended = bus.run(&["diagnose", "192.0.2.21"]);
    assert_eq!(
        ended.out,
        "STATE    CHECK           DETAIL\n\
         ok       open-iscsi      looked at\n\
         warning  initiator-name  seen: \\u{1b}[2Jgw\\u{202e}\n         \
         hint: do \\u{1b}[2Jgw\\u{202e}\n\
         ok       tcp             looked at\n"
    );
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let ended = bus.run(&["diagnose", HALF, "--timeout", "5"]);
    let lines: Vec<&str> = ended.out.lines().collect();
    assert_eq!(lines[1..4], ["this machine", "  ok       open-iscsi  looked at", WELL]);
    assert_eq!(lines[7..9], [PARTLY, "  failed   tcp         seen: \\u{1b}[2Jgw\\u{202e}"]);
    assert_eq!((ended.code, ended.err.as_str()), (4, ""), "the secret is more telling than the portal");
    let ended = bus.run(&["diagnose", "-q", HALF]);
    assert_eq!(ended.out.lines().count(), 6, "{}", ended.out);
    assert!(!ended.out.contains("ok") && !ended.out.contains("skipped"), "{}", ended.out);
    assert_eq!((ended.code, bus.run(&["diagnose", "-q", DISKS]).out.as_str()), (4, ""));
    let ended = bus.run(&["diagnose", HALF, "192.0.2.37", "--json", "-q"]);
    let rows: Value = serde_json::from_str(&ended.out).unwrap();
    let keys: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["detail", "error", "hint", "name", "portal", "state"]);
    assert_eq!((rows.as_array().unwrap().len(), &rows[4]["state"]), (5, &json!("skipped")));
    assert_eq!(rows[2]["error"], "org.cloudatlas.IscsiInitiator.Error.ChapRejected");
    assert_eq!(ended.code, 4);
    let failed = bus.run(&["diagnose", SLOW]);
    assert_eq!((failed.code, failed.err.as_str()), (7, "iscsictl: timed out\n"));
    assert_eq!(
        bus.seen().calls[..2],
        [format!("diagnose \"\" {WELL:?} None "), format!("diagnose {HALF:?} \"\" Some(5s) ")]
    );
}

#[test]
fn a_word_that_is_neither_target_nor_portal_is_not_sent() {
    let bus = Bus::new();
    for (args, why) in [
        (&["diagnose", "no/where"][..], "not a target"),
        (&["diagnose", "eui.12"], "16 hexadecimal digits"),
        (&["diagnose", "192.0.2.21", "192.0.2.37"], "more than one portal"),
        (&["diagnose"], "needs a target or a portal"),
    ] {
        let ended = bus.run(args);
        assert!(ended.code == 2 && ended.err.contains(why), "{ended:?}");
        let error: Value = serde_json::from_str(&bus.run(&[args, &["--json"]].concat()).err).unwrap();
        assert_eq!(error["error"], "org.freedesktop.DBus.Error.InvalidArgs");
    }
    assert_eq!(bus.seen().calls, [""; 0]);
}

#[test]
fn what_is_forgotten_is_said() {
    let bus = Bus::new();
    let ended = bus.run(&["forget", DISKS]);
    assert_eq!((ended.code, ended.out), (0, format!("All records of {DISKS} are removed.\n")));
    let ended = bus.run(&["forget", DISKS, "192.0.2.21"]);
    assert_eq!((ended.code, ended.out), (0, format!("The record of {DISKS} at {WELL} is removed.\n")));
    assert_eq!(bus.run(&["-q", "forget", DISKS]).out, "");
    let ended = bus.run(&["forget", HALF]);
    assert_eq!(ended.err, "iscsictl: a session is up\nhint: iscsictl logout TARGET first\n");
    assert_eq!((ended.code, ended.out.as_str()), (9, ""));
    let calls = bus.seen().calls;
    assert_eq!(calls[..2], [format!("forget {DISKS} \"\""), format!("forget {DISKS} {WELL:?}")]);
}

#[test]
fn a_rescan_shows_what_is_other_than_before() {
    let bus = Bus::new();
    let ended = bus.run(&["rescan"]);
    assert_eq!(
        ended.out,
        "TARGET                         PORTAL           OUTCOME    SESSION  DISKS    NEW  RESIZED  VANISHED  MAPS\n\
         iqn.2003-01.com.example:disks  192.0.2.21:3260  rescanned  1        sda,sdc  sdc  sda      -         mpatha\n"
    );
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let ended = bus.run(&["rescan", HALF, "192.0.2.21", "--timeout", "60", "--no-wait"]);
    assert!(ended.out.contains("  sda      sdb       mpatha\n"), "{}", ended.out);
    assert_eq!(
        ended.err,
        "note: 192.0.2.21:3260: \\u{1b}[2Jgw\\u{202e}\niscsictl: 192.0.2.37:3260: no way\n"
    );
    assert_eq!(ended.code, 11);
    let rows: Value = serde_json::from_str(&bus.run(&["rescan", HALF, "--json"]).out).unwrap();
    let keys: Vec<&str> = rows[0].as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "added", "devices", "error", "hint", "maps", "message", "outcome", "portal", "resized", "sid",
        "target", "vanished",
    ];
    assert_eq!(keys, expected);
    assert_eq!((&rows[0]["vanished"], &rows[1]["outcome"]), (&json!(["sdb"]), &json!("failed")));
    assert_eq!(bus.run(&["rescan", REFUSED]).code, 8);
    assert_eq!(
        bus.seen().calls[..2],
        [
            "rescan \"\" \"\" None wait=true".to_owned(),
            format!("rescan {HALF:?} {WELL:?} Some(60s) wait=false")
        ]
    );
}

#[test]
fn what_is_added_is_shown_as_a_node() {
    let bus = Bus::new();
    let ended = bus.run(&["add", DISKS, "192.0.2.21"]);
    assert_eq!(
        ended.out,
        "TARGET                         PORTAL           TPGT  CHAP  STARTUP  STATE  SESSION\n\
         iqn.2003-01.com.example:disks  192.0.2.21:3260  -     none  manual   new    -\n"
    );
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    let args = [
        "add",
        "-T",
        DISKS,
        "-p",
        "192.0.2.21",
        "--tpgt",
        "2",
        "--startup",
        "automatic",
        "--interface",
        "eth1",
        "--json",
    ];
    let rows: Value = serde_json::from_str(&bus.run(&args).out).unwrap();
    assert_eq!((&rows[0]["tpgt"], &rows[0]["state"]), (&json!(2), &json!("new")));
    assert_eq!(bus.run(&["-q", "add", DISKS, "192.0.2.21"]).out, "");
    assert_eq!(bus.run(&["add", DISKS]).code, 2);
    assert_eq!(
        bus.seen().calls[..2],
        [
            format!("add-node {DISKS} {WELL} None None None"),
            format!("add-node {DISKS} {WELL} Some(2) Some(Automatic) Some(\"eth1\")")
        ]
    );
}

#[test]
fn when_to_log_in_is_set_and_said() {
    let bus = Bus::new();
    let ended = bus.run(&["startup", "automatic", DISKS]);
    assert_eq!((ended.code, ended.out), (0, format!("{DISKS} is logged in to at boot, too.\n")));
    let ended = bus.run(&["startup", "manual", DISKS, "192.0.2.21"]);
    assert_eq!(ended.out, format!("{DISKS} at {WELL} is logged in to only when asked.\n"));
    assert_eq!(bus.run(&["-q", "startup", "manual", DISKS]).out, "");
    assert_eq!(bus.run(&["--json", "startup", "manual", DISKS]).out, "[]\n");
    let ended = bus.run(&["startup", "automatic", HALF]);
    assert_eq!((ended.code, ended.err.as_str()), (9, "iscsictl: this machine boots with the record\n"));
    assert_eq!(
        bus.seen().calls[..2],
        [format!("set-startup {DISKS} \"\" automatic"), format!("set-startup {DISKS} {WELL:?} manual")]
    );
}

#[test]
fn secrets_go_through_descriptors_and_nowhere_else() {
    let bus = Bus::new();
    let ended = bus.run_with(&["set-chap", "--user", "libvirtd", "--secret-stdin"], &format!("{SECRET}\n"));
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{ended:?}");
    assert_eq!(ended.out, "CHAP as libvirtd is stored for targets yet to be discovered.\n");
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"the-other-secret\n").unwrap();
    let path = file.path().to_str().unwrap();
    let mutual = ["--user", "u", "--secret-stdin", "--target-user", "gw", "--target-secret-file", path];
    assert_eq!(bus.run_with(&[&["set-chap", DISKS, "192.0.2.21"], &mutual[..]].concat(), SECRET).code, 0);
    assert_eq!(bus.run_with(&[&["discover", "192.0.2.21"], &mutual[..]].concat(), SECRET).code, 0);
    assert_eq!(bus.run(&["set-chap", "--clear"]).code, 0);
    assert_eq!(bus.run_with(&[&["connect", "192.0.2.21", "-q"], &mutual[..]].concat(), SECRET).code, 0);
    assert_eq!(bus.run_with(&[&["diagnose", "192.0.2.21"], &mutual[..]].concat(), SECRET).code, 0);
    let seen = bus.seen();
    assert_eq!(
        seen.calls,
        [
            format!("set-chap \"\" \"\" libvirtd={SECRET}"),
            format!("set-chap {DISKS:?} \"192.0.2.21:3260\" u={SECRET} gw=the-other-secret"),
            format!("discover 192.0.2.21:3260 None None u={SECRET} gw=the-other-secret"),
            "set-chap \"\" \"\" clear".to_owned(),
            format!("connect {WELL} None None wait=true [] u={SECRET} gw=the-other-secret"),
            format!("diagnose \"\" {WELL:?} None u={SECRET} gw=the-other-secret"),
        ]
    );
    assert_eq!(seen.leaks, [""; 0]);
}

#[test]
fn what_ceph_does_not_accept_is_said_once_after_what_was_stored() {
    let bus = Bus::new();
    let limits = "note: if this is a Ceph gateway: it accepts only secrets of 12 to 16 characters (this one is shorter)\n";
    let chap = ["--user", "libvirtd", "--secret-stdin"];
    for command in [&["set-chap", DISKS][..], &["connect", WELL]] {
        let ended = bus.run_with(&[command, &chap[..]].concat(), "s3cr3t");
        assert!(ended.code == 0 && ended.err.ends_with(limits), "{ended:?}");
        assert_eq!(ended.err.matches("Ceph").count(), 1, "{ended:?}");
        assert!(!ended.err.contains("s3cr3t") && !ended.err.contains(" 6 "), "{ended:?}");
        for silent in ["--quiet", "--json"] {
            let ended = bus.run_with(&[command, &chap[..], &[silent]].concat(), "s3cr3t");
            assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        }
    }
    let ended = bus.run_with(&[&["connect", CLOSED], &chap[..]].concat(), "s3cr3t");
    let why =
        "the secret was refused; if this is a Ceph gateway: it accepts only secrets of 12 to 16 characters";
    assert!(ended.code == 4 && ended.err.contains(why), "{ended:?}");
    assert_eq!(ended.err.matches("Ceph").count(), 1, "{ended:?}");
    let failed = bus.run_with(&["set-chap", DISKS, "--user", "", "--secret-stdin"], "s3cr3t");
    assert!(failed.code != 0 && !failed.err.contains("Ceph"), "{failed:?}");
    for command in [&["discover", WELL][..], &["diagnose", DISKS]] {
        let ended = bus.run_with(&[command, &chap[..]].concat(), "s3cr3t");
        assert!(!ended.err.contains("Ceph"), "it is only tried: {ended:?}");
    }
    let ended = bus.run_with(&["set-chap", "--user", "admin", "--secret-stdin"], SECRET);
    assert!(ended.err.contains("user names of 8 to 64 characters (\"admin\" is shorter)"), "{ended:?}");
}

#[test]
fn one_secret_for_both_sides_is_not_sent() {
    let bus = Bus::new();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(SECRET.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let same =
        ["--user", "libvirtd", "--secret-stdin", "--target-user", "gateway1", "--target-secret-file", path];
    for command in [&["set-chap", DISKS][..], &["connect", WELL], &["discover", WELL], &["diagnose", DISKS]] {
        let ended = bus.run_with(&[command, &same[..]].concat(), SECRET);
        let message = "iscsictl: the target's secret must differ from the initiator's: ";
        assert!(ended.code == 2 && ended.err.starts_with(message), "{ended:?}");
        assert!(!ended.err.contains(SECRET) && ended.out.is_empty(), "{ended:?}");
    }
    assert_eq!(bus.seen().calls, [""; 0]);
}

#[test]
fn the_search_for_leaks_finds_one() {
    let mut shell = fake::command("sh");
    shell
        .args(["-c", "echo; read go", "a-secret-in-an-argument"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut leaky = shell.spawn().unwrap();
    // Right after spawn() the kernel may not have its arguments yet.
    assert_eq!(leaky.stdout.as_mut().unwrap().read(&mut [0]).unwrap(), 1);
    assert_eq!(fake::leaks("a-secret-in-an-argument"), [format!("/proc/{}/cmdline", leaky.id())]);
    drop(leaky.stdin.take());
    leaky.wait().unwrap();
}

#[test]
fn a_secret_that_others_may_know_is_not_sent() {
    let bus = Bus::new();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(SECRET.as_bytes()).unwrap();
    file.as_file().set_permissions(PermissionsExt::from_mode(0o644)).unwrap();
    let ended = bus.run(&["set-chap", "--user", "u", "--secret-file", file.path().to_str().unwrap()]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.contains("mode 0644") && ended.err.contains("hint: make it yours alone: chmod 600 /"),
        "{}",
        ended.err
    );
    let ended = bus.run(&["set-chap", "--user", "u", "--secret", "not-so-secret"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("process list") && !ended.err.contains("not-so-secret"), "{}", ended.err);
    assert_eq!(bus.seen().calls, [""; 0]);
}

#[test]
fn without_a_daemon_or_a_bus_it_ends_with_12_and_says_what_to_start() {
    let bus = Bus::empty();
    let ended = bus.run(&["paths"]);
    assert_eq!(ended.code, 12);
    assert!(
        ended.err.contains("org.cloudatlas.IscsiInitiator") && ended.err.contains("systemctl start"),
        "{}",
        ended.err
    );
    let error: Value = serde_json::from_str(&bus.run(&["initiator-name", "--json"]).err).unwrap();
    assert_eq!(error["error"], "org.freedesktop.DBus.Error.ServiceUnknown");
    let mut nowhere = bus.iscsictl(&["paths"]);
    let ended: fake::Ended =
        nowhere.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere").output().unwrap().into();
    assert_eq!(ended.code, 12);
    assert!(ended.err.contains("cannot reach the system bus"), "{}", ended.err);
}

#[test]
fn a_daemon_that_leaves_in_the_middle_ends_with_12() {
    let mut bus = Bus::new();
    let child = bus.iscsictl(&["login", SLOW]).spawn().unwrap();
    while bus.seen().calls.is_empty() {
        std::thread::yield_now();
    }
    bus.crash();
    let ended: fake::Ended = child.wait_with_output().unwrap().into();
    assert_eq!(ended.code, 12);
    assert!(ended.err.contains("stopped before it replied\nhint: see its log: journalctl"), "{}", ended.err);
}

#[test]
fn an_older_daemon_is_named_as_such() {
    let ended = Bus::new().run(&["initiator-name", "iqn.2003-01.com.example:me"]);
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("hint: the daemon is older"), "{}", ended.err);
}

#[test]
fn a_reader_that_has_left_is_no_failure() {
    let bus = Bus::new();
    for (args, code) in
        [(&["paths"][..], 0), (&["login", HALF], 11), (&["--help"], 0), (&["paths", "--json"], 0)]
    {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended: fake::Ended = bus.iscsictl(args).stdout(writer).output().unwrap().into();
        assert_eq!(ended.code, code, "{ended:?}");
        assert!(!ended.err.contains("panick"), "{}", ended.err);
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ended: fake::Ended = Bus::new().iscsictl(&["paths"]).stdout(full).output().unwrap().into();
    assert_eq!(ended.code, 1);
    assert!(ended.err.starts_with("iscsictl: output: "), "{}", ended.err);
}

/// Sends a signal once the daemon has the call.
fn signalled(bus: &Bus, args: &[&str], signal: rustix::process::Signal) -> fake::Ended {
    let child = bus.iscsictl(args).spawn().unwrap();
    while bus.seen().calls.is_empty() {
        std::thread::yield_now();
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
    child.wait_with_output().unwrap().into()
}

#[test]
fn a_signal_ends_a_slow_login() {
    let bus = Bus::new();
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::HUP] {
        let ended = signalled(&bus, &["login", SLOW], signal);
        let code = 128 + signal.as_raw();
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (code, "", ""));
    }
    assert_eq!(bus.seen().calls, [""; 0]);
    let ended = signalled(&Bus::older(), &["login", SLOW], rustix::process::Signal::INT);
    assert_eq!((ended.code, ended.err.as_str()), (130, ""), "it cannot be cancelled");
}

#[test]
fn an_interrupt_cancels_the_call_and_waits_for_its_answer() {
    let bus = Bus::new();
    let ended = signalled(&bus, &["login", SLOW], rustix::process::Signal::INT);
    assert_eq!((ended.code, ended.out.as_str()), (130, ""));
    assert_eq!(ended.err, "iscsictl: the call was cancelled\n");
    assert_eq!(bus.seen().calls, ["cancel 1"]);
    let ended = signalled(&bus, &["login", SLOW, "--json"], rustix::process::Signal::INT);
    let error: Value = serde_json::from_str(&ended.err).unwrap();
    assert_eq!(error["error"], "org.cloudatlas.IscsiInitiator.Error.Cancelled");
    assert_eq!((ended.code, bus.seen().calls), (130, vec!["cancel 1".to_owned()]));
}

/// Types `answer` once `question` is on the terminal, and gives what the terminal showed.
fn converse(bus: &Bus, line: &str, question: &str, answer: &str) -> String {
    // Ctrl-C is for iscsictl, not for the shell that looks at the terminal afterwards.
    let mut child = bus.terminal(&format!("trap : INT; {line}")).stderr(Stdio::null()).spawn().unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    let mut terminal = child.stdout.take().unwrap();
    let (mut shown, mut byte) = (Vec::new(), [0; 1]);
    while !String::from_utf8_lossy(&shown).contains(question) {
        assert_eq!(terminal.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
        shown.extend(byte);
    }
    keyboard.write_all(answer.as_bytes()).unwrap();
    keyboard.flush().unwrap();
    terminal.read_to_end(&mut shown).unwrap();
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

/// The same with several questions, one after the other.
fn converse_long(bus: &Bus, line: &str, answers: &[(&str, &str)]) -> String {
    let mut child = bus.terminal(&format!("trap : INT; {line}")).stderr(Stdio::null()).spawn().unwrap();
    let mut keyboard = child.stdin.take().unwrap();
    let mut terminal = child.stdout.take().unwrap();
    let (mut shown, mut byte, mut seen) = (Vec::new(), [0; 1], 0);
    for (question, answer) in answers {
        while !String::from_utf8_lossy(shown.get(seen..).unwrap_or_default()).contains(question) {
            assert_eq!(terminal.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&shown));
            shown.extend(byte);
        }
        seen = shown.len();
        keyboard.write_all(answer.as_bytes()).unwrap();
        keyboard.flush().unwrap();
    }
    terminal.read_to_end(&mut shown).unwrap();
    child.wait().unwrap();
    String::from_utf8(shown).unwrap()
}

#[test]
fn a_prompt_shows_no_secret_and_leaves_the_terminal_as_it_was() {
    let bus = Bus::new();
    let line = "\"$ISCSICTL\" set-chap --user libvirtd; echo code=$?; stty -a";
    let shown = converse(&bus, line, "secret of this initiator: ", &format!("{SECRET}\n"));
    assert!(shown.contains("CHAP as libvirtd is stored") && shown.contains("code=0"), "{shown}");
    assert!(!shown.contains(SECRET) && shown.contains(" echo "), "{shown}");
    let seen = bus.seen();
    assert_eq!(seen.calls, [format!("set-chap \"\" \"\" libvirtd={SECRET}")]);
    assert_eq!(seen.leaks, [""; 0]);
    let shown = converse(&bus, line, "secret of this initiator: ", "s3cr\x03");
    assert!(shown.contains("code=130") && shown.contains(" echo ") && !shown.contains("s3cr"), "{shown}");
    assert!(bus.seen().calls.is_empty());
}

#[test]
fn a_terminal_sees_a_spinner_that_is_gone_in_the_end() {
    let bus = Bus::new();
    let shown =
        converse(&bus, &format!("\"$ISCSICTL\" login {SLOW}; echo code=$?"), "slow 0 s\x1b[K", "\x03");
    assert!(shown.contains("| Logging in to iqn.2003-01.com.example:slow 0 s\x1b[K"), "{shown:?}");
    let said = format!("\r\x1b[K{}iscsictl:{} the call was cancelled", "\x1b[1;31m", "\x1b[0m");
    assert!(shown.contains(&said) && shown.contains("code=130"), "{shown:?}");
}

#[test]
fn a_second_interrupt_leaves_at_once() {
    let bus = Bus::new();
    let line = format!("\"$ISCSICTL\" connect {STUBBORN}; echo code=$?");
    let shown = converse_long(&bus, &line, &[("discover 0 s\x1b[K", "\x03"), ("Cancelling", "\x03")]);
    assert!(shown.contains("\r\x1b[K\r\x1b[Knote: interrupted; the daemon cancels the call"), "{shown:?}");
    assert!(shown.contains("code=130"), "{shown:?}");
}

#[test]
fn what_is_said_of_an_interrupt_is_what_becomes_of_the_call() {
    let bus = Bus::older();
    let line = format!("\"$ISCSICTL\" login {SLOW}; echo code=$?");
    let shown = converse(&bus, &line, "slow 0 s\x1b[K", "\x03");
    assert!(shown.contains("note: interrupted; the daemon may still finish what it began"), "{shown:?}");
    bus.silent(true);
    let shown = converse(&bus, "\"$ISCSICTL\" holds & sleep 1; kill -TERM $!; wait $!; echo code=$?", "", "");
    assert!(shown.contains("code=143") && !shown.contains("interrupted"), "it only looks: {shown:?}");
}

#[test]
fn a_cancel_that_comes_too_late_is_said_and_the_answer_is_the_calls_own() {
    let bus = Bus::new();
    let line = format!("\"$ISCSICTL\" logout {LATE}; echo code=$?");
    let shown = converse(&bus, &line, "maps 0 s\x1b[K", "\x03");
    assert!(shown.contains("note: too late: it goes on to its end"), "{shown:?}");
    assert!(shown.contains("not-logged-in") && shown.contains("code=0"), "{shown:?}");
    assert!(shown.contains(" s  maps: removing mpatha\r\n"), "{shown:?}");
    assert_eq!(bus.seen().calls, [format!("logout {LATE} \"\""), "cancel 1".to_owned()]);
}

#[test]
fn an_older_daemon_reports_the_steps_of_a_connect_by_their_older_name() {
    let ended = Bus::older().run(&["connect", WELL]);
    assert!(ended.code == 0 && ended.err.starts_with("discover: "), "{ended:?}");
}

#[test]
fn a_terminal_sees_the_present_step_below_those_before_it() {
    let bus = Bus::new();
    let line = format!("\"$ISCSICTL\" connect {ENDLESS}; echo code=$?");
    let shown = converse(&bus, &line, "discover 0 s\x1b[K", "\x03");
    assert!(shown.contains(" s  discover: asking the portal\r\n"), "{shown:?}");
    assert!(shown.contains("| Connecting to 192.0.2.99:3260: discover 0 s\x1b[K"), "{shown:?}");
    assert!(shown.contains("the call was cancelled") && shown.contains("code=130"), "{shown:?}");
}

#[test]
fn a_terminal_sees_each_state_in_its_colour() {
    let bus = Bus::new();
    let shown = converse(&bus, &format!("read go; \"$ISCSICTL\" diagnose {HALF}"), "", "\n");
    for word in ["\x1b[32mok\x1b[0m", "\x1b[1;31mfailed\x1b[0m", "\x1b[2mskipped\x1b[0m"] {
        assert!(shown.contains(word), "{word:?}: {shown:?}");
    }
    let shown = converse(&bus, "read go; \"$ISCSICTL\" diagnose 192.0.2.21", "", "\n");
    assert!(shown.contains("\x1b[33mwarning\x1b[0m") && !shown.contains("\x1b[2J"), "{shown:?}");
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let bus = Bus::new();
    let line = |prefix: &str| format!("read go; {prefix} \"$ISCSICTL\" login {HALF}");
    let shown = converse(&bus, &line(""), "", "\n");
    assert!(shown.contains("\x1b[1;31mfailed\x1b[0m"), "{shown:?}");
    let shown = converse(&bus, &line("NO_COLOR=1"), "", "\n");
    assert!(shown.contains("failed ") && !shown.contains("\x1b[1;31m"), "{shown:?}");
}

#[test]
fn multipath_is_set_up_shown_and_undone() {
    let bus = Bus::new();
    let shown = bus.run(&["multipath", "show", "--only-iscsi", "--queueing", "30"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.out.contains("Nothing was changed.") && !shown.out.contains('\x1b'), "{shown:?}");
    let quiet = bus.run(&["multipath", "setup", "--wwid-names", "--quiet"]);
    assert_eq!((quiet.code, quiet.out.as_str()), (0, ""));
    let undone = bus.run(&["multipath", "undo"]);
    assert!(
        undone.err.contains("maps are there") && undone.out.contains("multipathd.service: started"),
        "{undone:?}"
    );
    let json = bus.run(&["multipath", "undo", "--dry-run", "--json"]);
    let answer: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(answer[0]["version"], "0.11.1");
    let calls: Vec<String> =
        bus.seen().calls.iter().map(|call| call.replace("Bool(", "").replace([')', '"'], "")).collect();
    assert_eq!(calls.len(), 4, "{calls:?}");
    assert!(calls[0].contains("dry-run=") && calls[0].contains("only-iscsi=") && calls[0].contains("30"));
    assert!(calls[1].contains("user-friendly-names=") && calls[1].contains("false"));
    assert!(calls[2].contains("undo=") && !calls[2].contains("dry-run="));
}

#[test]
fn a_doctor_shows_what_to_do_and_ends_with_13_if_there_is_something() {
    let (bus, _services) = Bus::that_can_start_it();
    let ended = bus.run(&["doctor"]);
    assert_eq!(ended.code, 13, "{ended:?}");
    for line in [
        "ok       system-bus    -                              reachable\n",
        "ok       iscsid        -                              runs\n",
        "warning  secret-files  /etc/iscsi/iscsid.conf         \\u{1b}[2Jgw\\u{202e}\n",
        "         hint: chmod it\n         fix: make it mode 0600: iscsictl doctor --fix\n",
    ] {
        assert!(ended.out.contains(line), "{line}: {}", ended.out);
    }
    assert_eq!(ended.err, "note: 0 failed, 1 warning\nhint: fix 1 of them: iscsictl doctor --fix\n");
    let fixed = bus.run(&["doctor", "--fix", "-q"]);
    assert_eq!((fixed.code, fixed.err.as_str()), (0, ""), "{fixed:?}");
    assert!(fixed.out.starts_with("ok  secret-files  /etc/iscsi/iscsid.conf  fixed: "), "{fixed:?}");
    let sound = bus.run(&["doctor", "--timeout", &SOUND.to_string()]);
    assert_eq!((sound.code, sound.err.as_str()), (0, "note: nothing is wrong\n"), "{sound:?}");
    assert_eq!(
        bus.seen().calls,
        ["examine fix=false None", "examine fix=true None", "examine fix=false Some(5s)"]
    );
}

#[test]
fn a_doctor_for_programs_has_the_contracts_keys() {
    let bus = Bus::new();
    let ended = bus.run(&["doctor", "--json"]);
    assert_eq!((ended.code, ended.err.as_str()), (13, ""));
    let rows: Vec<Value> = serde_json::from_str(&ended.out).unwrap();
    for row in &rows {
        let keys: Vec<&str> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["detail", "fix", "fixed", "hint", "name", "state", "subject"]);
    }
    let row = |name: &str| rows.iter().find(|row| row["name"] == name).unwrap();
    assert_eq!(row("secret-files")["fix"], "make it mode 0600");
    assert_eq!(row("system-bus")["state"], "ok");
    // This bus cannot start it.
    assert_eq!(row("daemon")["state"], "warning", "{rows:?}");
}

#[test]
fn a_doctor_without_an_answer_still_shows_what_it_sees() {
    for (bus, state) in [(Bus::empty(), "ok"), (Bus::empty(), "failed")] {
        let mut program = bus.iscsictl(&["doctor", "--json"]);
        if state == "failed" {
            program.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus");
        }
        let ended: fake::Ended = program.output().unwrap().into();
        assert_eq!(ended.code, 12, "{ended:?}");
        let rows: Vec<Value> = serde_json::from_str(&ended.out).unwrap();
        let of = |name: &str| rows.iter().filter(|row| row["name"] == name).collect::<Vec<_>>();
        assert_eq!(of("system-bus")[0]["state"], state);
        assert_eq!(of("examination").len(), usize::from(state == "ok"));
        let installed = of("installed");
        assert_eq!(installed.len(), 5, "{rows:?}");
        for part in [
            "system.d/org.cloud",
            "system-services/",
            "polkit-1/actions/",
            "iscsi-initiatord.service",
            "iscsiadm",
        ] {
            assert!(installed.iter().any(|row| row["subject"].as_str().unwrap().contains(part)), "{part}");
        }
    }
}

#[test]
fn a_doctor_who_is_refused_ends_with_3_and_tells_what_it_sees() {
    let bus = Bus::new();
    let ended = bus.run(&["doctor", "--fix", "--timeout", &DENIED.to_string()]);
    assert_eq!(ended.code, 3, "{ended:?}");
    assert!(ended.err.contains("iscsictl: not allowed\nhint: "), "{}", ended.err);
    assert!(ended.out.contains("examination"), "{}", ended.out);
}

#[test]
fn a_support_bundle_is_a_new_private_file_without_a_secret() {
    let bus = Bus::new();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("support.json");
    let path = file.to_str().unwrap();
    let ended = bus.run(&["doctor", "--bundle", path, "--timeout", &LEAKY.to_string()]);
    assert_eq!(ended.code, 13, "{ended:?}");
    assert!(ended.out.contains(SECRET), "the user is shown a leak: {}", ended.out);
    assert!(ended.err.contains(&format!("wrote the support bundle {path}")), "{}", ended.err);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains(SECRET) && text.contains("node.session.auth.password = (removed)"), "{text}");
    let document: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["format"], 1);
    assert_eq!(document["paths"][0]["device"], "sda");
    assert_eq!(document["nodes"][0]["target"], DISKS);
    assert_eq!(document["properties"]["features"], json!(["connect-progress", "jobs", "objects"]));
    assert_eq!(document["multipath"]["version"], "0.11.1");
    assert!(document["findings"].as_array().unwrap().iter().any(|row| row["name"] == "records"));
    assert!(!document["kernel"].as_str().unwrap().is_empty());
    let calls = bus.seen().calls;
    assert!(
        calls.iter().any(|call| call.starts_with("setup-multipath dry-run=") && call.contains("true")),
        "{calls:?}"
    );
    // A second time: nothing is asked, nothing is written.
    let again = bus.run(&["doctor", "--fix", "--bundle", path]);
    assert_eq!((again.code, again.out.as_str()), (2, ""), "{again:?}");
    assert!(again.err.contains(&format!("{path}: already exists")), "{}", again.err);
    assert!(bus.seen().calls.is_empty());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_list_that_is_limited_to_what_is_not_there_says_so() {
    let bus = Bus::new();
    let near = format!("iscsictl nodes {DISKS}");
    let near_path = format!("iscsictl paths {DISKS}");
    let login = format!("iscsictl login {HALF}");
    let other = "iqn.2003-01.com.example:other";
    for (args, says, hint) in [
        (&["nodes", UNKNOWN][..], format!("note: nothing is recorded for {UNKNOWN}\n"), near.as_str()),
        (&["nodes", other], format!("note: nothing is recorded for {other}\n"), "iscsictl nodes"),
        (
            &["nodes", "-p", "198.51.100.1"],
            "note: nothing is recorded at 198.51.100.1:3260\n".to_owned(),
            "iscsictl nodes",
        ),
        (
            &["paths", UNKNOWN],
            format!("note: no session for {UNKNOWN}; nothing is recorded for {UNKNOWN}\n"),
            &near_path,
        ),
        (&["paths", HALF], format!("note: no session for {HALF}\n"), &login),
    ] {
        let ended = bus.run(args);
        assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{args:?}");
        assert!(
            ended.err.starts_with(&says) && ended.err.trim_end().ends_with(hint),
            "{args:?}: {}",
            ended.err
        );
        assert_eq!(bus.run(&[args, &["--json"]].concat()).out, "[]\n");
    }
    for args in [&["logout", UNKNOWN][..], &["forget", UNKNOWN], &["startup", "manual", UNKNOWN]] {
        let ended = bus.run(args);
        let hint = "hint: see what is recorded: iscsictl nodes\n";
        assert!(ended.code == 8 && ended.err.ends_with(hint), "{args:?}: {}", ended.err);
    }
}

#[test]
fn disks_without_a_map_are_remarked_on_with_the_command_that_makes_maps() {
    let bus = Bus::new();
    let note = "note: the disks have no multipath map\nhint: set multipath up: iscsictl multipath setup\n";
    let ended = bus.run(&["login", BARE]);
    assert_eq!((ended.code, ended.err.as_str()), (0, note));
    assert_eq!(bus.run(&["paths"]).err, note);
    for args in [
        &["login", BARE, "-q"][..],
        &["login", BARE, "--json"],
        &["login", BARE, "--no-wait"],
        &["login", DISKS],
    ] {
        assert_eq!(bus.run(args).err, "", "{args:?}");
    }
}

#[test]
fn a_discovery_says_whose_the_column_chap_is() {
    let ended = Bus::new().run(&["discover", "192.0.2.21"]);
    assert!(ended.err.starts_with("note: CHAP \"none\" is that of the record: "), "{}", ended.err);
}

#[test]
fn mistakes_are_answered_as_everything_else_is() {
    let bus = Bus::new();
    for args in [
        &["login"][..],
        &["login", "--tiemout", "5", DISKS],
        &["status"],
        &["login", DISKS, "--timeout", "10x"],
        &["discover", DISKS],
        &["set-chap"],
    ] {
        let ended = bus.run(args);
        let mut lines = ended.err.lines();
        assert!(lines.next().unwrap().starts_with("iscsictl: "), "{args:?}: {}", ended.err);
        assert!(
            lines.next().unwrap().starts_with("hint: ") && lines.next().is_none(),
            "{args:?}: {}",
            ended.err
        );
        assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    }
    assert_eq!(bus.seen().calls, [""; 0]);
    assert_eq!(bus.run(&["login", DISKS, "--timeout", "10s", "--no-wait"]).code, 0);
    assert!(bus.seen().calls[0].contains("10"));
}

/// The programs that a hint may begin with.
const PROGRAMS: [&str; 5] = ["iscsictl ", "sudo ", "systemctl ", "journalctl ", "chmod "];

/// How `env` ends where there is no such program.
const NOT_FOUND: i32 = 127;

/// The command of a hint: it stands at its end.
#[expect(clippy::panic, reason = "a hint without a command fails the test")]
fn command_in(text: &str) -> String {
    let hint = text
        .lines()
        .find_map(|line| line.trim_start().strip_prefix("hint: "))
        .unwrap_or_else(|| panic!("{text}"));
    let starts = PROGRAMS.iter().filter_map(|program| match hint.find(&format!(": {program}")) {
        _ if hint.starts_with(program) => Some(0),
        found => found.map(|place| place + 2),
    });
    hint[starts.min().unwrap_or_else(|| panic!("no command: {hint}"))..].to_owned()
}

/// The words of a command as bash reads them, with every pattern an error that matches no file, as in zsh.
fn words_of(command: &str) -> Vec<String> {
    for shell in ["bash", "zsh"] {
        let checked = fake::command(shell).args(["-n", "-c", command]).output().unwrap();
        if checked.status.code() == Some(NOT_FOUND) {
            continue;
        }
        assert!(checked.status.success() && checked.stderr.is_empty(), "{shell}: {command}: {checked:?}");
    }
    let mut shells = vec![("bash", "shopt -s failglob\n")];
    if fake::command("zsh").arg("--version").output().unwrap().status.success() {
        shells.push(("zsh", ""));
    }
    let mut words = Vec::new();
    for (shell, before) in shells {
        let output = fake::command(shell)
            .args(["-c", &format!("{before}printf '%s\\0' {command}")])
            .current_dir("/")
            .output()
            .unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{shell}: {command}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        words = text.split_terminator('\0').map(str::to_owned).collect();
    }
    words
}

#[test]
fn every_hint_of_its_own_is_a_command_that_works_as_pasted() {
    let bus = Bus::new();
    let none = Bus::empty();
    let folder = tempfile::tempdir().unwrap();
    let secret = |name: &str| {
        let path = folder.path().join(name);
        #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(SECRET.as_bytes()).unwrap();
        file.set_permissions(PermissionsExt::from_mode(0o644)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (blank, semicolon, quote) = (secret("my secret"), secret("s;id"), secret("it's a [secret]*"));
    let odd = "iqn.2001-04.com.example:a(b)*[c]#d";
    let six = "[2001:db8::21]:3260";
    let file = |path: &str| ["set-chap", "--user", "u", "--secret-file", path].map(str::to_owned).to_vec();
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let fill = |line: &str| words(&line.replace("DISKS", DISKS).replace("ODD", odd).replace("SIX", six));
    // What is typed, and what the command in the hint is made of.
    let cases: Vec<(&Bus, Vec<String>, Vec<&str>)> = vec![
        (&bus, fill("login 192.0.2.21"), vec!["connect", "192.0.2.21:3260"]),
        (&bus, fill("login SIX ODD --no-wait"), vec!["login", odd, six, "--no-wait"]),
        (&bus, fill("logout SIX ODD"), vec!["logout", odd, six]),
        (&bus, fill("logout SIX"), vec!["paths", "--portal", six]),
        (&bus, fill("logout"), vec!["paths"]),
        (&bus, fill("forget SIX"), vec!["nodes", "--portal", six]),
        (&bus, fill("add SIX"), vec!["discover", six]),
        (&bus, fill("add ODD"), vec!["add", "--help"]),
        (&bus, fill("startup ODD automatic"), vec!["startup", "automatic", odd]),
        (&bus, fill("connect ODD"), vec!["login", odd]),
        (&bus, fill("connect SIX ODD"), vec!["connect", six, "--target", odd]),
        (&bus, fill("connect iscsi://u%s3cr3t@SIX/DISKS/0"), vec!["connect", six, "--target", DISKS]),
        (&bus, fill("discover ODD"), vec!["nodes", odd]),
        (&bus, fill("discover https://192.0.2.21/x"), vec!["discover", "192.0.2.21:3260"]),
        (&bus, fill("discover 2001:db8::21:3260"), vec!["discover", six]),
        (&bus, fill("discover"), vec!["discover", "--help"]),
        (&bus, fill("diagnose"), vec!["nodes"]),
        (&bus, fill("diagnose 2003-01.com.example:disks"), vec!["diagnose", DISKS]),
        (&bus, fill("nodes 192.0.2.300"), vec!["nodes"]),
        (&bus, fill("sessions"), vec!["paths"]),
        (&bus, fill("status ODD"), vec!["paths", odd]),
        (&bus, fill("disconnect ODD SIX"), vec!["logout", odd, six]),
        (&bus, fill("list"), vec!["nodes"]),
        (&bus, fill("frobnicate"), vec!["--help"]),
        (&bus, fill("-v"), vec!["--version"]),
        (&bus, fill("DISKS"), vec!["login", DISKS]),
        (&bus, fill("-m node -T ODD -p SIX --login"), vec!["login", odd, six]),
        (&bus, fill("login DISKS --no-wiat"), vec!["login", DISKS, "--no-wait"]),
        (&bus, fill("login DISKS --timeout 0"), vec!["login", "--help"]),
        (&bus, fill("login DISKS -v"), vec!["-u", "iscsi-initiatord"]),
        (&bus, fill("nodes ODD"), vec!["nodes"]),
        (&bus, vec!["paths".to_owned(), HALF.to_owned()], vec!["login", HALF]),
        (&bus, vec!["login".to_owned(), BARE.to_owned()], vec!["multipath", "setup"]),
        (&bus, vec!["login".to_owned(), REFUSED.to_owned()], vec!["diagnose", REFUSED]),
        (&bus, vec!["login".to_owned(), FORBIDDEN.to_owned()], vec!["login", FORBIDDEN]),
        (&bus, vec!["forget".to_owned(), FORBIDDEN.to_owned()], vec!["forget", FORBIDDEN]),
        (&bus, vec!["forget".to_owned(), UNKNOWN.to_owned()], vec!["nodes"]),
        (&bus, words("connect 192.0.2.66"), vec!["diagnose", CLOSED]),
        (&bus, words("discover 192.0.2.99"), vec!["initiator-name"]),
        (&bus, words("doctor"), vec!["doctor", "--fix"]),
        (&bus, words("initiator-name iqn.2003-01.com.example:me"), vec!["restart", "iscsi-initiatord"]),
        (&bus, file(&blank), vec!["600", &blank]),
        (&bus, file(&semicolon), vec!["600", &semicolon]),
        (&bus, file(&quote), vec!["600", &quote]),
        (&none, words("paths"), vec!["start", "iscsi-initiatord"]),
    ];
    for (bus, typed, expected) in cases {
        let ended = bus.run(&typed.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(!ended.err.contains("s3cr3t@") && !ended.err.contains("%s3cr3t"), "{}", ended.err);
        let command = command_in(&ended.err);
        let mut words = words_of(&command);
        if words[0] == "sudo" {
            words.remove(0);
        }
        assert_eq!(words[1..], expected, "{typed:?}: {}", ended.err);
        if words[0] == "iscsictl" {
            let pasted = bus.run(&words[1..].iter().map(String::as_str).collect::<Vec<_>>());
            assert_ne!(pasted.code, 2, "{command}: {}", pasted.err);
        }
    }
}

/// A terminal that is this wide, whose output is read by a person.
fn on_a_terminal_of(bus: &Bus, columns: usize, line: &str) -> String {
    let shown = converse(bus, &format!("stty cols {columns}; read go; echo; {line}"), "", "\n");
    let (_, shown) = shown.split_once('\n').unwrap();
    let mut plain = String::new();
    let mut escaped = false;
    for c in shown.replace('\r', "").chars() {
        match c {
            '\x1b' => escaped = true,
            'm' | 'K' if escaped => escaped = false,
            _ if escaped => {}
            c => plain.push(c),
        }
    }
    plain
}

#[test]
fn tables_fit_the_terminal_and_a_pipe_gets_them_whole() {
    let bus = Bus::new();
    for args in ["login DISKS", "rescan", "nodes", "paths", "doctor", "diagnose HALF", "logout DISKS"] {
        let args = args.replace("DISKS", DISKS).replace("HALF", HALF);
        let piped = bus.run(&args.split(' ').collect::<Vec<_>>()).out;
        for columns in [40, 60, 80, 200] {
            let shown = on_a_terminal_of(&bus, columns, &format!("\"$ISCSICTL\" {args} 2>/dev/null"));
            for row in shown.lines() {
                let is_command = command_in_note(row);
                assert!(
                    is_command || row.chars().count() <= columns,
                    "{args} at {columns}: {row:?}\n{shown}"
                );
            }
            assert!(columns < 200 || shown.trim() == piped.trim(), "{args}: {shown}\n{piped}");
            for name in [DISKS, WELL, "sda"] {
                assert!(
                    !piped.contains(name) || shown.contains(name),
                    "{args} at {columns}: {name}\n{shown}"
                );
            }
        }
    }
}

/// A command stays whole: the terminal wraps it, and it can be copied.
fn command_in_note(line: &str) -> bool {
    PROGRAMS.iter().any(|program| line.trim_start().starts_with(program))
}

#[test]
fn the_help_fits_the_terminal_and_its_examples_can_be_pasted() {
    let bus = Bus::new();
    for command in ["", "connect", "discover", "set-chap", "add", "doctor", "multipath setup", "paths"] {
        for columns in [60, 80, 200] {
            let shown = on_a_terminal_of(&bus, columns, &format!("\"$ISCSICTL\" {command} --help"));
            for row in shown.lines().filter(|row| !row.contains('\'')) {
                assert!(row.chars().count() <= columns.min(100), "{command} at {columns}: {row:?}");
            }
            let mut script = String::new();
            for row in shown.lines() {
                if script.ends_with("\\\n") || row.starts_with("  iscsictl ") {
                    script.push_str(row);
                    script.push('\n');
                }
            }
            let checked = fake::command("bash").args(["-n", "-c", &script]).output().unwrap();
            assert!(checked.status.success(), "{script}");
            assert!(!script.contains(" ["), "an unquoted bracket: {script}");
        }
    }
}

#[test]
fn a_prompt_that_is_left_says_nothing_of_the_daemon_and_an_error_begins_its_line() {
    let bus = Bus::new();
    let line = "\"$ISCSICTL\" set-chap --user libvirtd; echo code=$?";
    let shown = converse(&bus, line, "secret of this initiator: ", "\x03");
    assert!(shown.contains("code=130") && !shown.contains("daemon") && !shown.contains("note:"), "{shown:?}");
    let shown = converse(&bus, line, "secret of this initiator: ", "\x04");
    assert!(shown.contains("code=2") && shown.contains("secret of this initiator: \r\n"), "{shown:?}");
    assert!(bus.seen().calls.is_empty());
}

#[test]
fn nothing_is_drawn_where_an_agent_may_ask_for_a_password() {
    let bus = Bus::new();
    let folder = tempfile::tempdir().unwrap();
    let agent = folder.path().join("pkttyagent");
    std::os::unix::fs::symlink("/bin/sleep", &agent).unwrap();
    let line = format!(
        "'{}' 60 & agent=$!; while [ \"$(cat /proc/$agent/comm)\" != pkttyagent ]; do sleep 0.05; done; (sleep 1.5; kill -INT $(cat '{1}')) & sh -c 'echo $$ >{1}; exec \"$ISCSICTL\" login {SLOW}'; \
         echo code=$?; kill $agent",
        agent.display(),
        folder.path().join("pid").display()
    );
    let shown = converse(&bus, &format!("read go; {line}"), "", "\n");
    assert!(shown.contains("code=130") && !shown.contains("Logging in to"), "{shown:?}");
}

#[test]
fn a_secret_from_windows_is_taken_and_what_cannot_be_is_named() {
    let bus = Bus::new();
    let chap = ["set-chap", DISKS, "--user", "libvirtd", "--secret-stdin"];
    assert_eq!(bus.run_with(&chap, &format!("{SECRET}\r\n")).code, 0);
    assert_eq!(bus.seen().calls, [format!("set-chap {DISKS:?} \"\" libvirtd={SECRET}")]);
    for (text, says) in [
        ("s3cr3t\n\n", "more than one line"),
        ("s3cr3t\r\nmore\r\n", "carriage return"),
        ("s3cr3t\tmore\n", "a tab"),
        ("\u{feff}s3cr3t\r\n", "byte order mark"),
    ] {
        let ended = bus.run_with(&chap, text);
        assert!(ended.code == 2 && ended.err.contains(says) && !ended.err.contains("s3cr3t"), "{ended:?}");
    }
}
