//! What bash and zsh complete, with the real program against a fake daemon.
//! Must not need an interactive shell: the functions of the completion are called as a shell calls them.

#![expect(unreachable_pub, reason = "the fake is a module of this test only")]
#![expect(clippy::unwrap_used, reason = "a helper of a test that fails, fails the test")]

mod fake;

use std::process::{Command, Stdio};

use fake::{Bus, DISKS, Ended, HOSTILE, SLOW, command};
use iscsi_initiator_dbus::objects::{Id, Node, Object, Session};

const OTHER: &str = "iqn.2003-01.com.example:other";

/// Two recorded targets, of which one is at two portals, one record with a hostile name, and a session.
fn recorded() -> Bus {
    let bus = Bus::new();
    for (target, portal) in [
        (DISKS, "192.0.2.21:3260"),
        (DISKS, "[2001:db8::21]:3260"),
        (OTHER, "192.0.2.37:3260"),
        (HOSTILE, HOSTILE),
    ] {
        let mut node = Node::default();
        (node.target, node.portal) = (target.to_owned(), portal.to_owned());
        bus.put(&Id::node(target, portal, "default"), Object::Node(node));
    }
    let mut session = Session::default();
    (session.target, session.portal) = (OTHER.to_owned(), "192.0.2.38:3260".to_owned());
    bus.put(&Id::session(1), Object::Session(session));
    bus
}

fn offered(bus: &Bus, words: &[&str]) -> Vec<String> {
    let ended = bus.run(&[&["complete", "--"], words].concat());
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    ended.out.lines().map(str::to_owned).collect()
}

/// Tries again: on a slow machine the second that the program has may be over.
fn comes(offered: impl Fn() -> Vec<String>, expected: &[&str]) {
    let mut last = Vec::new();
    for _ in 0..60 {
        last = offered();
        if last == expected {
            return;
        }
    }
    assert_eq!(last, expected);
}

#[test]
fn targets_and_portals_are_those_of_records_and_sessions() {
    let bus = recorded();
    comes(|| offered(&bus, &["login", ""]), &[DISKS, OTHER]);
    comes(|| offered(&bus, &["login", "iqn.2003-01.com.example:d"]), &[DISKS]);
    comes(|| offered(&bus, &["login", DISKS, ""]), &["192.0.2.21:3260", "[2001:db8::21]:3260"]);
    comes(|| offered(&bus, &["logout", OTHER, "1"]), &["192.0.2.37:3260", "192.0.2.38:3260"]);
    comes(|| offered(&bus, &["discover", "192.0.2.2"]), &["192.0.2.21:3260"]);
    comes(|| offered(&bus, &["logo"]), &["logout"]);
    comes(|| offered(&bus, &["login", DISKS, "--no"]), &["--no-wait"]);
}

#[test]
fn a_value_is_completed_in_the_word_of_its_option_too() {
    let bus = recorded();
    comes(|| offered(&bus, &["login", "--startup="]), &["--startup=automatic", "--startup=manual"]);
    comes(
        || offered(&bus, &["login", "--target=iqn.2003-01.com.example:d"]),
        &[&format!("--target={DISKS}")],
    );
    let portals = ["--portal=192.0.2.37:3260", "--portal=192.0.2.38:3260"];
    comes(|| offered(&bus, &["logout", &format!("--target={OTHER}"), "--portal="]), &portals);
    assert_eq!(offered(&bus, &["login", "--timeout="]), [""; 0]);
}

#[test]
fn who_holds_the_target_is_offered_where_it_is_released() {
    let bus = recorded();
    comes(|| offered(&bus, &["release", SLOW, "--as", ""]), &["backup"]);
    comes(|| offered(&bus, &["release", SLOW, "--as=b"]), &["--as=backup"]);
    assert!(offered(&bus, &["release", DISKS, "--as", ""]).is_empty(), "no one holds it");
    assert!(offered(&bus, &["hold", SLOW, "--as", ""]).is_empty(), "a name of its own");
    bus.silent(true);
    assert!(offered(&bus, &["release", SLOW, "--as", ""]).is_empty(), "it does not answer in time");
}

#[test]
fn where_there_is_nothing_to_offer_nothing_is_said() {
    let bus = recorded();
    bus.forbid();
    for bus in [bus, Bus::empty(), Bus::new()] {
        assert!(offered(&bus, &["login", ""]).is_empty());
        assert_eq!(offered(&bus, &["logi"]), ["login"]);
    }
    assert_eq!(offered(&Bus::empty(), &[]), [""; 0]);
    let mut nowhere = Bus::empty().iscsictl(&["complete", "--", "login", ""]);
    let ended: Ended = nowhere.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nowhere").output().unwrap().into();
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (0, "", ""));
}

/// What a shell makes of a line, by a script that calls the completion.
fn in_shell(bus: &Bus, shell: &str, script: &str, words: &[&str]) -> Vec<String> {
    // With its bus, and where the shell finds the program.
    let program = bus.iscsictl(&[]);
    let mut command: Command = command(shell);
    command.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.arg("-c").arg(script).arg(shell).arg(env!("CARGO_BIN_EXE_iscsictl")).args(words);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/completions");
    let ended: Ended = command.current_dir(folder).stdin(Stdio::null()).output().unwrap().into();
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{words:?}");
    ended.out.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_words_with_colons_and_brackets() {
    const SCRIPT: &str = "source ./iscsictl.bash; COMP_WORDBREAKS=$' \\t\\n\"\\'><=;|&(:'
        COMP_LINE=\"iscsictl $2\"; COMP_POINT=${#COMP_LINE}
        _iscsictl \"$1\"; ((${#COMPREPLY[@]} == 0)) || printf '%s\\n' \"${COMPREPLY[@]}\"";
    let bus = recorded();
    let bash = |line: &str| in_shell(&bus, "bash", SCRIPT, &[line]);
    comes(|| bash("logi"), &["login"]);
    comes(|| bash("login "), &[DISKS, OTHER]);
    // Readline has what is before the last colon already.
    comes(|| bash("login iqn.2003-01.com.example:"), &["disks", "other"]);
    comes(|| bash(&format!("login {DISKS} ")), &["192.0.2.21:3260", "\\[2001:db8::21\\]:3260"]);
    comes(|| bash(&format!("login {DISKS} \\[2001:")), &["db8::21\\]:3260"]);
    comes(|| bash(&format!("login {DISKS} '[2001:")), &["[2001:db8::21]:3260"]);
    // It has what is before the sign of equality, too.
    comes(|| bash("login --startup=a"), &["automatic"]);
    comes(|| bash("login --target=iqn.2003-01.com.example:d"), &["disks"]);
    comes(|| bash(&format!("login {DISKS} --portal=")), &["192.0.2.21:3260", "\\[2001:db8::21\\]:3260"]);
    comes(|| bash(&format!("login {DISKS} --portal='[2001:")), &["[2001:db8::21]:3260"]);
    comes(|| bash(&format!("release {SLOW} --as b")), &["backup"]);
    for line in ["set-chap --user x --secret-file ", "set-chap --user x --secret-file=", "doctor --bundle=s"]
    {
        assert!(bash(line).is_empty(), "files, by the shell");
    }
}

#[test]
fn zsh_completes_the_same() {
    const SCRIPT: &str = "compadd() { print -rl -- ${(P)2} }; compset() {}; _files() { print files }
        words=(\"$@\"); CURRENT=$#; PREFIX=${words[CURRENT]}; f() { source ./_iscsictl }; f";
    let bus = recorded();
    let zsh = |words: &[&str]| in_shell(&bus, "zsh", SCRIPT, words);
    comes(|| zsh(&["logi"]), &["login"]);
    comes(|| zsh(&["login", "iqn.2003-01.com.example:"]), &[DISKS, OTHER]);
    comes(|| zsh(&["login", DISKS, "\\[2001:"]), &["[2001:db8::21]:3260"]);
    comes(|| zsh(&["login", "--startup=a"]), &["--startup=automatic"]);
    comes(|| zsh(&["release", SLOW, "--as", ""]), &["backup"]);
    comes(|| zsh(&["doctor", "--bundle", ""]), &["files"]);
    comes(|| zsh(&["doctor", "--bundle=s"]), &["files"]);
}
