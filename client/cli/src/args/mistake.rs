//! What a person meant who typed something else: clap's errors in this program's words, and the words that other
//! programs have for its commands.
//! Must not run what was meant: a person reads it first.

use clap::{
    Error,
    error::{ContextKind, ContextValue, ErrorKind},
};
use iscsi_initiator_dbus::shell;

use super::word::Word;
use crate::language::{self, say};
use crate::problem::Problem;

/// The command that no person types.
const FOR_SHELLS: &str = "complete";

/// The words of other programs, and the command here that does that.
const OTHERS: [(&str, &[&str]); 16] = [
    (
        "paths",
        &[
            "sessions", "session", "status", "state", "show", "disks", "disk", "luns", "lun", "devices",
            "maps", "map", "info",
        ],
    ),
    (
        "nodes",
        &["list", "ls", "node", "targets", "target", "records", "record", "portals", "portal", "node-list"],
    ),
    ("discover", &["discovery", "find", "search", "sendtargets", "st"]),
    ("login", &["logon", "start", "mount", "up", "open"]),
    ("connect", &["attach"]),
    ("logout", &["logoff", "disconnect", "detach", "stop", "unmount", "umount", "down", "close"]),
    ("in-use", &["used", "users", "uses", "busy", "fuser", "lsof"]),
    ("hold", &["lock", "keep"]),
    ("release", &["unlock", "unhold"]),
    ("holds", &["leases", "lease", "holders", "locks"]),
    ("forget", &["delete", "del", "remove", "rm", "erase"]),
    ("set-chap", &["chap", "password", "passwd", "secret", "auth", "credentials"]),
    ("diagnose", &["check", "test", "ping", "probe", "debug"]),
    ("initiator-name", &["name", "iqn", "initiator", "initiatorname"]),
    ("monitor", &["watch", "events", "follow", "top", "live"]),
    ("doctor", &["health", "fix", "repair", "verify"]),
];

/// clap's error as a problem: what was wrong in the words of this program, and what was probably meant.
/// `verb` is the command, if there is one; `is_good` says whether a line would be taken.
pub(super) fn explain(
    error: &Error,
    typed: &[String],
    verb: &str,
    is_good: impl Fn(&[String]) -> bool,
) -> Problem {
    let help = match error.kind() {
        ErrorKind::InvalidSubcommand => say!("see all commands: iscsictl --help"),
        _ if verb.is_empty() => say!("see all commands: iscsictl --help"),
        _ => {
            let words = ["iscsictl"].into_iter().chain(verb.split(' ')).chain(["--help"]);
            say!("how to use it: {command}", command = shell::command(words))
        }
    };
    let (message, hint) = match error.kind() {
        ErrorKind::InvalidSubcommand => unknown_command(error, typed, is_good),
        ErrorKind::UnknownArgument => unknown_argument(error, typed),
        ErrorKind::InvalidValue | ErrorKind::ValueValidation => bad_value(error, typed, verb),
        ErrorKind::ArgumentConflict => {
            let (one, other) = (word(error, ContextKind::InvalidArg), word(error, ContextKind::PriorArg));
            (
                if one == other {
                    say!("{one} is given twice", one)
                } else {
                    say!("{one} does not go with {other}", one, other)
                },
                None,
            )
        }
        ErrorKind::MissingRequiredArgument => {
            (say!("{verb} needs {what}", verb, what = plain(&word(error, ContextKind::InvalidArg))), None)
        }
        ErrorKind::InvalidUtf8 => (say!("an argument is not valid UTF-8"), None),
        _ => (first_paragraph(error), None),
    };
    Problem::usage(message, &hint.unwrap_or(help))
}

fn unknown_command(
    error: &Error,
    typed: &[String],
    is_good: impl Fn(&[String]) -> bool,
) -> (String, Option<String>) {
    let unknown = word(error, ContextKind::InvalidSubcommand);
    let message = say!("unknown command \"{unknown}\"", unknown);
    let lower = unknown.to_ascii_lowercase();
    let known =
        OTHERS.iter().find(|(_, words)| words.contains(&lower.as_str())).map(|(verb, _)| (*verb).to_owned());
    let verb = known.or_else(|| match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::String(one)) => Some(one.clone()).filter(|one| one != FOR_SHELLS),
        Some(ContextValue::Strings(several)) => several.iter().find(|one| *one != FOR_SHELLS).cloned(),
        _ => None,
    });
    let Some(verb) = verb else {
        // A portal or a target alone: what is there?
        return match Word::read(&unknown) {
            Word::Target(target) => (
                say!("a command is missing before the target {target}", target),
                Some(shell::command(["iscsictl", "login", target.as_str()])),
            ),
            Word::Portal(portal) if portal.address().is_some() => (
                say!("a command is missing before the portal {portal}", portal),
                Some(shell::command(["iscsictl".to_owned(), "connect".to_owned(), portal.to_string()])),
            ),
            _ => (message, None),
        };
    };
    let mut whole: Vec<String> = typed.to_vec();
    if let Some(place) = whole.iter().position(|one| *one == unknown) {
        whole.splice(place..=place, [verb.clone()]);
    }
    let meant = if is_good(&whole) { whole } else { vec![verb] };
    let meant = shell::command(["iscsictl"].into_iter().chain(meant.iter().map(String::as_str)));
    (message, Some(say!("did you mean: {command}", command = meant)))
}

fn unknown_argument(error: &Error, typed: &[String]) -> (String, Option<String>) {
    let unknown = word(error, ContextKind::InvalidArg);
    if let Some(meant) = as_iscsiadm(typed) {
        return (format!("{unknown} is an option of iscsiadm's"), Some(meant));
    }
    if ["-v", "-V", "--verbose", "--debug", "-d"].contains(&unknown.as_str()) {
        let is_alone = typed.iter().all(|word| word.starts_with('-'));
        let hint = if is_alone {
            say!("the version: iscsictl --version")
        } else {
            say!("what the daemon did: journalctl -u iscsi-initiatord")
        };
        return (say!("unknown option {unknown}", unknown), Some(hint));
    }
    let message = if unknown.starts_with('-') {
        say!("unknown option {unknown}", unknown)
    } else {
        say!("one word too many: \"{unknown}\"", unknown)
    };
    let suggested = match error.get(ContextKind::SuggestedArg) {
        Some(ContextValue::String(option)) => Some(option.clone()),
        _ => None,
    };
    let hint = suggested.map(|option| {
        let words = typed.iter().map(|word| {
            // With its value, if it has one: `--tmeout=5`.
            match word.split_once('=') {
                Some((name, value)) if name == unknown => format!("{option}={value}"),
                _ if *word == unknown => option.clone(),
                _ => word.clone(),
            }
        });
        say!(
            "did you mean: {command}",
            command = shell::command(["iscsictl".to_owned()].into_iter().chain(words))
        )
    });
    (message, hint)
}

fn bad_value(error: &Error, typed: &[String], verb: &str) -> (String, Option<String>) {
    let (argument, value) =
        (plain(&word(error, ContextKind::InvalidArg)), word(error, ContextKind::InvalidValue));
    // The name of the option without that of its value.
    let name = argument.split(' ').next().unwrap_or_default().to_owned();
    if value.is_empty() {
        return (say!("{name} needs a value", name), None);
    }
    if verb == "startup" && name == "WHEN" {
        let is_when = |word: &&String| ["manual", "automatic"].contains(&word.as_str());
        let message = say!("startup takes \"manual\" or \"automatic\" first, not \"{value}\"", value);
        let hint = typed.iter().find(is_when).map(|when| {
            let rest = typed.iter().filter(|word| *word != when && *word != "startup").map(String::as_str);
            shell::command(["iscsictl", "startup", when.as_str()].into_iter().chain(rest))
        });
        return (message, hint);
    }
    let why = match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(words)) => {
            say!("expected {words}", words = either(words.iter().map(String::as_str)))
        }
        _ => std::error::Error::source(error).map(language::word).unwrap_or_default(),
    };
    (format!("{name} \"{value}\": {why}"), None)
}

/// The command for a line in iscsiadm's words: `-m discovery -t st -p PORTAL`, `-m node -T TARGET -l`.
fn as_iscsiadm(typed: &[String]) -> Option<String> {
    let value = |names: &[&str]| {
        let place = typed.iter().position(|word| names.contains(&word.as_str()))?;
        typed.get(place + 1).map(String::as_str)
    };
    let has = |names: &[&str]| typed.iter().any(|word| names.contains(&word.as_str()));
    let mode = value(&["-m", "--mode"])?;
    let target = value(&["-T", "--targetname"]);
    let portal = value(&["-p", "--portal"]);
    let verb = match mode {
        "discovery" | "discoverydb" => "discover",
        "session" if has(&["-R", "--rescan"]) => "rescan",
        "session" if !has(&["-u", "--logout"]) => "paths",
        _ if has(&["-u", "--logout"]) => "logout",
        _ if has(&["-l", "--login"]) => "login",
        _ if has(&["-R", "--rescan"]) => "rescan",
        "node" if value(&["-o", "--op"]) == Some("delete") => "forget",
        "node" if value(&["-o", "--op"]) == Some("new") => "add",
        "node" => "nodes",
        _ => return Some(say!("see all commands: iscsictl --help")),
    };
    let target = target.filter(|_| verb != "discover");
    let place = target.into_iter().chain(portal);
    Some(shell::command(["iscsictl", verb].into_iter().chain(place)))
}

/// One word of clap's context, or several as one text.
fn word(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" and "),
        _ => String::new(),
    }
}

/// Without the brackets in which clap writes what is required or optional.
fn plain(argument: &str) -> String {
    let argument = argument.replace("]...", "").replace(['<', '>', '[', ']'], "");
    either(argument.split('|'))
}

/// One of these.
fn either<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let or = |one: String, other: String| say!("{one} or {other}", one, other);
    words.into_iter().map(str::to_owned).reduce(or).unwrap_or_default()
}

fn first_paragraph(error: &Error) -> String {
    let text = error.render().to_string();
    let lines = text.lines().take_while(|line| !line.is_empty()).map(str::trim);
    lines.collect::<Vec<_>>().join(" ").trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::tests::refusal;

    #[test]
    fn the_words_of_other_programs_lead_to_the_command() {
        const T: &str = "iqn.2003-01.com.example:d";
        for (line, meant) in [
            ("sessions", "iscsictl paths"),
            ("status", "iscsictl paths"),
            ("status T", "iscsictl paths T"),
            ("show --json", "iscsictl paths --json"),
            ("list", "iscsictl nodes"),
            ("ls", "iscsictl nodes"),
            ("LS", "iscsictl nodes"),
            ("list -x", "iscsictl nodes"),
            ("disconnect T", "iscsictl logout T"),
            ("attach 192.0.2.21", "iscsictl connect 192.0.2.21"),
            ("rm T [2001:db8::21]:3260", "iscsictl forget T '[2001:db8::21]:3260'"),
            ("chap T --user u", "iscsictl set-chap T --user u"),
            ("conect 192.0.2.21", "iscsictl connect 192.0.2.21"),
            ("T", "iscsictl login T"),
            ("192.0.2.21", "iscsictl connect 192.0.2.21:3260"),
            ("frobnicate", "iscsictl --help"),
            ("-v", "iscsictl --version"),
            ("login T -v", "journalctl -u iscsi-initiatord"),
            ("login T --tiemout 5", "iscsictl login T --timeout 5"),
            ("startup T automatic", "iscsictl startup automatic T"),
            ("startup T manual -p 192.0.2.21", "iscsictl startup manual T -p 192.0.2.21"),
            ("-m discovery -t st -p 192.0.2.21", "iscsictl discover 192.0.2.21"),
            ("-m node -T T -p 192.0.2.21 -l", "iscsictl login T 192.0.2.21"),
            ("-m node -T T --logout", "iscsictl logout T"),
            ("watch", "iscsictl monitor"),
            ("-m session", "iscsictl paths"),
            ("-m node", "iscsictl nodes"),
            ("-m node -T T -o delete", "iscsictl forget T"),
        ] {
            let fill = |text: &str| {
                let words = text.split(' ').map(|word| if word == "T" { T } else { word });
                words.collect::<Vec<_>>().join(" ")
            };
            let text = refusal(&format!("iscsictl {}", fill(line)));
            assert!(text.ends_with(&fill(meant)), "{line}: {text}");
            assert!(!text.contains("startup") || line.contains("startup"), "{line}: {text}");
        }
    }
}
