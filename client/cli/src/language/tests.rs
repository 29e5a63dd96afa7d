//! Everything that this program says can be translated, and is.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use iscsi_initiator_dbus::{
    Iqn, LeaseHolder, Portal,
    results::{
        ChapMode, CheckState, Health, HolderKind, LoginOutcome, LogoutOutcome, NodeState, RescanOutcome,
        Startup,
    },
};

use super::{foreign, help_parts, po_tests as po};
use crate::{args, show::fit};

const CHINESE: &str = include_str!("../../../po/zh_CN.po");
const TEMPLATE: &str = include_str!("../../../po/iscsi-initiator.pot");
const HELP: &str = "client/po/iscsictl-help";

/// The text of every `say!`, and both of every `counted!`, in the sources.
fn said() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("src/language.rs") && !path.ends_with("language/tests.rs") {
                let source = std::fs::read_to_string(path).unwrap();
                found.extend(source.split("say!(").skip(1).map(|rest| literals(rest, 1)));
                found.extend(source.split("counted!(").skip(1).map(|rest| literals(rest, 2)));
            }
        }
    }
    found
}

/// So many literals, with a NUL between.
fn literals(source: &str, count: usize) -> String {
    let (mut texts, mut rest) = (Vec::new(), source);
    for _ in 0..count {
        let begin = rest.trim_start_matches([',', ' ', '\n']);
        let inner = begin.strip_prefix('"').unwrap();
        let is_end = |(place, _): &(usize, &str)| {
            inner[..*place].bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0
        };
        let (end, _) = inner.match_indices('"').find(is_end).unwrap();
        let (text, left) = inner.split_at(end);
        assert!(!text.contains('\n'), "on one line, for xgettext: {text}");
        texts.push(po::plain(text));
        rest = &left[1..];
    }
    texts.join("\0")
}

/// The texts of the help, line by line.
fn help() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut add = |text: &clap::builder::StyledStr| {
        let text = text.to_string();
        let lines = text.split('\n').map(|line| help_parts(line).1).filter(|line| !line.trim().is_empty());
        found.extend(lines.map(str::to_owned));
    };
    let mut program = args::program();
    program.build();
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        let texts = [
            command.get_about(),
            command.get_long_about(),
            command.get_after_help(),
            command.get_after_long_help(),
        ];
        texts.into_iter().flatten().for_each(&mut add);
        for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
            [arg.get_help(), arg.get_long_help()].into_iter().flatten().for_each(&mut add);
        }
        commands.extend(command.get_subcommands().filter(|command| !command.is_hide_set()).cloned());
    }
    found
}

fn all() -> BTreeSet<String> {
    let foreign = [&foreign::COLUMNS[..], &foreign::WORDS, &foreign::REASONS].concat();
    said().into_iter().chain(help()).chain(foreign.into_iter().map(str::to_owned)).collect()
}

fn names(text: &str) -> BTreeSet<&str> {
    let parts = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    parts.map(|(name, _)| name).filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase())).collect()
}

/// For xgettext, which does not see what clap has from comments. `UPDATE=1` writes it.
#[test]
fn the_texts_of_the_help_are_written_down_for_translators() {
    let quoted = |text: &String| text.replace('\\', "\\\\").replace('"', "\\\"");
    let lines = help().iter().map(|text| format!("known(\"{}\");\n", quoted(text))).collect::<String>();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(HELP);
    if std::env::var_os("UPDATE").is_some() {
        #[expect(clippy::disallowed_methods, reason = "a file of the sources, if a person asks for it")]
        std::fs::write(&file, &lines).unwrap();
    }
    let written = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        written == lines,
        "{HELP} is old: UPDATE=1 cargo test -p iscsictl texts_of_the_help, then make po"
    );
}

#[test]
fn every_text_is_translated_with_the_same_values() {
    let template: BTreeSet<String> = po::read(TEMPLATE).into_iter().map(|(id, _)| id).collect();
    let chinese: BTreeMap<String, String> = po::read(CHINESE).into_iter().collect();
    let mut missing = Vec::new();
    for text in all() {
        let said = chinese.get(&text).map_or("", String::as_str);
        if said.is_empty() || !template.contains(&text) {
            missing.push(text);
            continue;
        }
        assert_eq!(names(text.split('\0').next_back().unwrap()), names(said), "{text}: {said}");
        // A sentence that goes on to its full stop is no command to paste.
        let is_one = |command: &String| !command.ends_with('.');
        let command = |text: &str| fit::split(text).map(|(_, command)| command.to_owned()).filter(is_one);
        // A sentence of the help may go on behind a command.
        if !text.starts_with("Next: ") {
            assert_eq!(command(&text), command(said), "another command, or none: {text}: {said}");
        }
    }
    assert!(missing.is_empty(), "not in client/po, or not translated (make po): {missing:#?}");
}

#[test]
fn every_word_of_the_contract_is_known() {
    let mut words: Vec<String> = Vec::new();
    words.extend(Startup::ALL.iter().map(ToString::to_string));
    words.extend(ChapMode::ALL.iter().map(ToString::to_string));
    words.extend(NodeState::ALL.iter().map(ToString::to_string));
    words.extend(LoginOutcome::ALL.iter().map(ToString::to_string));
    words.extend(LogoutOutcome::ALL.iter().map(ToString::to_string));
    words.extend(RescanOutcome::ALL.iter().map(ToString::to_string));
    words.extend(HolderKind::ALL.iter().map(ToString::to_string));
    words.extend(Health::ALL.iter().map(ToString::to_string));
    words.extend(CheckState::ALL.iter().map(ToString::to_string));
    for word in words {
        assert!(foreign::is_known(&word), "{word}");
    }
}

#[test]
fn why_a_name_is_none_is_said_as_the_contract_says_it() {
    let long = "a".repeat(129);
    let names = ["", "iqn.", "iqn.2003-01.com.example:<", "xqn.a", "eui.1", "naa.1"];
    let portals = ["", "a:b:c", "0.0.0.0", "192.0.2.1:0", "192.0.2.1,x", "fe80::1"];
    let holders = ["", "<", "-a", &long];
    let reasons = names.iter().map(|text| text.parse::<Iqn>().unwrap_err().to_string());
    let reasons = reasons.chain(portals.iter().map(|text| text.parse::<Portal>().unwrap_err().to_string()));
    let reasons =
        reasons.chain(holders.iter().map(|text| text.parse::<LeaseHolder>().unwrap_err().to_string()));
    for reason in reasons {
        assert!(foreign::is_known(&reason), "{reason}");
    }
}
