//! Which part of the workspace may use which: crates by their Cargo.toml and their paths, the daemon's parts by who
//! takes names from whom.

use crate::{
    circles::Graph,
    facts::{Facts, Member},
    names::Target,
};

/// What each crate may use of the workspace. Clients are all below one folder.
const CRATES: &[(&str, &[&str])] = &[
    ("dbus", &[]),
    ("polkit", &["dbus"]),
    ("service/probe", &["dbus"]),
    ("service", &["dbus", "polkit", "service/probe"]),
    ("client/model", &["dbus"]),
    ("client/", &["dbus", "client/"]),
];

/// What the parts of the daemon must not use.
const PARTS: &[(&str, &[&str])] = &[
    ("service/src/backend", &["service/src/engine", "service/src/bus"]),
    ("service/src/engine", &["service/src/bus"]),
];

/// Every use that points back.
pub(crate) fn reversed(facts: &Facts) -> Vec<String> {
    let mut complaints = Vec::new();
    for member in &facts.members {
        let forbidden = forbidden(facts, member);
        for (dependency, line) in &member.dependencies {
            if forbidden.iter().any(|other| other.package == *dependency) {
                let folder = &member.folder;
                complaints.push(format!(
                    "{folder}/Cargo.toml:{line}: {folder} must not depend on {dependency}: remove it"
                ));
            }
        }
    }
    for file in &facts.files {
        let forbidden = forbidden(facts, &facts.members[file.member]);
        for mention in &file.mentions {
            let at = format!("{}:{}", file.path, mention.line);
            match facts.resolve(mention.module, &mention.path) {
                Target::Elsewhere(path) => {
                    let name = path.iter().find(|name| !name.is_empty());
                    let of =
                        |other: &&&Member| name.is_some_and(|name| *name == other.package.replace('-', "_"));
                    if let Some(other) = forbidden.iter().find(of) {
                        complaints.push(format!("{at}: must not use {}, which lies above it", other.package));
                    }
                }
                // What is taken from there is seen below.
                Target::Module(module) => {
                    complaints.extend(upwards(
                        &file.path,
                        &facts.files[facts.modules[module].file].path,
                        &at,
                    ));
                }
                Target::Item { .. } => {}
            }
        }
    }
    for (from, to, ties) in Graph::of(facts).edges() {
        let (from, to) = (&facts.files[from].path, &facts.files[to].path);
        for (name, line) in ties {
            complaints.extend(upwards(from, to, &format!("{from}:{line}: {name}")));
        }
    }
    complaints
}

fn forbidden<'a>(facts: &'a Facts, member: &Member) -> Vec<&'a Member> {
    let is = |folder: &str, group: &str| folder == group || group.ends_with('/') && folder.starts_with(group);
    let allowed = CRATES.iter().find(|(group, _)| is(&member.folder, group)).map_or_else(
        || panic!("{}/Cargo.toml: say in direction::CRATES what this crate may use", member.folder),
        |(_, allowed)| *allowed,
    );
    let others = facts.members.iter().filter(|other| other.folder != member.folder);
    others.filter(|other| !allowed.iter().any(|group| is(&other.folder, group))).collect()
}

fn upwards(from: &str, to: &str, at: &str) -> Option<String> {
    let is_in = |file: &str, part: &str| {
        file.strip_prefix(part).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
    };
    let (part, above) = PARTS.iter().find(|(part, _)| is_in(from, part))?;
    let above = above.iter().find(|above| is_in(to, above))?;
    Some(format!("{at}: {part} must not use {above}: pass what it needs as a value"))
}
