//! The programs of open-iscsi and multipath-tools: where they are, and which versions.
//! It may not run one with anything but the question for its version.

use std::path::{Path, PathBuf};

use iscsi_initiator_dbus::fault::Result;
use tokio::time::Instant;

use super::{Engine, Findings};
use crate::backend::host::program;

const NAME: &str = "programs";
const OPEN_ISCSI: &str = "install the package open-iscsi (Debian) or open-iscsi (Arch)";
const MULTIPATH: &str = "install the package multipath-tools (Debian, Arch) or device-mapper-multipath";

impl Engine {
    pub(super) async fn programs(&self, deadline: Instant) -> Result<Findings> {
        let mut findings = Findings::new();
        let (iscsiadm, iscsid) = (first(&self.layout.iscsiadm), first(&self.layout.iscsid));
        let (ours, theirs, multipath) = tokio::join!(
            version(iscsiadm.as_deref(), deadline),
            version(iscsid.as_deref(), deadline),
            self.multipath.version(deadline),
        );
        tell(&mut findings, "iscsiadm", iscsiadm.as_deref(), ours.as_deref());
        match (&ours, &theirs) {
            // They speak to each other in a C struct that changes from version to version.
            (Some(one), Some(other)) if one != other => findings.failed(
                NAME,
                "iscsid",
                format!("iscsid has the version {other}, iscsiadm {one}: they do not understand each other"),
                "install both from the same package",
            ),
            _ => tell(&mut findings, "iscsid", iscsid.as_deref(), theirs.as_deref()),
        }
        let Some(program) = first(&self.layout.multipath_program) else {
            let what = "multipath-tools is not installed: a disk with several paths has several names";
            findings.skipped(NAME, "multipath", what);
            return Ok(findings);
        };
        match multipath {
            Ok(version) => {
                findings.ok(NAME, "multipath", format!("{}, version {version}", program.display()))
            }
            Err(fault) => {
                findings.warning(NAME, "multipath", fault.message(), super::or(fault.next_step(), MULTIPATH))
            }
        }
        match first(&self.layout.multipathd) {
            Some(daemon) => findings.ok(NAME, "multipathd", daemon.display().to_string()),
            None => findings.failed(NAME, "multipathd", "there is multipath, and no multipathd", MULTIPATH),
        }
        Ok(findings)
    }
}

fn first(places: &[PathBuf]) -> Option<PathBuf> {
    places.iter().find(|path| path.is_file()).cloned()
}

fn tell(findings: &mut Findings, program: &str, path: Option<&Path>, version: Option<&str>) {
    match (path, version) {
        (None, _) => findings.failed(NAME, program, format!("there is no {program}"), OPEN_ISCSI),
        (Some(path), Some(version)) => {
            findings.ok(NAME, program, format!("{}, version {version}", path.display()));
        }
        (Some(path), None) => {
            findings.ok(NAME, program, format!("{}; it does not say its version", path.display()));
        }
    }
}

/// What it says of itself: `iscsiadm version 2.1.11`.
async fn version(program: Option<&Path>, deadline: Instant) -> Option<String> {
    let end = program::ask(program?, &["--version"], deadline).await.ok()?;
    find(&end.output).or_else(|| find(&end.complaint))
}

fn find(text: &str) -> Option<String> {
    let mut words = text.split_whitespace().skip_while(|word| *word != "version").skip(1);
    let version = words.next()?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '+' | '~');
    (version.len() <= 40 && version.chars().all(is_plain)).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        assert_eq!(find("iscsiadm version 2.1.11\n").as_deref(), Some("2.1.11"));
        assert_eq!(find("iscsid version 2.0-874").as_deref(), Some("2.0-874"));
        for none in ["", "version", "version \u{1b}[2J", "usage: iscsid"] {
            assert_eq!(find(none), None, "{none:?}");
        }
    }
}
