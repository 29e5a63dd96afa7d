//! What pages tell of the code: each file and each function that they name exists.

use std::{fs, path::Path};

use super::tree::Tree;

/// The page that tells a login and a logout by the functions that do it.
pub(crate) const PAGE: &str = "docs/architecture.md";

pub(crate) fn text() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(PAGE);
    fs::read_to_string(path).unwrap()
}

/// The words in backticks that name a file or a function which is not there.
pub(crate) fn missing(tree: &Tree, page: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for (number, line) in page.lines().enumerate() {
        for word in line.split('`').skip(1).step_by(2) {
            let is_there = match word.split_once("::") {
                Some((place, name)) if is_name(place) && is_name(name) => has_item(tree, place, name),
                None if word.ends_with(".rs") => has_file(tree, word),
                _ => continue,
            };
            if !is_there {
                complaints.push(format!("{PAGE}:{}: there is no {word}: name what is there", number + 1));
            }
        }
    }
    complaints
}

fn is_name(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn has_file(tree: &Tree, word: &str) -> bool {
    tree.paths()
        .any(|path| path.strip_suffix(word).is_some_and(|rest| rest.is_empty() || rest.ends_with('/')))
}

/// A function of a module, or of a type.
fn has_item(tree: &Tree, place: &str, name: &str) -> bool {
    tree.paths().any(|path| {
        let text = tree.text(path).unwrap_or_default();
        let is_module = path.ends_with(&format!("/{place}.rs"));
        let is_type = [format!("impl {place} "), format!(" for {place} "), format!("impl {place}<")]
            .iter()
            .any(|head| text.contains(head));
        let has_function = [format!("fn {name}("), format!("fn {name}<")].iter().any(|f| text.contains(f));
        (is_module || is_type) && has_function
    })
}
