//! The number of rooms, and the tables of rooms.

use std::collections::BTreeMap;

use crate::{
    facts::{Facts, File},
    not_yet::Finding,
};

/// More than this, and a folder cannot be taken in at a glance.
const MOST: usize = 12;
const COUNTED: [&str; 3] = ["service/src/backend.rs", "service/src/bus.rs", "service/src/engine.rs"];

/// What the list of missing tables calls each.
pub(crate) const TABLE: &str = "table";

/// How long a line of a table may be.
const WIDTH: usize = 120;

/// The parts of the daemon that have too many rooms.
pub(crate) fn too_many(facts: &Facts) -> Vec<String> {
    let mut complaints = Vec::new();
    for path in COUNTED {
        let file = facts.file(path).unwrap_or_else(|| panic!("{path} is missing: name its successor here"));
        if let Some((_, line)) = file.rooms.get(MOST) {
            let rooms = file.rooms.len();
            complaints
                .push(format!("{path}:{line}: {rooms} rooms, {MOST} at most: put those that belong together into a room of their own"));
        }
    }
    complaints
}

/// The files that declare rooms and do not begin with one line for each.
pub(crate) fn missing_tables(facts: &Facts) -> Vec<Finding> {
    let parents = facts.files.iter().filter(|file| !file.rooms.is_empty());
    parents
        .flat_map(|file| wrong_lines(file).into_iter().map(|(line, message)| finding(file, line, message)))
        .collect()
}

fn finding(file: &File, line: usize, message: String) -> Finding {
    Finding { file: file.path.clone(), line, key: TABLE.to_owned(), message }
}

fn wrong_lines(file: &File) -> Vec<(usize, String)> {
    // The first table; others may follow it.
    let rows: Vec<(usize, &str)> = (1..)
        .zip(file.head.iter().map(|line| line.trim_start_matches("//!").trim()))
        .skip_while(|(_, line)| !line.starts_with('|'))
        .take_while(|(_, line)| line.starts_with('|'))
        .collect();
    let is_rule = |row: &str| row.contains('-') && row.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
    let Some([_, (_, rule), rows @ ..]) = rows.get(..).filter(|rows| rows.len() > 2) else {
        return vec![(
            1,
            "begin with a table: `//! | room | what it is |`, then one line for each `mod`".to_owned(),
        )];
    };
    let mut wrong = Vec::new();
    if !is_rule(rule) {
        wrong.push((1, "the table's second line is not `//! |---|---|`".to_owned()));
    }
    let mut left: BTreeMap<&str, usize> =
        file.rooms.iter().map(|(name, line)| (name.as_str(), *line)).collect();
    for (line, row) in rows {
        let cells: Vec<&str> = row.trim_matches('|').splitn(2, '|').map(str::trim).collect();
        let name = cells[0].trim_matches(['[', ']', '`']);
        if left.remove(name).is_none() {
            wrong.push((
                *line,
                format!(
                    "the table lists `{name}`, which is declared nowhere or listed twice: remove the line"
                ),
            ));
        }
        if cells.get(1).is_none_or(|what| what.is_empty()) {
            wrong.push((*line, format!("the table does not say what `{name}` is")));
        }
        if file.head[line - 1].chars().count() > WIDTH {
            wrong.push((*line, format!("the line of `{name}` is longer than {WIDTH} columns")));
        }
    }
    wrong.extend(left.into_iter().map(|(name, line)| {
        (line, format!("`{name}` is missing in the table at the head of the file: say there what it is"))
    }));
    wrong
}
