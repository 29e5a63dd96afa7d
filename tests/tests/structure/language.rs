//! Phrases that a native reader stumbles over, in code, pages and scripts that people read.

use std::{fs, path::Path};

const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// Where they are looked for. `CONTRIBUTING.md` lists them.
const PLACES: [&str; 11] = [
    "Makefile",
    "README.md",
    "SECURITY.md",
    "client",
    "dbus",
    "docs",
    "polkit",
    "service/probe/src",
    "service/src",
    "systemd",
    "tests/testbed",
];

/// The phrase, and what to write.
const PHRASES: [(&str, &str); 17] = [
    ("It may not", "nothing, or \"Must not\""),
    ("What it may not do", "nothing, or \"Must not\""),
    ("is no known", "unknown"),
    ("no answer in time", "timed out waiting for"),
    ("that are none", "malformed"),
    ("deserves a look", "needs attention"),
    ("side by side", "in parallel"),
    ("told apart", "distinguished"),
    ("let us in", "accepted the login"),
    ("lets us in", "accepts the login"),
    ("the time was up", "timed out"),
    ("plain file of root's", "regular file owned by root"),
    ("file of open-iscsi's", "open-iscsi file"),
    (" he ", "they, or the caller"),
    (" him ", "them, or the caller"),
    (" mend ", "fix"),
    ("whom wants", "the caller that asked for it"),
];

/// Each phrase that is found: file, line, what to write.
pub(crate) fn found() -> Vec<String> {
    let mut found = Vec::new();
    for place in PLACES {
        look(place, &mut found);
    }
    found
}

fn look(place: &str, found: &mut Vec<String>) {
    let path = Path::new(PROJECT).join(place);
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            let name = entry.unwrap().file_name();
            look(&format!("{place}/{}", name.to_str().unwrap()), found);
        }
    } else if let Ok(text) = fs::read_to_string(path) {
        found.extend(in_text(place, &text));
    }
}

/// Those in one text.
pub(crate) fn in_text(file: &str, text: &str) -> Vec<String> {
    let complaint = |number: usize, (phrase, better): &(&str, &str)| {
        format!("{file}:{}: \"{}\": write {better}", number + 1, phrase.trim())
    };
    let lines = text.lines().enumerate();
    lines
        .flat_map(|(number, line)| {
            let padded = format!(" {line} ");
            let here = PHRASES.iter().filter(move |(phrase, _)| padded.contains(phrase));
            here.map(move |phrase| complaint(number, phrase)).collect::<Vec<_>>()
        })
        .collect()
}
