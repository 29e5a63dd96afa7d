//! Who may read the files that hold or may hold secrets.
//! Must not show a secret, or count a file as safe that it could not examine.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::{fault::Result, hint};

use super::found::{Findings, Remedy, count};
use crate::{
    backend::host::{
        permissions::{self, Item, Kind, Trouble},
        threads::reading,
    },
    engine::Engine,
};

const NAME: &str = "secret-files";

/// A finding for each file that other users may read, each in `named`, and one for all others.
pub(super) async fn look(engine: &Engine, named: &BTreeSet<String>) -> Result<Findings> {
    let layout = engine.layout.clone();
    let (items, unseen) = reading(move || {
        let database = layout.find_database();
        permissions::look(&layout.config, &database, &layout.state)
    })
    .await?;
    let mut findings = Findings::new();
    let (mut files, mut is_first_rate) = (0, unseen.is_empty());
    for item in &items {
        is_first_rate &= item.trouble.is_none();
        match item.trouble {
            Some(trouble) => of(&mut findings, item, trouble),
            None => {
                files += usize::from(item.modes.kind == Kind::File);
                let path = item.path().display().to_string();
                if named.contains(&path) {
                    findings.ok(
                        NAME,
                        &path,
                        format!("mode {:04o}, accessible to root only", item.modes.mode),
                    );
                }
            }
        }
    }
    for (path, error) in unseen {
        let path = path.display().to_string();
        findings.warning(
            NAME,
            &path,
            format!("cannot examine it: {error}"),
            hint!("see who owns it: sudo ls -ld {FILE}", FILE = path),
        );
    }
    let rest = if is_first_rate { "" } else { "other " };
    findings.ok(
        NAME,
        "",
        format!(
            "{} that hold or may hold secrets: accessible to root only",
            count(files, &format!("{rest}file"))
        ),
    );
    Ok(findings)
}

fn of(findings: &mut Findings, item: &Item, trouble: Trouble) {
    let path = item.path().display().to_string();
    let mode = item.modes.mode;
    match (trouble, item.wanted()) {
        (Trouble::Secret, Some(wanted)) => findings.failed(
            NAME,
            &path,
            format!("its mode {mode:04o} lets other users read it, and it holds a secret"),
            hint!(
                "set a new secret, as other users may have read this one, and: sudo chmod {MODE} {FILE}",
                MODE = format!("{wanted:04o}"),
                FILE = path
            ),
        ),
        (Trouble::Open, Some(wanted)) => {
            let what = if item.modes.kind == Kind::Folder { "list it" } else { "read it" };
            findings.warning(
                NAME,
                &path,
                format!("its mode {mode:04o} lets other users {what}; there is no secret in it yet"),
                hint!("sudo chmod {MODE} {FILE}", MODE = format!("{wanted:04o}"), FILE = path),
            );
        }
        (Trouble::Foreign, _) => findings.failed(
            NAME,
            &path,
            "it is not owned by root",
            hint!(
                "find out who put it there: sudo ls -ld {FILE}; then: sudo chown root: {FILE}",
                FILE = path
            ),
        ),
        (Trouble::Writable, _) => findings.failed(
            NAME,
            &path,
            format!("its mode {mode:04o} lets other users put files there"),
            hint!("sudo chmod go-w {FILE}", FILE = path),
        ),
        _ => findings.failed(
            NAME,
            &path,
            "it is not a regular file or folder; links are not followed",
            hint!("put a regular file in its place; see what it is: sudo ls -ld {FILE}", FILE = path),
        ),
    }
    if let Some(mode) = item.wanted() {
        findings.with(Remedy::Narrow { root: item.root.clone(), relative: item.relative.clone(), mode });
    }
}
