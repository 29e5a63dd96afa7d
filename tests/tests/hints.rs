//! Each hint of docs/hints.md, pasted into bash and into zsh: iscsictl and every other program get the objects that
//! the hint is about, and iscsictl takes the line.
//! Must not stand in for iscsictl or the daemon. All other programs write down what they are given, and do nothing.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::room::Room;
use iscsi_initiator_dbus::shell::PROGRAMS;
use iscsi_initiator_tests::{
    harness::{ROOT, process::built, world::output},
    hints::{NEW_NAME, commands, filled, words},
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/hints.md");

/// What the stand-in for iscsi-iname prints.
const MADE: &str = "iqn.2016-04.com.open-iscsi:new";

/// Writes down its words, each with a NUL behind it, and an empty one at the end.
const STAND_IN: &str = r#"#!/bin/sh
{ printf '%s\0' "${0##*/}" "$@"; printf '\0'; } >>"$SEEN"
"#;

/// The real one: what it was given and its exit code are written down. What a person would type at a prompt comes on
/// standard input, and a portal that does not answer is not waited for. It always succeeds, so that what follows `&&`
/// is run as well.
const WRAPPER: &str = r#"#!/bin/sh
{ printf '%s\0' iscsictl "$@"; printf '\0'; } >>"$SEEN"
case " $* " in *' --user '*) set -- "$@" --secret-stdin ;; esac
case " $* " in
    *' --help '* | *' --timeout '*) ;;
    ' connect '* | ' discover '* | ' diagnose '*) set -- "$@" --timeout 1 ;;
esac
echo a-secret-of-16-ch | "$ISCSICTL" "$@" >>"$SAID" 2>&1
printf '%s\0' "$?" >>"$CODES"
"#;

/// A folder of programs, first in the way to all others.
struct Desk {
    room: Room,
    folder: PathBuf,
}

impl Desk {
    async fn new() -> Self {
        let room = Room::start().await;
        let folder = room.world.directory().join("programs");
        fs::create_dir(&folder).unwrap();
        for name in PROGRAMS {
            program(&folder.join(name), if name == "iscsictl" { WRAPPER } else { STAND_IN });
        }
        program(&folder.join("iscsi-iname"), &format!("#!/bin/sh\necho {MADE}\n"));
        Self { room, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.with_file_name(name)
    }

    /// Pastes a command: what the programs got, what iscsictl ended with, and what was said.
    async fn paste(&self, shell: &str, command: &str) -> (Vec<Vec<String>>, Vec<String>, String) {
        let mut pasted = self.room.world.command_as(ROOT, "env");
        // There are no other programs than the folder's.
        pasted.arg(format!("PATH={}", self.folder.display())).arg(format!("/bin/{shell}"));
        pasted.args([if shell == "zsh" { "-f" } else { "--norc" }, "-c"]);
        pasted.arg(command.replace("/usr/sbin/iscsi-iname", "iscsi-iname")).current_dir("/");
        pasted.env("ISCSICTL", built("iscsictl"));
        for (variable, name) in [("SEEN", "seen"), ("CODES", "codes"), ("SAID", "said")] {
            let _ = fs::remove_file(self.file(name));
            pasted.env(variable, self.file(name));
        }
        let reply = output(pasted).await;
        let read = |name: &str| fs::read_to_string(self.file(name)).unwrap_or_default();
        let of_one = |text: &str| text.split('\0').map(str::to_owned).collect();
        let seen = read("seen").split_terminator("\0\0").map(of_one).collect();
        let codes = read("codes").split_terminator('\0').map(str::to_owned).collect();
        (seen, codes, format!("{}{}{}", reply.stdout, reply.stderr, read("said")))
    }
}

#[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
fn program(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The hints of the page, as they stand in the sources.
fn hints() -> Vec<String> {
    let page = fs::read_to_string(PAGE).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    rows.map(|(hint, _)| hint.replace("\\|", "|")).filter(|hint| !hint.ends_with(" …")).collect()
}

/// What the programs should get.
fn expected(command: &str) -> Vec<Vec<String>> {
    let made = |words: Vec<String>| words.iter().map(|word| word.replace(NEW_NAME, MADE)).collect();
    words(command).into_iter().map(made).collect()
}

#[tokio::test]
async fn each_hint_works_as_pasted_into_bash_and_zsh_and_has_the_objects_that_it_is_about() {
    let desk = Desk::new().await;
    let hints = hints();
    let commands: BTreeSet<&str> = hints.iter().flat_map(|hint| commands(hint)).collect();
    assert!(commands.len() > 60, "{commands:#?}");
    let mut wrong = Vec::new();
    for command in commands {
        let pasted = filled(command);
        for shell in ["bash", "zsh"] {
            let (seen, codes, said) = desk.paste(shell, &pasted).await;
            if seen != expected(command)
                || codes.iter().any(|code| ["2", "126", "127"].contains(&code.as_str()))
            {
                wrong.push(format!("{shell}: {pasted}\n  got {seen:?}\n  codes {codes:?}: {said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn what_is_not_quoted_is_noticed() {
    let desk = Desk::new().await;
    for shell in ["bash", "zsh"] {
        let (seen, ..) = desk.paste(shell, "ls -l /tmp/my secret; ping x").await;
        assert_eq!(seen, [vec!["ls", "-l", "/tmp/my", "secret"], vec!["ping", "x"]], "{shell}");
    }
    let (seen, _, said) = desk.paste("zsh", "iscsictl discover [2001:db8::21]:3260").await;
    assert!(seen.is_empty() && said.contains("no matches"), "{said}");
    let (_, codes, said) = desk.paste("bash", "iscsictl login TARGET").await;
    assert_eq!(codes, ["2"], "{said}");
}
