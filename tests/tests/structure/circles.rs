//! Which file takes a name from which, and the circles in that.
//!
//! A file takes a name where it uses it, and from the file that defines it: re-exports are looked through. A method
//! of a type whose `impl`s are in several files is taken from the file that has it. What such a file takes from the
//! type's own file is the type itself: that alone makes no circle, as long as the type's file takes nothing back.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    facts::{Call, Facts, Receiver},
    names::Target,
};

/// A type, by the module that defines it and its name.
type Key = (usize, String);

/// The names that one file takes from another, each with the line where it is first used.
type Ties = BTreeMap<String, usize>;

/// Files by their positions: who takes what from whom.
pub(crate) struct Graph<'a> {
    facts: &'a Facts,
    ties: BTreeMap<(usize, usize), Ties>,
}

/// A circle.
pub(crate) struct Circle {
    pub(crate) files: BTreeSet<String>,
    /// One line for each file and file it takes something from.
    pub(crate) ties: Vec<String>,
}

/// For each type with an `impl` outside its own file: its methods, and the files that define one of that name.
struct Spread(BTreeMap<Key, BTreeMap<String, BTreeSet<usize>>>);

impl Spread {
    fn of(facts: &Facts) -> Self {
        let mut types: BTreeMap<Key, BTreeMap<String, BTreeSet<usize>>> = BTreeMap::new();
        let mut spread = BTreeSet::new();
        for (at, file) in facts.files.iter().enumerate() {
            for block in &file.impls {
                let Target::Item { module, name, .. } = facts.resolve(block.module, &block.on) else {
                    continue;
                };
                let key = (module, name);
                if facts.modules[module].file != at {
                    spread.insert(key.clone());
                }
                let methods = types.entry(key).or_default();
                for method in &block.methods {
                    methods.entry(method.clone()).or_default().insert(at);
                }
            }
        }
        types.retain(|key, _| spread.contains(key));
        Self(types)
    }

    /// The one file that defines the method.
    fn file(&self, key: &Key, method: &str) -> Option<usize> {
        let files = self.0.get(key)?.get(method)?;
        if files.len() == 1 { files.first().copied() } else { None }
    }

    /// The type that a method is called on. A variable is taken for what it is named after: `engine` is an `Engine`.
    fn receiver(&self, facts: &Facts, call: &Call, member: usize) -> Option<Key> {
        match &call.receiver {
            Receiver::Type(path) => match facts.resolve(call.module, path) {
                Target::Item { module, name, .. } => Some((module, name)),
                _ => None,
            },
            Receiver::Named(variable) => {
                let is_it = |(module, name): &&Key| {
                    let file = &facts.files[facts.modules[*module].file];
                    file.member == member && snake_case(name) == *variable
                };
                self.0.keys().find(is_it).cloned()
            }
            Receiver::Unknown => None,
        }
    }
}

fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

impl<'a> Graph<'a> {
    pub(crate) fn of(facts: &'a Facts) -> Self {
        let spread = Spread::of(facts);
        let mut graph = Self { facts, ties: BTreeMap::new() };
        for (from, file) in facts.files.iter().enumerate() {
            for mention in &file.mentions {
                match facts.resolve(mention.module, &mention.path) {
                    Target::Item { module, name, rest } => {
                        let method = rest.first().and_then(|method| {
                            let file = spread.file(&(module, name.clone()), method)?;
                            Some((file, format!("{name}::{method}")))
                        });
                        let (to, name) = method.unwrap_or((facts.modules[module].file, name));
                        graph.tie(from, to, name, mention.line);
                    }
                    Target::Module(module) if mention.is_glob => {
                        graph.tie(from, facts.modules[module].file, "*".to_owned(), mention.line);
                    }
                    _ => {}
                }
            }
            for call in &file.calls {
                let Some(key) = spread.receiver(facts, call, file.member) else { continue };
                if let Some(to) = spread.file(&key, &call.method) {
                    graph.tie(from, to, format!("{}::{}()", key.1, call.method), call.line);
                }
            }
        }
        graph.forgive_methods_on(&spread);
        graph
    }

    /// Who takes what from whom.
    pub(crate) fn edges(&self) -> impl Iterator<Item = (usize, usize, &Ties)> {
        self.ties.iter().map(|((from, to), ties)| (*from, *to, ties))
    }

    fn tie(&mut self, from: usize, to: usize, name: String, line: usize) {
        if from != to {
            let first = self.ties.entry((from, to)).or_default().entry(name).or_insert(line);
            *first = line.min(*first);
        }
    }

    /// A file with methods of a type needs that type's name; that is no tie, unless the type's file needs the file.
    fn forgive_methods_on(&mut self, spread: &Spread) {
        for (at, file) in self.facts.files.iter().enumerate() {
            for block in &file.impls {
                let Target::Item { module, name, .. } = self.facts.resolve(block.module, &block.on) else {
                    continue;
                };
                let home = self.facts.modules[module].file;
                if self.ties.contains_key(&(home, at)) || !spread.0.contains_key(&(module, name.clone())) {
                    continue;
                }
                if let Some(ties) = self.ties.get_mut(&(at, home)) {
                    ties.remove(&name);
                }
            }
        }
        self.ties.retain(|_, ties| !ties.is_empty());
    }

    /// The files that each file reaches.
    fn reach(&self) -> Vec<BTreeSet<usize>> {
        let mut next = vec![Vec::new(); self.facts.files.len()];
        for (from, to) in self.ties.keys() {
            next[*from].push(*to);
        }
        let from = |start: usize| {
            let mut seen = BTreeSet::new();
            let mut open = next[start].clone();
            while let Some(file) = open.pop() {
                if seen.insert(file) {
                    open.extend(&next[file]);
                }
            }
            seen
        };
        (0..next.len()).map(from).collect()
    }
}

/// Every set of files that reach each other, the largest first.
pub(crate) fn all(facts: &Facts) -> Vec<Circle> {
    let graph = Graph::of(facts);
    let reach = graph.reach();
    let mut done = BTreeSet::new();
    let mut circles = Vec::new();
    for file in 0..reach.len() {
        if !reach[file].contains(&file) || done.contains(&file) {
            continue;
        }
        let members: BTreeSet<usize> =
            reach[file].iter().copied().filter(|other| reach[*other].contains(&file)).collect();
        let path = |file: usize| &facts.files[file].path;
        let inside = graph.edges().filter(|(from, to, _)| members.contains(from) && members.contains(to));
        let ties = inside.map(|(from, to, ties)| {
            let line = ties.values().min().unwrap();
            let names: Vec<&str> = ties.keys().map(String::as_str).collect();
            format!("{}:{line}: takes {} from {}", path(from), names.join(", "), path(to))
        });
        let ties = ties.collect();
        circles.push(Circle { files: members.iter().map(|file| path(*file).clone()).collect(), ties });
        done.extend(members);
    }
    circles.sort_by_key(|circle| std::cmp::Reverse(circle.files.len()));
    circles
}

/// What is wrong with the circles, given those that are still allowed. A listed circle may shrink or fall apart; then
/// the list must follow.
pub(crate) fn compare(found: &[Circle], not_yet: &[&[&str]]) -> Vec<String> {
    let mut complaints = Vec::new();
    for circle in found {
        let is_listed =
            not_yet.iter().any(|listed| circle.files.iter().all(|file| listed.contains(&file.as_str())));
        if !is_listed {
            complaints.push(format!(
                "a circle of {} files: move what they share into a file below them, or pass it as a plain value",
                circle.files.len()
            ));
            complaints.extend(circle.ties.iter().map(|tie| format!("  {tie}")));
            complaints.push(format!("  its files: {:?}", circle.files));
        }
    }
    for file in not_yet.iter().copied().flatten() {
        if !found.iter().any(|circle| circle.files.contains(*file)) {
            complaints.push(format!("{file}:1: in no circle any more: remove it from not_yet::CIRCLES"));
        }
    }
    complaints
}
