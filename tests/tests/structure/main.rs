//! The structure of the crates, held by tests: which file takes names from which, what the engine leaves to the
//! backend, how many rooms a folder has, and that each parent file lists its rooms.
//!
//! | room | what it is |
//! |---|---|
//! | `attributes` | which items only tests see |
//! | `circles` | which file takes a name from which, and the circles in that |
//! | `deadlines` | the page of deadlines, made of the constants |
//! | `direction` | which part of the workspace may use which |
//! | `facts` | what the checks need to know of each file: modules, names, calls |
//! | `hints` | the page of hints, made of the texts in the sources, and what would not work as pasted |
//! | `language` | phrases to replace |
//! | `names` | where a path leads: a definition, a module or another crate |
//! | `not_yet` | what is still wrong, and may only become less |
//! | `pages` | what pages tell of the code |
//! | `reader` | a crate's files and modules |
//! | `rooms` | the number of rooms, and the tables of rooms |
//! | `self_test` | each check fails on a tiny crate that is wrong |
//! | `tree` | the files of the workspace, or of a test |
//! | `visitor` | what the code inside an item mentions and calls |
//! | `walls` | what the engine must leave to the backend |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod attributes;
mod circles;
mod deadlines;
mod direction;
mod facts;
mod hints;
mod language;
mod names;
mod not_yet;
mod pages;
mod reader;
mod rooms;
mod self_test;
mod tree;
mod visitor;
mod walls;

use std::{fs, path::Path, sync::LazyLock};

use facts::Facts;
use tree::Tree;

/// Read once for all tests, as what follows.
static TREE: LazyLock<Tree> = LazyLock::new(Tree::of_project);
static PROJECT: LazyLock<Facts> = LazyLock::new(|| Facts::of(&TREE));
static TEXTS: LazyLock<Vec<hints::Text>> = LazyLock::new(|| hints::texts(&TREE));

/// Fails with all that was found, one finding a line.
fn none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n\n{}\n", complaints.join("\n"));
}

#[test]
fn every_file_is_declared_and_thus_looked_at_unless_it_holds_tests() {
    let unread = PROJECT.unread.iter().filter(|path| !path.ends_with("tests.rs"));
    none(
        &unread
            .map(|path| format!("{path}:1: no `mod` declares it: declare or remove it"))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn no_files_take_names_from_each_other_in_a_circle() {
    none(&circles::compare(&circles::all(&PROJECT), not_yet::CIRCLES));
}

#[test]
fn the_page_on_the_architecture_names_files_and_functions_that_exist() {
    none(&pages::missing(&TREE, &pages::text()));
}

#[test]
fn the_page_of_deadlines_is_what_the_constants_say() {
    is_up_to_date(deadlines::PAGE, &deadlines::page(&TREE));
}

#[test]
fn the_page_of_hints_is_what_the_sources_say() {
    is_up_to_date(hints::PAGE, &hints::page(&TEXTS));
}

#[test]
fn what_is_put_into_the_command_of_a_hint_is_quoted_and_the_command_can_be_found() {
    none(&hints::complaints(&TEXTS));
}

/// Fails if the generated page is not this one, or writes it.
fn is_up_to_date(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    if std::env::var_os("UPDATE").is_some() {
        #[expect(clippy::disallowed_methods, reason = "asked for: a generated page of the work tree")]
        fs::write(&path, page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "{name}: write it anew: UPDATE=1 make bus TEST=structure");
}

#[test]
fn no_phrase_is_left_that_has_a_plainer_one() {
    none(&language::found());
}

#[test]
fn every_deadline_says_what_it_is_for() {
    let silent = deadlines::all(&TREE).into_iter().filter(|deadline| deadline.says.is_empty());
    none(
        &silent
            .map(|deadline| format!("{}: {} has no comment above it", deadline.file, deadline.name))
            .collect::<Vec<_>>(),
    );
}

#[test]
fn nothing_in_the_engine_opens_a_file_or_a_socket_or_starts_a_program() {
    none(&not_yet::compare(&walls::broken(&PROJECT), not_yet::WALLS, "WALLS"));
}

#[test]
fn the_engine_the_backend_and_the_bus_have_at_most_twelve_rooms_each() {
    none(&rooms::too_many(&PROJECT));
}

#[test]
fn each_parent_file_begins_with_a_table_of_its_rooms() {
    let listed: Vec<_> = not_yet::TABLES.iter().map(|file| (*file, rooms::TABLE)).collect();
    none(&not_yet::compare(&rooms::missing_tables(&PROJECT), &listed, "TABLES"));
}

#[test]
fn no_part_uses_what_lies_above_it() {
    none(&direction::reversed(&PROJECT));
}

#[test]
fn only_tests_are_built_with_what_ends_the_daemon_between_two_writes() {
    let tree = &*TREE;
    let asks = |text: &str| {
        let names = ["steps", "measure"];
        let is_named = |name| text.contains(&format!("\"{name}\"")) || text.contains(&format!("/{name}"));
        names.into_iter().any(is_named) || text.contains("all-features")
    };
    let mut texts: Vec<_> = tree
        .paths()
        .filter(|path| path.ends_with("Cargo.toml"))
        .map(|path| (path.to_owned(), tree.text(path).unwrap().to_owned()))
        .collect();
    let read =
        |path: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap();
    let own = read("tests/Cargo.toml");
    let (program, tests) = own.split_once("[dev-dependencies]").unwrap();
    assert!(asks(tests), "the tests need it");
    texts.extend([
        ("tests/Cargo.toml".to_owned(), program.to_owned()),
        ("Makefile".to_owned(), read("Makefile")),
    ]);
    let asking = texts.iter().filter(|(_, text)| asks(text));
    none(
        &asking
            .map(|(path, _)| {
                format!("{path}: asks for the feature steps or measure: leave that to tests and benches")
            })
            .collect::<Vec<_>>(),
    );
}
