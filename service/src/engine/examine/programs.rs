//! The programs of open-iscsi and multipath-tools: their paths and versions.
//! Must not run a program except to ask for its version.

use std::path::Path;

use iscsi_initiator_dbus::fault::Result;

use super::found::{Findings, or};
use crate::{
    backend::host::{limit::Limit, versions::version},
    engine::Engine,
};

const NAME: &str = "programs";
const OPEN_ISCSI: &str = "install the package open-iscsi";
const MULTIPATH: &str = "install the package multipath-tools (Debian, Arch) or device-mapper-multipath";

pub(super) async fn look(engine: &Engine, limit: &Limit) -> Result<Findings> {
    let mut findings = Findings::new();
    let (iscsiadm, iscsid) = (engine.layout.find_iscsiadm(), engine.layout.find_iscsid());
    let (ours, theirs, multipath) =
        tokio::join!(version(iscsiadm, limit), version(iscsid, limit), engine.multipath.version(limit),);
    report(&mut findings, "iscsiadm", iscsiadm, ours.as_deref());
    match (&ours, &theirs) {
        // They talk to each other in a C struct that changes between versions.
        (Some(one), Some(other)) if one != other => findings.failed(
            NAME,
            "iscsid",
            format!("iscsid has version {other}, iscsiadm has version {one}: they cannot work together"),
            "install both from the same package",
        ),
        _ => report(&mut findings, "iscsid", iscsid, theirs.as_deref()),
    }
    let Some(program) = engine.layout.find_multipath() else {
        let what = "multipath-tools is not installed: a disk with several paths has several names";
        findings.skipped(NAME, "multipath", what);
        return Ok(findings);
    };
    match multipath {
        Ok(version) => findings.ok(NAME, "multipath", format!("{}, version {version}", program.display())),
        Err(fault) => findings.warning(NAME, "multipath", fault.message(), or(fault.next_step(), MULTIPATH)),
    }
    match engine.layout.find_multipathd() {
        Some(daemon) => findings.ok(NAME, "multipathd", daemon.display().to_string()),
        None => findings.failed(NAME, "multipathd", "there is multipath, but no multipathd", MULTIPATH),
    }
    Ok(findings)
}

fn report(findings: &mut Findings, program: &str, path: Option<&Path>, version: Option<&str>) {
    match (path, version) {
        (None, _) => findings.failed(NAME, program, format!("there is no {program}"), OPEN_ISCSI),
        (Some(path), Some(version)) => {
            findings.ok(NAME, program, format!("{}, version {version}", path.display()));
        }
        (Some(path), None) => {
            findings.ok(NAME, program, format!("{}; it does not report its version", path.display()));
        }
    }
}
