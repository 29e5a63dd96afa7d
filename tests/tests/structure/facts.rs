//! What the checks need to know of each file, as plain data: syntax trees stay on the thread that parsed them.

use std::collections::{BTreeMap, BTreeSet};

use crate::{reader, tree::Tree};

/// A path as it is written, or a name after it was made absolute.
pub(crate) type Names = Vec<String>;

/// All crates of the workspace.
#[derive(Default)]
pub(crate) struct Facts {
    pub(crate) members: Vec<Member>,
    pub(crate) files: Vec<File>,
    pub(crate) modules: Vec<Module>,
    /// Rust files that no module declares, but for tests.
    pub(crate) unread: Vec<String>,
}

/// A crate's Cargo.toml.
pub(crate) struct Member {
    /// Its folder below the workspace.
    pub(crate) folder: String,
    pub(crate) package: String,
    /// The normal dependencies, each with its line.
    pub(crate) dependencies: Vec<(String, usize)>,
}

/// A Rust file, without what only tests see.
#[derive(Default)]
pub(crate) struct File {
    pub(crate) path: String,
    pub(crate) member: usize,
    /// The lines of the doc comment that it begins with.
    pub(crate) head: Vec<String>,
    /// The modules that it declares as files, each with its line.
    pub(crate) rooms: Vec<(String, usize)>,
    pub(crate) mentions: Vec<Mention>,
    pub(crate) calls: Vec<Call>,
    pub(crate) impls: Vec<Impl>,
}

/// A module: a file, or a block inside one.
#[derive(Default)]
pub(crate) struct Module {
    /// Below the crate's root.
    pub(crate) path: Names,
    pub(crate) parent: Option<usize>,
    pub(crate) file: usize,
    pub(crate) items: BTreeSet<String>,
    pub(crate) children: BTreeMap<String, usize>,
    pub(crate) imports: BTreeMap<String, Names>,
    /// What `use path::*` brings into scope.
    pub(crate) globs: Vec<Names>,
}

/// A path of more than one name, or one in a `use`.
pub(crate) struct Mention {
    pub(crate) module: usize,
    pub(crate) path: Names,
    pub(crate) line: usize,
    /// `use path::*`
    pub(crate) is_glob: bool,
}

/// A method call.
pub(crate) struct Call {
    pub(crate) module: usize,
    pub(crate) receiver: Receiver,
    pub(crate) method: String,
    pub(crate) has_arguments: bool,
    pub(crate) line: usize,
}

/// What a method is called on, as far as it can be seen without inferring types.
#[derive(Clone)]
pub(crate) enum Receiver {
    /// A type's path, as written in the module.
    Type(Names),
    /// A variable or field of that name.
    Named(String),
    Unknown,
}

/// An inherent `impl`.
pub(crate) struct Impl {
    pub(crate) module: usize,
    pub(crate) on: Names,
    pub(crate) methods: Vec<String>,
}

impl Facts {
    pub(crate) fn of(tree: &Tree) -> Self {
        let mut facts = Self::default();
        for folder in tree.members() {
            let member = facts.members.len();
            facts.members.push(manifest(&folder, tree.text(&format!("{folder}/Cargo.toml")).unwrap()));
            for root in ["lib.rs", "main.rs"] {
                let path = format!("{folder}/src/{root}");
                if tree.text(&path).is_some() {
                    reader::read(&mut facts, tree, member, &path);
                }
            }
        }
        let read: BTreeSet<&str> = facts.files.iter().map(|file| file.path.as_str()).collect();
        let unread = tree.paths().filter(|path| path.ends_with(".rs") && !read.contains(path));
        let unread = unread.map(str::to_owned).collect();
        facts.unread = unread;
        facts
    }

    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Package and normal dependencies; also those of one platform only.
fn manifest(folder: &str, text: &str) -> Member {
    let mut member = Member { folder: folder.to_owned(), package: String::new(), dependencies: Vec::new() };
    let mut section = "";
    for (line, content) in (1..).zip(text.lines().map(str::trim)) {
        if let Some(header) = content.strip_prefix('[') {
            section = header.trim_end_matches(']');
            if let Some((_, name)) = section.split_once("dependencies.")
                && !section.starts_with("dev-")
            {
                member.dependencies.push((name.to_owned(), line));
            }
            continue;
        }
        let Some((key, value)) = content.split_once('=') else { continue };
        let key = key.trim().split('.').next().unwrap().trim_matches('"');
        if section == "package" && key == "name" {
            member.package = value.trim().trim_matches('"').to_owned();
        }
        let is_normal = section == "dependencies" || section.ends_with(".dependencies");
        if is_normal && !key.starts_with('#') {
            // `name = { package = "other" }`
            let renamed = value.split("package = \"").nth(1).and_then(|rest| rest.split('"').next());
            member.dependencies.push((renamed.unwrap_or(key).to_owned(), line));
        }
    }
    member
}
