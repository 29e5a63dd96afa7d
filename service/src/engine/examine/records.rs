//! Node and discovery records: whether they are usable, and what a killed daemon left half done.
//! Must not repair a record: only its target knows what it held.

use iscsi_initiator_dbus::fault::Result;

use super::{
    facts::Facts,
    found::{Findings, count, or},
};
use crate::{
    backend::host::threads::reading,
    engine::{Engine, records::lookup::damaged},
};

pub(super) async fn look(engine: &Engine, facts: &Facts) -> Result<Findings> {
    const NAME: &str = "records";
    let mut findings = Findings::new();
    let database = engine.database.clone();
    let discoveries = reading(move || database.discoveries()).await?;
    match &facts.nodes {
        Err(fault) => {
            let look = format!("see who owns them: ls -lR {}", engine.layout.find_database().display());
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
        let hint = "remove targets that are not needed by name: iscsictl forget TARGET";
        findings.warning(NAME, "nodes", what, hint);
    }
    let (number, bad) = discoveries?;
    for (path, why) in &bad {
        let path = path.display().to_string();
        findings.warning(
            NAME,
            &path,
            format!("this discovery record is damaged: {why}"),
            format!("rm {path}, then set its CHAP again if it had any: iscsictl set-chap --portal PORTAL --user NAME"),
        );
    }
    if number > bad.len() {
        findings.ok(NAME, "", format!("{} sound", count(number - bad.len(), "discovery record")));
    }
    leftovers(engine, &mut findings).await?;
    Ok(findings)
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
