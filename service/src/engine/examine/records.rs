//! Node and discovery records: whether they are usable, and what a killed daemon left half done.
//! Must not repair a record: only its target knows what it held.

use std::path::PathBuf;

use iscsi_initiator_dbus::{Iqn, fault::Result, hint};

use super::{
    facts::Facts,
    found::{Findings, count, or},
};
use crate::{
    backend::{
        host::threads::reading,
        open_iscsi::database::{discoveries::Unusable, unlisted::Unlisted},
    },
    engine::{Engine, records::lookup::damaged},
};

const NAME: &str = "records";
/// No more of what is not a record is named.
const SHOWN: usize = 20;

pub(super) async fn look(engine: &Engine, facts: &Facts) -> Result<Findings> {
    let mut findings = Findings::new();
    let database = engine.database.clone();
    let discoveries = reading(move || database.discoveries()).await?;
    match &facts.nodes {
        Err(fault) => {
            let look = hint!(
                "see who owns them: sudo ls -lR {FILE}",
                FILE = engine.layout.find_database().display()
            );
            findings.failed(NAME, "", fault.message(), or(fault.next_step(), &look));
        }
        Ok(nodes) => {
            for node in nodes {
                let Some(why) = &node.damage else { continue };
                let fault = damaged(&node.key, why);
                let subject = format!("{} {}", node.key.target, node.key.portal);
                findings.failed(NAME, &subject, fault.message(), fault.next_step());
            }
            let sound = nodes.iter().filter(|node| node.damage.is_none()).count();
            findings.ok(NAME, "", format!("{} sound", count(sound, "node record")));
        }
    }
    if let Some(why) = &facts.left_out {
        let what = format!("some node records are not listed: {why}");
        let hint = "forget targets that are not needed; see what is recorded: iscsictl nodes";
        findings.warning(NAME, "nodes", what, hint);
    }
    strays(engine, facts, &mut findings).await?;
    unlisted(engine, &mut findings).await?;
    elsewhere(engine, &mut findings).await?;
    let (number, bad) = discoveries?;
    for Unusable { path, portal, why } in &bad {
        let path = path.display().to_string();
        let hint = match portal {
            Some(portal) => hint!(
                "remove it: sudo rm {FILE}; if the portal asks for CHAP for discovery, set it again: iscsictl \
                 set-chap --portal {PORTAL} --user NAME",
                FILE = path,
                PORTAL = portal
            ),
            None => hint!("remove it: sudo rm {FILE}", FILE = path),
        };
        findings.warning(NAME, &path, format!("this discovery record is not used: {why}"), hint);
    }
    if number > bad.len() {
        findings.ok(NAME, "", format!("{} sound", count(number - bad.len(), "discovery record")));
    }
    leftovers(engine, &mut findings).await?;
    Ok(findings)
}

/// What lies among the records and is none.
async fn strays(engine: &Engine, facts: &Facts, findings: &mut Findings) -> Result<()> {
    let database = engine.database.clone();
    // Records that cannot be listed are a finding already.
    let Ok(listing) = reading(move || database.list()).await? else { return Ok(()) };
    let root = engine.layout.find_database();
    for stray in listing.strays.iter().take(SHOWN) {
        let path = root.join(&stray.path).display().to_string();
        let what = format!("{}: iscsiadm takes it for a record, or fails because of it", stray.why);
        let is_recorded = |target: &Iqn| {
            facts.nodes.as_ref().is_ok_and(|nodes| nodes.iter().any(|node| node.key.target == *target))
        };
        let hint = match &stray.target {
            Some(target) if !is_recorded(target) => {
                hint!("remove it: iscsictl forget {TARGET}", TARGET = target)
            }
            // That would take the target's records along.
            _ => hint!("if nothing needs it, remove it: sudo rm -r {FILE}", FILE = path),
        };
        findings.warning(NAME, &path, what, hint);
    }
    if let Some(more) = listing.strays.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let nodes = root.join("nodes").display().to_string();
        let what = format!("{} more that are not records", count(more, "file or folder"));
        findings.warning(NAME, "", what, hint!("list them: sudo ls -lR {FILE}", FILE = nodes));
    }
    Ok(())
}

/// Lines of records for which iscsiadm lists none.
async fn unlisted(engine: &Engine, findings: &mut Findings) -> Result<()> {
    let database = engine.database.clone();
    // Records that cannot be listed are a finding already.
    let Ok(found) = reading(move || database.unlisted()).await? else { return Ok(()) };
    let root = engine.layout.find_database();
    for Unlisted { path, key, choices } in found.iter().take(SHOWN) {
        let path = root.join(path).display().to_string();
        let shown = key.escape_debug();
        let what = match choices {
            [] => format!("open-iscsi does not know its key {shown}"),
            choices => format!("its value of {shown} is none of {}", choices.join(", ")),
        };
        let what =
            format!("{what}: `iscsiadm -m node` lists no record at all because of it; logins ignore it");
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'[' | b']');
        let hint = if key.bytes().all(is_plain) {
            let key: String = key.chars().flat_map(escaped).collect();
            let lines = format!("/^[[:space:]]*{key}[[:space:]]*=/d");
            hint!("remove its lines: sudo sed -i {EDIT} {FILE}", EDIT = lines, FILE = path)
        } else {
            hint!("find the line: sudo cat -A {FILE}", FILE = path)
        };
        findings.warning(NAME, &path, what, hint);
    }
    if let Some(more) = found.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let what = format!("{} more have such lines", count(more, "node record"));
        findings.warning(NAME, "", what, "see the first one that iscsiadm meets: sudo iscsiadm -m node");
    }
    Ok(())
}

/// A character of a key in a basic regular expression.
fn escaped(character: char) -> impl Iterator<Item = char> {
    matches!(character, '.' | '[' | ']').then_some('\\').into_iter().chain([character])
}

/// Records where this machine's iscsiadm does not look: of another distribution, or of an older
/// open-iscsi.
async fn elsewhere(engine: &Engine, findings: &mut Findings) -> Result<()> {
    let (layout, database) = (engine.layout.clone(), engine.database.clone());
    let others = reading(move || {
        let number = |root: &PathBuf| database.at(root).list().map_or(0, |listing| listing.nodes.len());
        let others = layout.other_databases().into_iter().map(|root| (number(&root), root));
        others.filter(|(number, _)| *number > 0).collect::<Vec<_>>()
    });
    for (number, root) in others.await? {
        let (ours, theirs) = (engine.layout.find_database(), root.join("nodes").display().to_string());
        let what = format!(
            "{} there, where this machine's iscsiadm does not look: it looks in {}",
            count(number, "node record"),
            ours.join("nodes").display()
        );
        let hint = hint!(
            "if they are wanted, copy them: sudo cp -an {FILE} {FOLDER}",
            FILE = theirs,
            FOLDER = format!("{}/", ours.display())
        );
        findings.warning(NAME, &theirs, what, hint);
    }
    Ok(())
}

/// What the next start of this daemon cleans up.
async fn leftovers(engine: &Engine, findings: &mut Findings) -> Result<()> {
    const NAME: &str = "leftovers";
    const HINT: &str = "have it cleaned up: systemctl restart iscsi-initiatord.service";
    let journal = engine.journal.clone();
    // Running calls hold their entries.
    let has_entries = reading(move || journal.has_left_any()).await?;
    let layout = engine.layout.clone();
    let files = reading(move || layout.leftovers()).await?;
    if has_entries {
        let what = "an interrupted call left a change that has not been undone yet";
        findings.warning(NAME, "", what, HINT);
    }
    for file in &files {
        let file = file.display().to_string();
        findings.warning(NAME, &file, "an interrupted write left it behind; nothing uses it", HINT);
    }
    if !has_entries && files.is_empty() {
        findings.ok(NAME, "", "no interrupted call left anything behind");
    }
    Ok(())
}
