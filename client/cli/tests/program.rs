//! The real program against a fake daemon on a bus of its own: what people, programs and scripts get.
//! It may not test the daemon: only what is said to it and made of its answers.

#![expect(unreachable_pub, reason = "the fake is a module of this test only")]
#![expect(clippy::unwrap_used, reason = "a helper of a test that fails, fails the test")]

mod fake;

use std::{
    io::{Read, Write},
    os::unix::fs::PermissionsExt,
    process::Stdio,
};

use fake::{Bus, DISKS, HALF, REFUSED, SECRET, SLOW};
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
    assert_eq!(ended.err, "iscsictl: the target refused the secret \\u{1b}[2Jgw\\u{202e}\n");
    let ended = bus.run(&["login", REFUSED, "--json"]);
    assert_eq!((ended.code, ended.out.as_str()), (4, ""));
    assert!(!ended.err.contains(['\x1b', '\u{202e}']), "{:?}", ended.err);
    let error: Value = serde_json::from_str(&ended.err).unwrap();
    let name = "org.cloudatlas.IscsiInitiator.Error.ChapRejected";
    let message = format!("the target refused the secret {}", fake::HOSTILE);
    assert_eq!(error, json!({ "error": name, "message": message, "hint": "" }));
}

#[test]
fn lists_are_tables_for_people_and_keys_for_programs() {
    let bus = Bus::new();
    let ended = bus.run(&["discover", "192.0.2.21"]);
    assert!(ended.out.contains("\\u{1b}[2Jgw\\u{202e}  192.0.2.21:3260  1     none"), "{}", ended.out);
    let ended = bus.run(&["discover", "192.0.2.99"]);
    assert_eq!((ended.code, ended.out.as_str()), (0, ""));
    assert!(ended.err.starts_with("iscsictl: the portal lists no target"), "{}", ended.err);
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
    let seen = bus.seen();
    assert_eq!(
        seen.calls,
        [
            format!("set-chap \"\" \"\" libvirtd={SECRET}"),
            format!("set-chap {DISKS:?} \"192.0.2.21:3260\" u={SECRET} gw=the-other-secret"),
            format!("discover 192.0.2.21:3260 None None u={SECRET} gw=the-other-secret"),
            "set-chap \"\" \"\" clear".to_owned(),
        ]
    );
    assert_eq!(seen.leaks, [""; 0]);
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
    assert!(ended.err.contains("mode 0644") && ended.err.contains("hint: chmod 600 /"), "{}", ended.err);
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
    assert!(ended.err.contains("the system bus cannot be reached"), "{}", ended.err);
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
    assert!(ended.err.contains("left the bus before it answered\nhint: see journalctl"), "{}", ended.err);
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

#[test]
fn a_signal_ends_a_slow_login() {
    let bus = Bus::new();
    for (signal, code) in [(rustix::process::Signal::INT, 130), (rustix::process::Signal::TERM, 143)] {
        let child = bus.iscsictl(&["login", SLOW]).spawn().unwrap();
        while bus.seen().calls.is_empty() {
            std::thread::yield_now();
        }
        rustix::process::kill_process(rustix::process::Pid::from_child(&child), signal).unwrap();
        let ended: fake::Ended = child.wait_with_output().unwrap().into();
        assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (code, "", ""));
    }
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
    assert!(shown.contains("\r\x1b[K\r\x1b[Kiscsictl: interrupted"), "{shown:?}");
    assert!(shown.contains("code=130"), "{shown:?}");
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
