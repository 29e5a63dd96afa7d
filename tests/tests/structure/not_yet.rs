//! What is still wrong. Each list may only become shorter: an entry that is not needed any more fails its test.

use std::collections::BTreeSet;

/// Something wrong at one place.
pub(crate) struct Finding {
    pub(crate) file: String,
    pub(crate) line: usize,
    /// What the list calls it.
    pub(crate) key: String,
    /// What is wrong, and what to do.
    pub(crate) message: String,
}

/// The files of each circle.
pub(crate) const CIRCLES: &[&[&str]] = &[];

/// What the engine still does itself: the file, and the path or method.
pub(crate) const WALLS: &[(&str, &str)] = &[];

/// Parent files whose table of rooms is missing or wrong.
pub(crate) const TABLES: &[&str] = &[];

/// What is found and not listed, and what is listed and not found.
pub(crate) fn compare(found: &[Finding], listed: &[(&str, &str)], list: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut needed = BTreeSet::new();
    for finding in found {
        let entry = (finding.file.as_str(), finding.key.as_str());
        if listed.contains(&entry) {
            needed.insert(entry);
        } else {
            complaints.push(format!("{}:{}: {}", finding.file, finding.line, finding.message));
        }
    }
    for (file, key) in listed.iter().filter(|entry| !needed.contains(*entry)) {
        complaints.push(format!("{file}:1: {key}: not found any more: remove it from not_yet::{list}"));
    }
    complaints
}
