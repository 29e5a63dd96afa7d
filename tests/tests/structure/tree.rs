//! The files of the workspace that the checks look at, or those of a test.

use std::{collections::BTreeMap, fs, path::Path};

/// The workspace.
const PROJECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// What is a workspace of its own, and ours all the same.
const OTHERS: [&str; 1] = ["client/applet"];

/// Texts by their paths below the workspace.
pub(crate) struct Tree(BTreeMap<String, String>);

impl Tree {
    /// Every member's Cargo.toml and Rust files, but not of what only tests need: the parts of a machine that is played
    /// wake each other in a circle, as they do in life.
    pub(crate) fn of_project() -> Self {
        let mut tree = Self(BTreeMap::new());
        tree.read("Cargo.toml");
        for member in tree.members().into_iter().chain(OTHERS.map(str::to_owned)) {
            tree.read(&format!("{member}/Cargo.toml"));
            tree.read_folder(&format!("{member}/src"));
        }
        tree
    }

    /// A workspace in memory.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
    }

    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.0.get(path).map(String::as_str)
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The folders of the workspace's members, and of those of the others that were read.
    pub(crate) fn members(&self) -> Vec<String> {
        let manifest = self.text("Cargo.toml").unwrap();
        let list = manifest.split("members = [").nth(1).and_then(|rest| rest.split(']').next()).unwrap();
        let names = list.split(',').map(|name| name.trim().trim_matches('"').to_owned());
        let own = names.filter(|name| !name.is_empty() && name != "tests" && !name.starts_with("tests/"));
        let is_read = |folder: &&str| self.text(&format!("{folder}/Cargo.toml")).is_some();
        own.chain(OTHERS.iter().copied().filter(is_read).map(str::to_owned)).collect()
    }

    fn read_folder(&mut self, folder: &str) {
        for entry in fs::read_dir(Path::new(PROJECT).join(folder)).unwrap() {
            let entry = entry.unwrap();
            let path = format!("{folder}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                self.read_folder(&path);
            } else if path.ends_with(".rs") {
                self.read(&path);
            }
        }
    }

    fn read(&mut self, path: &str) {
        let text = fs::read_to_string(Path::new(PROJECT).join(path)).unwrap();
        self.0.insert(path.to_owned(), text);
    }
}
