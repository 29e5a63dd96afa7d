//! Examine the node and discovery records, and what a killed daemon left of its work.
//!
//! Must not repair a record: what was in it, only its target knows.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use iscsi_initiator_dbus::fault::Result;

use super::{Engine, Facts, Findings, blocking, count};
use crate::{
    backend::{host::atomic::Dir, open_iscsi::undo},
    engine::{damaged, examine::or},
};

/// No write takes so long.
const WRITE: Duration = Duration::from_secs(60);

impl Engine {
    pub(super) async fn records(&self, facts: &Facts) -> Result<Findings> {
        const NAME: &str = "records";
        let mut findings = Findings::new();
        let database = self.database.clone();
        let discoveries = blocking(move || database.discoveries()).await?;
        match &facts.nodes {
            Err(fault) => {
                findings.failed(
                    NAME,
                    "",
                    fault.message(),
                    or(fault.next_step(), "ls -lR the folder of records"),
                );
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
        self.leftovers(&mut findings).await?;
        Ok(findings)
    }

    /// What the next start of this daemon puts right.
    async fn leftovers(&self, findings: &mut Findings) -> Result<()> {
        const NAME: &str = "leftovers";
        const HINT: &str = "have it put right: systemctl restart iscsi-initiatord.service";
        let journal = self.journal.clone();
        // Those of calls at work are held by them.
        let has_entries = blocking(move || journal.has_left_any()).await?;
        let layout = self.layout.clone();
        let files = blocking(move || {
            let places = [
                layout.find_database(),
                layout.config,
                layout.multipath,
                layout.state.join(undo::FOLDER),
                layout.state,
            ];
            let mut files: Vec<PathBuf> = places.iter().filter_map(|place| leftover(place)).collect();
            files.dedup();
            files
        })
        .await?;
        if has_entries {
            let what = "a call that was cut off has left a change that is still to be put back";
            findings.warning(NAME, "", what, HINT);
        }
        for file in &files {
            let file = file.display().to_string();
            findings.warning(NAME, &file, "a write that was cut off left it; nothing uses it", HINT);
        }
        if !has_entries && files.is_empty() {
            findings.ok(NAME, "", "nothing is left of a call that was cut off");
        }
        Ok(())
    }
}

fn leftover(place: &Path) -> Option<PathBuf> {
    let (name, modes) = Dir::open(place).ok()?.leftover().ok()??;
    modes.age.is_some_and(|age| age > WRITE).then(|| place.join(name))
}
