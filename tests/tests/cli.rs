//! iscsictl with the daemon and the real polkit: each exit code, by what really happened, and what programs read.
//! Must not need a kernel: iscsid, kernel and gateway are those of iscsi-initiator-fake.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{
    fs::Permissions, net::SocketAddr, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Stdio,
};

use crate::room::{Room, SECRET, TARGET, another_chap, until};
use iscsi_initiator_tests::harness::{
    DEADLINE, MEMBER, ROOT, Reply, STRANGER, User,
    process::{built, copy_program},
    world::output,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::ChildStdout,
    time::timeout,
};

/// A member may do most; a stranger may not even look.
const RULES: &str = r#"polkit.addRule(function (action, subject) {
    if (action.id.indexOf("org.cloudatlas.IscsiInitiator.") != 0) { return polkit.Result.NOT_HANDLED; }
    if (subject.user == "stranger") { return polkit.Result.NO; }
    if (subject.user == "member") { return polkit.Result.YES; }
    return polkit.Result.NOT_HANDLED;
});
"#;

/// Machine and gateway of the other tests, and iscsictl where everybody may run it.
struct Desk {
    room: Room,
    portals: [SocketAddr; 2],
    program: PathBuf,
}

impl Desk {
    async fn new() -> Self {
        let room = Room::start_with_rules(RULES).await;
        let portals = room.machine.add_gateway(TARGET, crate::room::chap());
        room.machine.start_multipathd();
        let program = room.world.directory().join("iscsictl");
        copy_program(&built("iscsictl"), &program);
        Self { room, portals, program }
    }

    async fn run(&self, user: User, arguments: &[&str]) -> Reply {
        let mut command = self.room.world.command_as(user, &self.program);
        command.args(arguments);
        output(command).await
    }

    /// Runs it as a member; it must end with this code.
    async fn ends(&self, code: i32, arguments: &[&str]) -> Reply {
        let reply = self.run(MEMBER, arguments).await;
        assert_eq!(reply.code, code, "{arguments:?}: {reply:?}");
        reply
    }

    fn portal(&self, n: usize) -> String {
        self.portals[n].to_string()
    }

    fn record_all(&self) {
        for portal in self.portals {
            self.room.record(portal, SECRET);
        }
    }
}

fn rows(reply: &Reply) -> Vec<Value> {
    serde_json::from_str(&reply.stdout).unwrap()
}

fn keys(row: &Value) -> Vec<&str> {
    let mut keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

#[tokio::test]
async fn from_the_first_look_to_the_last_each_step_ends_with_0_and_has_its_keys() {
    let desk = Desk::new().await;
    let found = rows(&desk.ends(0, &["discover", &desk.portal(0), "--json"]).await);
    assert_eq!(found.len(), 2);
    let node = [
        "chap",
        "hint",
        "interface",
        "logged-in",
        "message",
        "portal",
        "startup",
        "state",
        "target",
        "tpgt",
        "waiting",
    ];
    assert_eq!(keys(&found[0]), node);
    let secret = desk.room.world.directory().join("secret");
    #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    std::os::unix::fs::chown(&secret, Some(MEMBER.uid), Some(MEMBER.uid)).unwrap();
    let set = ["set-chap", TARGET, "--user", "libvirtd", "--secret-file", secret.to_str().unwrap()];
    std::fs::set_permissions(&secret, Permissions::from_mode(0o644)).unwrap();
    let refused = desk.ends(2, &set).await;
    assert!(refused.stderr.contains("secret") && !refused.stderr.contains(SECRET), "{}", refused.stderr);
    std::fs::set_permissions(&secret, Permissions::from_mode(0o600)).unwrap();
    desk.ends(0, &set).await;
    let entries = rows(&desk.ends(0, &["login", TARGET, "--json"]).await);
    assert!(entries.iter().all(|row| row["outcome"] == "logged-in"), "{entries:?}");
    assert!(entries.iter().all(|row| row["devices"].as_array().unwrap().len() == 2), "{entries:?}");
    assert_eq!(rows(&desk.ends(0, &["paths", "--json"]).await).len(), 4);
    let table = desk.ends(0, &["paths"]).await.stdout;
    assert!(table.contains("mpatha") && table.contains(&desk.portal(0)), "{table}");
    desk.ends(0, &["logout", TARGET]).await;
    assert!(desk.room.machine.sessions().is_empty());
}

#[tokio::test]
async fn who_is_refused_ends_with_3_and_a_word_that_is_no_name_with_2() {
    let desk = Desk::new().await;
    assert_eq!(desk.run(STRANGER, &["paths"]).await.code, 3);
    assert_eq!(desk.run(ROOT, &["paths"]).await.code, 0);
    desk.ends(2, &["login", "nonsense"]).await;
    let refused = desk.ends(2, &["set-chap", TARGET, "--user", "libvirtd", "--secret", SECRET]).await;
    assert!(refused.stderr.contains("process list"), "{}", refused.stderr);
}

#[tokio::test]
async fn what_the_target_says_ends_with_4_or_5_and_what_is_unknown_with_8() {
    let desk = Desk::new().await;
    desk.ends(8, &["login", TARGET]).await;
    desk.record_all();
    desk.room.machine.want_chap(TARGET, &another_chap());
    let refused = desk.ends(4, &["login", TARGET]).await;
    assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
    desk.room.machine.disable_target(TARGET, true);
    desk.ends(5, &["login", TARGET]).await;
}

#[tokio::test]
async fn a_portal_that_refuses_ends_with_6_or_with_11_if_another_does_not() {
    let desk = Desk::new().await;
    desk.record_all();
    desk.room.machine.close_portal(desk.portals[0]);
    desk.ends(6, &["login", TARGET, &desk.portal(0)]).await;
    desk.ends(11, &["login", TARGET]).await;
    desk.ends(0, &["logout", TARGET]).await;
}

#[tokio::test]
async fn a_portal_that_is_silent_ends_with_7() {
    let desk = Desk::new().await;
    desk.record_all();
    desk.room.machine.silence(desk.portals[0], true);
    desk.ends(7, &["login", TARGET, &desk.portal(0), "--timeout", "2"]).await;
}

#[tokio::test]
async fn an_interrupt_cancels_the_call_and_ends_with_130() {
    let desk = Desk::new().await;
    desk.record_all();
    let records = desk.room.machine.database();
    desk.portals.into_iter().for_each(|portal| desk.room.machine.silence(portal, true));
    let mut command = desk.room.world.command_as(MEMBER, &desk.program);
    command.args(["login", TARGET, "--timeout", "300"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    until("a portal is asked", || desk.room.machine.visits(desk.portals[0]) > 0).await;
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let ended = timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!((ended.status.code(), said.as_str()), (Some(130), "iscsictl: the call was cancelled\n"));
    assert!(desk.room.machine.sessions().is_empty() && desk.room.machine.database() == records);
}

#[tokio::test]
async fn disks_that_are_in_use_end_with_9_and_are_still_there() {
    let desk = Desk::new().await;
    desk.record_all();
    desk.ends(0, &["login", TARGET]).await;
    desk.room.machine.mount("dm-0", "/srv/disks");
    let refused = desk.ends(9, &["logout", TARGET]).await;
    assert!(refused.stderr.contains("/srv/disks"), "{}", refused.stderr);
    assert_eq!(desk.room.machine.sessions().len(), 2);
}

/// Reads lines of `iscsictl monitor --json` until one is so.
async fn until_told(
    lines: &mut Lines<BufReader<ChildStdout>>,
    what: &str,
    is_so: impl Fn(&Value) -> bool,
) -> Value {
    loop {
        let line = timeout(DEADLINE, lines.next_line()).await;
        let line = line.unwrap_or_else(|_| panic!("still not: {what}")).unwrap();
        let event: Value =
            serde_json::from_str(&line.unwrap_or_else(|| panic!("it ended before: {what}"))).unwrap();
        if is_so(&event) {
            return event;
        }
    }
}

#[tokio::test]
async fn a_monitor_tells_of_a_session_of_its_failure_and_of_its_end() {
    let desk = Desk::new().await;
    desk.record_all();
    assert_eq!(desk.run(STRANGER, &["monitor", "--json"]).await.code, 3);
    let mut command = desk.room.world.command_as(MEMBER, &desk.program);
    command.args(["monitor", "--json"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let is = |event: &Value, kind: &str, object: &str| event["event"] == kind && event["object"] == object;
    until_told(&mut lines, "all that is there", |event| is(event, "watching", "daemon")).await;

    desk.ends(0, &["login", TARGET]).await;
    let added = until_told(&mut lines, "a session", |event| is(event, "added", "session")).await;
    assert!(added["properties"]["Sid"].as_u64().unwrap() > 0, "{added}");
    let is_optimal = |event: &Value| event["object"] == "disk" && event["properties"]["Health"] == "optimal";
    until_told(&mut lines, "a disk", is_optimal).await;

    desk.room.machine.pull_cable(desk.portals[0]);
    let is_failed = |event: &Value| {
        let paths = event["properties"]["Paths"].as_array();
        paths.is_some_and(|paths| paths.iter().any(|path| path["dm-state"] == "failed"))
    };
    until_told(&mut lines, "a failed path", is_failed).await;
    desk.room.machine.plug_cable(desk.portals[0]);
    until_told(&mut lines, "the path is back", is_optimal).await;

    desk.ends(0, &["logout", TARGET]).await;
    let removed = until_told(&mut lines, "its end", |event| is(event, "removed", "session")).await;
    assert_eq!(removed["properties"]["Target"], TARGET);
    let pid = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    let ended = timeout(DEADLINE, child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!((ended.status.code(), ended.stderr.as_slice()), (Some(143), &b""[..]));
}
