//! What polkit is asked in each call: the table of docs/security.md, held against the daemon. Each call is refused when
//! any one of its questions is, and has changed nothing then.
//! Must not know the rules that are shipped: here a script answers for polkit, question by question.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::Permissions,
    os::unix::fs::PermissionsExt as _,
};

use crate::room::{Room, SECRET, TARGET, target::Script};
use iscsi_initiator_tests::harness::STRANGER;

const PAGE: &str = include_str!("../../docs/security.md");
const OTHER: &str = "iqn.2003-01.com.example:other";

/// busctl's words for the error `AccessDenied`.
const DENIED: &str = "Access denied";

/// The column of questions that refuse the call, and that of those that only make it do less.
type Row = (Vec<String>, BTreeSet<String>);

/// A method, the types of its arguments, and the arguments.
type Call<'a> = (&'a str, &'a str, Vec<&'a str>);

/// The rows of the table, by their first column.
fn table() -> BTreeMap<String, Row> {
    let section = PAGE.split("\n## Every question of every method\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let questions = |cell: &str| -> Vec<String> {
        let parts = cell.split('`').skip(1).step_by(2);
        parts.map(str::to_owned).collect()
    };
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 3, "{line}");
        (cells[0].to_owned(), (questions(cells[1]), questions(cells[2]).into_iter().collect()))
    })
    .collect()
}

/// Each call of the table; `one` is a portal with one target, `two` one with two.
fn calls<'a>(one: &'a str, two: &'a str) -> Vec<(&'static str, &'a str, Call<'a>)> {
    const SOON: [&str; 3] = ["timeout", "u", "5"];
    const AUTOMATIC: [&str; 3] = ["startup", "s", "automatic"];
    const THROUGH: [&str; 3] = ["interface", "s", "lo"];
    const BOTH: [&str; 5] = ["targets", "as", "2", TARGET, OTHER];
    const CHAP: [&str; 6] = ["username", "s", "libvirtd", "secret", "s", SECRET];
    let with = |before: &[&'a str], number: &'static str, options: &[&[&'static str]]| -> Vec<&'a str> {
        let options = options.iter().flat_map(|option| option.iter().copied());
        before.iter().copied().chain([number]).chain(options).collect()
    };
    vec![
        ("`Discover`", one, ("Discover", "sa{sv}", with(&[one], "1", &[&SOON]))),
        ("`Discover` with CHAP", one, ("Discover", "sa{sv}", with(&[one], "3", &[&SOON, &CHAP]))),
        ("`Discover` with `interface`", one, ("Discover", "sa{sv}", with(&[one], "2", &[&SOON, &THROUGH]))),
        (
            "`Discover` with `startup=automatic`",
            two,
            ("Discover", "sa{sv}", with(&[two], "2", &[&SOON, &AUTOMATIC])),
        ),
        ("`AddNode`", two, ("AddNode", "ssa{sv}", with(&[TARGET, two], "0", &[]))),
        ("`AddNode` with `interface`", two, ("AddNode", "ssa{sv}", with(&[TARGET, two], "1", &[&THROUGH]))),
        (
            "`AddNode` with `startup=automatic`",
            two,
            ("AddNode", "ssa{sv}", with(&[TARGET, two], "1", &[&AUTOMATIC])),
        ),
        ("`Login`", one, ("Login", "ssa{sv}", with(&[TARGET, one], "1", &[&SOON]))),
        ("`Login` without a portal", one, ("Login", "ssa{sv}", with(&[TARGET, ""], "1", &[&SOON]))),
        (
            "`Login` with `startup=automatic`",
            one,
            ("Login", "ssa{sv}", with(&[TARGET, one], "2", &[&SOON, &AUTOMATIC])),
        ),
        ("`Diagnose`", one, ("Diagnose", "ssa{sv}", with(&[TARGET, one], "1", &[&SOON]))),
        ("`Diagnose` without a portal", one, ("Diagnose", "ssa{sv}", with(&[TARGET, ""], "1", &[&SOON]))),
        ("`Diagnose` without a target", one, ("Diagnose", "ssa{sv}", with(&["", one], "1", &[&SOON]))),
        ("`SetStartup`", one, ("SetStartup", "sss", vec![TARGET, "", "manual"])),
        ("`Rescan`", one, ("Rescan", "ssa{sv}", with(&[TARGET, ""], "1", &[&SOON]))),
        ("`Rescan` without a target", one, ("Rescan", "ssa{sv}", with(&["", ""], "1", &[&SOON]))),
        ("`Connect`", one, ("Connect", "sa{sv}", with(&[one], "1", &[&SOON]))),
        ("`Connect` with `interface`", one, ("Connect", "sa{sv}", with(&[one], "2", &[&SOON, &THROUGH]))),
        (
            "`Connect` with `startup=automatic`",
            one,
            ("Connect", "sa{sv}", with(&[one], "2", &[&SOON, &AUTOMATIC])),
        ),
        ("`Connect` with `targets`", two, ("Connect", "sa{sv}", with(&[two], "2", &[&SOON, &BOTH]))),
        (
            "`Connect` with `targets` and `startup=automatic`",
            two,
            ("Connect", "sa{sv}", with(&[two], "3", &[&SOON, &BOTH, &AUTOMATIC])),
        ),
        ("`SetChap`", one, ("SetChap", "ssa{sv}", with(&[TARGET, one], "2", &[&CHAP]))),
        ("`SetChap` without a target", one, ("SetChap", "ssa{sv}", with(&["", one], "2", &[&CHAP]))),
        ("`SetChap` without either", one, ("SetChap", "ssa{sv}", with(&["", ""], "2", &[&CHAP]))),
        ("`ListPaths`", one, ("ListPaths", "a{sv}", vec!["0"])),
        ("`ListNodes`", one, ("ListNodes", "a{sv}", vec!["0"])),
        ("`ListNodes` with `target`", one, ("ListNodes", "a{sv}", vec!["1", "target", "s", TARGET])),
        ("`Examine`", one, ("Examine", "a{sv}", vec!["1", "timeout", "u", "5"])),
        ("`Subscribe`", one, ("Subscribe", "", vec![])),
        ("`Logout`", one, ("Logout", "ssa{sv}", with(&[TARGET, one], "1", &[&SOON]))),
        (
            "`Logout` with `force`",
            one,
            ("Logout", "ssa{sv}", with(&[TARGET, one], "2", &[&SOON, &["force", "b", "true"]])),
        ),
        ("`Hold`", one, ("Hold", "ssa{sv}", vec![TARGET, "x", "0"])),
        ("`Release`", one, ("Release", "ss", vec![TARGET, "x"])),
        ("`CheckInUse`", one, ("CheckInUse", "ss", vec![TARGET, one])),
        ("`Forget`", one, ("Forget", "ss", vec![TARGET, ""])),
        ("`SetInitiatorName`", one, ("SetInitiatorName", "s", vec!["iqn.2003-01.com.example:me"])),
        ("`SetupMultipath`", one, ("SetupMultipath", "a{sv}", vec!["1", "timeout", "u", "5"])),
        ("`Examine` with `fix`", one, ("Examine", "a{sv}", vec!["1", "fix", "b", "true"])),
    ]
}

/// Answers polkit's questions about the stranger with yes, but for those that are to be refused, and notes them.
struct Answers(tempfile::TempDir);

impl Answers {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // polkitd is another user.
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        let answers = Self(folder);
        for name in ["asked", "refused"] {
            answers.write(name, "");
        }
        answers
    }

    fn rules(&self) -> String {
        let script =
            r#"echo "$1" >>"$0/asked"; if grep -qxF "$1" "$0/refused"; then echo no; else echo yes; fi"#;
        let script = script.replace('"', "\\\"");
        format!(
            r#"polkit.addRule(function (action, subject) {{
    var id = "org.cloudatlas.IscsiInitiator.";
    if (action.id.indexOf(id) != 0 || subject.user != "stranger") return polkit.Result.NOT_HANDLED;
    var about = [action.lookup("target"), action.lookup("portal"), action.lookup("interface")];
    var question = action.id.substring(id.length) + " " + about.join(" ");
    var answer = polkit.spawn(["/bin/sh", "-c", "{script}", "{folder}", question]);
    return answer.indexOf("no") == 0 ? polkit.Result.NO : polkit.Result.YES;
}});
"#,
            folder = self.0.path().display()
        )
    }

    #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
    }

    /// The questions since the last time.
    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.0.path().join("asked")).unwrap();
        self.write("asked", "");
        text.lines().map(str::to_owned).collect()
    }
}

/// A question of the table as the script notes it.
fn noted(question: &str, portal: &str) -> String {
    let (action, about) = question.trim_end_matches(')').split_once('(').unwrap();
    let mut words: Vec<&str> = about.split(", ").collect();
    words.resize(3, "any");
    let word = |word: &&str| match *word {
        "T" => TARGET,
        "U" => OTHER,
        "P" => portal,
        "I" => "lo",
        "any" => "any",
        other => panic!("{question}: what is {other}?"),
    };
    let about: Vec<&str> = words.iter().map(word).collect();
    format!("{action} {}", about.join(" "))
}

#[test]
fn the_table_has_every_call_and_no_other() {
    let table = table();
    let rows: BTreeSet<&str> = table.keys().map(String::as_str).collect();
    let calls: BTreeSet<&str> = calls("", "").iter().map(|(label, ..)| *label).collect();
    assert_eq!(rows, calls);
}

#[tokio::test]
async fn each_call_is_refused_when_any_one_of_its_questions_is_and_has_changed_nothing() {
    let answers = Answers::new();
    let room = Room::start_with_rules(&answers.rules()).await;
    let one = Script::listing([(TARGET, "")]).listen().await;
    let two = Script::listing([(TARGET, ""), (OTHER, "")]).listen().await;
    room.machine.record(TARGET, "127.0.0.1", one.address.port(), "");
    room.machine.session(TARGET, "127.0.0.1", &one.address.port().to_string());
    // Secrets that a caller may or may not use.
    let secrets = format!(
        "node.session.auth.username = libvirtd\nnode.session.auth.password = {SECRET}\n\
         discovery.sendtargets.auth.username = libvirtd\ndiscovery.sendtargets.auth.password = {SECRET}\n"
    );
    let table = table();
    for (label, portal, (method, signature, args)) in calls(&one.portal(), &two.portal()) {
        room.machine.put("etc/iscsid.conf", &secrets, 0o600);
        let (needed, also) = &table[label];
        let needed: Vec<String> = needed.iter().map(|question| noted(question, portal)).collect();
        let also: BTreeSet<String> = also.iter().map(|question| noted(question, portal)).collect();
        for refused in &needed {
            answers.write("refused", &format!("{refused}\n"));
            let (before, runs) = (room.machine.picture(), room.machine.calls());
            let reply = room.world.call_as(STRANGER, method, signature, &args).await;
            assert!(reply.code != 0 && reply.stderr.contains(DENIED), "{label}, {refused}: {}", reply.stderr);
            assert_eq!(answers.asked().last(), Some(refused), "{label}: by this question");
            assert!(room.machine.picture() == before, "{label}, {refused}: a file has changed");
            assert_eq!(room.machine.calls(), runs, "{label}, {refused}: iscsiadm was started");
        }
        answers.write("refused", "");
        answers.asked();
        let reply = room.world.call_as(STRANGER, method, signature, &args).await;
        assert!(!reply.stderr.contains(DENIED), "{label}: {}", reply.stderr);
        let asked = answers.asked();
        let in_order: Vec<&String> = asked.iter().filter(|question| needed.contains(question)).collect();
        let rest: BTreeSet<String> =
            asked.iter().filter(|question| !needed.contains(question)).cloned().collect();
        assert_eq!(in_order, needed.iter().collect::<Vec<_>>(), "{label}: {}", reply.stderr);
        assert_eq!(rest, also, "{label}: {}", reply.stderr);
    }
}
