//! A crate's files and modules, from its root on. What is `#[cfg(test)]` is skipped.

use std::collections::BTreeMap;

use syn::{Ident, Item, visit::Visit};

use crate::{
    attributes::{is_for_tests, of_item},
    facts::{Facts, File, Module, Names},
    tree::Tree,
    visitor::{Visitor, line},
};

/// Reads a crate from its root file on.
pub(crate) fn read(facts: &mut Facts, tree: &Tree, member: usize, root: &str) {
    read_file(facts, tree, member, root, None, Names::new());
}

fn read_file(
    facts: &mut Facts,
    tree: &Tree,
    member: usize,
    path: &str,
    parent: Option<usize>,
    names: Names,
) -> usize {
    let text = tree.text(path).unwrap_or_else(|| panic!("{path}: declared, but not there"));
    let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
    let head = text.lines().take_while(|line| line.starts_with("//!")).map(str::to_owned).collect();
    let file = facts.files.len();
    facts.files.push(File { path: path.to_owned(), member, head, ..File::default() });
    let module = facts.modules.len();
    facts.modules.push(Module { path: names, parent, file, ..Module::default() });
    let folder = match path.rsplit_once('/').unwrap() {
        (folder, "lib.rs" | "main.rs" | "mod.rs") => folder.to_owned(),
        _ => path.trim_end_matches(".rs").to_owned(),
    };
    read_items(facts, tree, module, &folder, &syntax.items);
    module
}

fn read_items(facts: &mut Facts, tree: &Tree, module: usize, folder: &str, items: &[Item]) {
    let file = facts.modules[module].file;
    for item in items.iter().filter(|item| !is_for_tests(of_item(item))) {
        if let Item::Mod(declared) = item {
            let name = declared.ident.to_string();
            let names = [facts.modules[module].path.as_slice(), std::slice::from_ref(&name)].concat();
            let below = format!("{folder}/{name}");
            let child = if let Some((_, items)) = &declared.content {
                let child = facts.modules.len();
                facts.modules.push(Module { path: names, parent: Some(module), file, ..Module::default() });
                read_items(facts, tree, child, &below, items);
                child
            } else {
                facts.files[file].rooms.push((name.clone(), line(declared.ident.span())));
                let flat = format!("{below}.rs");
                let path = if tree.text(&flat).is_some() { flat } else { format!("{below}/mod.rs") };
                read_file(facts, tree, facts.files[file].member, &path, Some(module), names)
            };
            facts.modules[module].children.insert(name, child);
            continue;
        }
        facts.modules[module].items.extend(defined(item).map(Ident::to_string));
        let scope = &mut facts.modules[module];
        Visitor {
            id: module,
            module: scope,
            file: &mut facts.files[file],
            own: None,
            locals: BTreeMap::new(),
        }
        .visit_item(item);
    }
}

/// The name that an item gives to its module.
fn defined(item: &Item) -> Option<&Ident> {
    match item {
        Item::Const(item) => Some(&item.ident),
        Item::Enum(item) => Some(&item.ident),
        Item::Fn(item) => Some(&item.sig.ident),
        Item::Macro(item) => item.ident.as_ref(),
        Item::Static(item) => Some(&item.ident),
        Item::Struct(item) => Some(&item.ident),
        Item::Trait(item) => Some(&item.ident),
        Item::Type(item) => Some(&item.ident),
        Item::Union(item) => Some(&item.ident),
        _ => None,
    }
}
