//! Where a path leads: through modules and re-exports, to what is defined there.

use crate::facts::{Facts, Names};

/// A chain of re-exports longer than this is one that never ends.
const LONGEST: usize = 32;

/// What a path stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// Something defined in a module, and what follows its name: a variant, a method.
    Item {
        module: usize,
        name: String,
        rest: Names,
    },
    Module(usize),
    /// Another crate, or a name that needs no `use`.
    Elsewhere(Names),
}

/// Where a name is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Through {
    Everything,
    /// In what a module has and imports by name.
    Names,
}

impl Facts {
    /// What a path written in a module leads to.
    pub(crate) fn resolve(&self, module: usize, path: &[String]) -> Target {
        self.walk(module, path, LONGEST, Through::Everything)
    }

    fn walk(&self, module: usize, path: &[String], left: usize, through: Through) -> Target {
        let (start, at) = self.start(module, path);
        if left == 0 || path.first().is_some_and(String::is_empty) {
            return Target::Elsewhere(path.to_vec());
        }
        let mut module = start;
        for (position, name) in path.iter().enumerate().skip(at) {
            let rest = &path[position + 1..];
            let through = if position == 0 { through } else { Through::Everything };
            match self.look_up(module, name, rest, left, through) {
                Some(Target::Module(next)) => module = next,
                Some(found) => return found,
                None if position == 0 => return Target::Elsewhere(path.to_vec()),
                // A macro makes it.
                None => return Target::Item { module, name: name.clone(), rest: rest.to_vec() },
            }
        }
        Target::Module(module)
    }

    /// The module that `crate`, `self` and `super` lead to, and how many names they are.
    fn start(&self, module: usize, path: &[String]) -> (usize, usize) {
        let mut module = module;
        for (position, name) in path.iter().enumerate() {
            match name.as_str() {
                "self" => {}
                "crate" => {
                    while let Some(parent) = self.modules[module].parent {
                        module = parent;
                    }
                }
                "super" => module = self.modules[module].parent.unwrap_or(module),
                _ => return (module, position),
            }
        }
        (module, path.len())
    }

    /// One name in a module. With something behind it, it is a module rather than a function of the same name.
    fn look_up(
        &self,
        module: usize,
        name: &str,
        rest: &[String],
        left: usize,
        through: Through,
    ) -> Option<Target> {
        let scope = &self.modules[module];
        let child = scope.children.get(name).map(|child| Target::Module(*child));
        if child.is_some() && !rest.is_empty() {
            return child;
        }
        if scope.items.contains(name) {
            return Some(Target::Item { module, name: name.to_owned(), rest: rest.to_vec() });
        }
        let imported = scope.imports.get(name).map(|path| self.walk(module, path, left - 1, through));
        let globs = || {
            let globs = scope.globs.iter().filter(|_| through == Through::Everything);
            // A glob is not looked for in globs: two of another crate would be looked for in each other without end.
            globs.into_iter().find_map(|path| match self.walk(module, path, left - 1, Through::Names) {
                Target::Module(from) if left > 1 && from != module => {
                    self.look_up(from, name, rest, left - 1, Through::Everything)
                }
                _ => None,
            })
        };
        match imported.or(child).or_else(globs)? {
            Target::Item { module, name, rest: mut before } => {
                before.extend_from_slice(rest);
                Some(Target::Item { module, name, rest: before })
            }
            Target::Elsewhere(mut path) => {
                path.extend_from_slice(rest);
                Some(Target::Elsewhere(path))
            }
            module => Some(module),
        }
    }

    /// The path from its crate's root or another crate's name on, by what this module itself imports.
    pub(crate) fn absolute(&self, module: usize, path: &[String]) -> Names {
        self.absolute_within(module, path, LONGEST)
    }

    fn absolute_within(&self, module: usize, path: &[String], left: usize) -> Names {
        let (start, at) = self.start(module, path);
        let scope = &self.modules[start];
        let Some(first) = path.get(at) else { return local(&scope.path, &[]) };
        let is_here = at > 0 || scope.children.contains_key(first) || scope.items.contains(first);
        match scope.imports.get(first) {
            _ if is_here && (at > 0 || !scope.imports.contains_key(first)) => local(&scope.path, &path[at..]),
            Some(import) if left > 0 && import.as_slice() != path => {
                let mut whole = self.absolute_within(start, import, left - 1);
                whole.extend_from_slice(&path[at + 1..]);
                whole
            }
            _ => path.iter().filter(|name| !name.is_empty()).cloned().collect(),
        }
    }
}

fn local(module: &[String], rest: &[String]) -> Names {
    [&["crate".to_owned()], module, rest].concat()
}
