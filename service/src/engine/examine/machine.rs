//! The checks of this machine that Diagnose makes, and the module for maps.

use iscsi_initiator_dbus::fault::Result;

use super::found::Findings;
use crate::{
    backend::{
        host::threads::reading,
        kernel::modules::{self, Module},
    },
    engine::{Engine, call::Progress, diagnose},
};

pub(super) async fn look(engine: &Engine) -> Result<Findings> {
    let mut findings = Findings::new();
    let file = engine.layout.config.join("initiatorname.iscsi").display().to_string();
    for check in diagnose::machine::look(engine, &Progress::none()).await? {
        let subject = match check.name.as_str() {
            "kernel-modules" => "iscsi_tcp",
            name if name.starts_with("initiator-name") => &file,
            _ => "",
        };
        findings.add(&check.name, subject, check.state, check.detail, check.hint);
    }
    module_for_maps(engine, &mut findings).await?;
    Ok(findings)
}

async fn module_for_maps(engine: &Engine, findings: &mut Findings) -> Result<()> {
    const NAME: &str = "kernel-modules";
    const MODULE: &str = "dm_multipath";
    let layout = engine.layout.clone();
    match reading(move || modules::module(&layout.sys, &layout.modules, MODULE)).await? {
        Module::Loaded => findings.ok(NAME, MODULE, "dm_multipath is loaded"),
        Module::Loadable => {
            findings.ok(NAME, MODULE, "dm_multipath is not loaded; multipathd loads it with the first map");
        }
        Module::Missing { release } if engine.multipath.is_installed() => findings.failed(
            NAME,
            MODULE,
            format!("the running kernel {release} has no module dm_multipath: no disk gets a map"),
            "boot the installed kernel, or install the package with its modules",
        ),
        Module::Missing { release } => {
            let what = format!("the running kernel {release} has no module dm_multipath; nothing needs it");
            findings.skipped(NAME, MODULE, what);
        }
    }
    Ok(())
}
