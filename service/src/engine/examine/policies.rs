//! The files by which polkit and the bus know this service.
//! Must not ask polkit itself: the gate does, and reports the result.

use std::{future::Future, path::Path};

use iscsi_initiator_dbus::BUS_NAME;
use iscsi_initiator_polkit::Action;

use super::found::{Findings, Found, count};
use crate::{backend::host::limit::Limit, engine::Engine};

const REINSTALL: &str = "reinstall iscsi-initiatord";

/// What polkit does not know, or that it did not say so in time.
pub(super) async fn known_in_time(
    unknown: impl Future<Output = Result<Vec<&'static str>, String>>,
    limit: &Limit,
) -> Result<Vec<&'static str>, String> {
    limit.wait(unknown).await.unwrap_or_else(|| Err("timed out waiting for polkit".to_owned()))
}

/// `unknown` are the actions that polkit does not know.
pub(super) async fn look(
    engine: &Engine,
    unknown: impl Future<Output = Result<Vec<&'static str>, String>>,
    limit: &Limit,
) -> Vec<Found> {
    let unknown = known_in_time(unknown, limit).await;
    let mut findings = Findings::new();
    of_polkit(&mut findings, engine.layout.find_polkit_policy().as_deref(), unknown);
    of_bus(&mut findings, engine.layout.find_bus_policy().as_deref());
    findings.list()
}

fn of_polkit(findings: &mut Findings, file: Option<&Path>, unknown: Result<Vec<&'static str>, String>) {
    const NAME: &str = "polkit-policy";
    let subject = shown(file);
    match unknown {
        Ok(unknown) if unknown.is_empty() => {
            let what = format!("polkit knows its {}", count(Action::ALL.len(), "action"));
            findings.ok(NAME, &subject, what);
        }
        Ok(unknown) => {
            let what = format!("polkit does not know {}: no caller is allowed that", unknown.join(", "));
            let hint = if file.is_some() { "systemctl restart polkit.service" } else { REINSTALL };
            findings.failed(NAME, &subject, what, hint);
        }
        Err(why) => findings.warning(
            NAME,
            &subject,
            format!("cannot ask polkit which actions it knows: {why}"),
            "see the details: systemctl status polkit.service",
        ),
    }
}

fn of_bus(findings: &mut Findings, file: Option<&Path>) {
    const NAME: &str = "bus-policy";
    match file {
        Some(_) => findings.ok(NAME, &shown(file), "it lets only root own the name, and says who may call"),
        None => findings.warning(
            NAME,
            "",
            format!(
                "there is no {BUS_NAME}.conf where the bus looks for it: other files decide who may own \
                 the name"
            ),
            REINSTALL,
        ),
    }
}

fn shown(file: Option<&Path>) -> String {
    file.map(|file| file.display().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::CheckState;

    use super::*;

    #[test]
    fn actions_that_polkit_does_not_know_are_named() {
        let report = |unknown, file: Option<&Path>| {
            let mut findings = Findings::new();
            of_polkit(&mut findings, file, unknown);
            findings.list().remove(0).report()
        };
        let file = Some(Path::new("/usr/share/polkit-1/actions/x.policy"));
        assert_eq!(report(Ok(Vec::new()), file).state, CheckState::Ok);
        let old = report(Ok(vec![Action::Configure.id()]), file);
        assert!(old.state == CheckState::Failed && old.detail.contains(".configure:"), "{old:?}");
        assert!(old.hint.contains("restart polkit"), "{old:?}");
        assert!(report(Ok(vec![Action::Login.id()]), None).hint.contains("install"));
        assert_eq!(report(Err("gone".to_owned()), file).state, CheckState::Warning);
    }
}
