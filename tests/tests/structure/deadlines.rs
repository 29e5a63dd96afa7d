//! The page of deadlines, made of the constants and what is said above them.

use std::fmt::Write as _;

use super::tree::Tree;

/// The page, from the workspace.
pub(crate) const PAGE: &str = "docs/deadlines.md";

const HEAD: &str = "\
<!-- Generated from the constants: UPDATE=1 make bus TEST=structure writes it anew. -->
# Deadlines

Each wait ends at one of these, or at the deadline of its call. Limits of size and number:
[architecture.md](architecture.md).

| how long | what | where |
|---|---|---|
";

/// A constant of type `Duration`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Deadline {
    pub(crate) value: String,
    /// What is said above it, or above those that it is written below.
    pub(crate) says: String,
    pub(crate) file: String,
    pub(crate) name: String,
}

/// The page as it has to be.
pub(crate) fn page(tree: &Tree) -> String {
    let mut page = HEAD.to_owned();
    for Deadline { value, says, file, name } in all(tree) {
        writeln!(page, "| {value} | {says} | `{file}` (`{name}`) |").unwrap();
    }
    page
}

/// By files; without those that only tests see.
pub(crate) fn all(tree: &Tree) -> Vec<Deadline> {
    let mut found = Vec::new();
    for file in tree.paths().filter(|path| path.ends_with(".rs") && !path.ends_with("tests.rs")) {
        let text = tree.text(file).unwrap_or_default();
        let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        let mut comment = Vec::new();
        for line in text.lines().map(str::trim) {
            if let Some(words) = line.strip_prefix("/// ") {
                comment.push(words);
            } else if let Some((name, value)) = constant(line) {
                let (file, says) = (file.to_owned(), comment.join(" ").replace('|', "\\|"));
                found.push(Deadline { value: shown(value), says, file, name: name.to_owned() });
                comment.clear();
            } else {
                comment.clear();
            }
        }
    }
    found
}

fn constant(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once("const ")?;
    let (name, value) = rest.split_once(": Duration = ")?;
    Some((name, value.strip_suffix(';')?))
}

/// `30 s`, or the expression if it is another.
fn shown(value: &str) -> String {
    let number = |unit: &str| {
        value.strip_prefix("Duration::from_")?.strip_prefix(unit)?.strip_prefix('(')?.strip_suffix(')')
    };
    match (number("secs"), number("millis")) {
        (Some(number), _) => format!("{number} s"),
        (_, Some(number)) => format!("{number} ms"),
        _ => format!("`{value}`"),
    }
}
