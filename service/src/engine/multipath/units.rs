//! The units that must run, now and after a boot.

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};

use crate::{
    backend::{multipath::config::Service, systemd::Job},
    engine::Engine,
};

/// A unit that must run; of the alternatives, the first that exists.
const SERVICES: [&[&str]; 2] = [&["iscsid.socket", "iscsid.service"], &[MULTIPATHD]];
pub(super) const MULTIPATHD: &str = "multipathd.service";

/// The units that do not run, or will not after the next boot.
pub(super) async fn missing(engine: &Engine) -> Result<Vec<Service>> {
    let mut missing = Vec::new();
    for alternatives in SERVICES {
        let mut found = None;
        for unit in alternatives {
            if let Some(is_enabled) = engine.systemd.is_enabled(unit).await? {
                found = Some((unit, is_enabled));
                break;
            }
        }
        let Some((unit, is_enabled)) = found else {
            let what = format!("there is no unit {}", alternatives.join(" or "));
            return Err(Fault::new(Kind::BackendUnavailable, what)
                .hint("install the packages open-iscsi and multipath-tools"));
        };
        let is_active = engine.systemd.is_active(unit).await?;
        if !is_enabled || !is_active {
            missing.push(Service { unit: (*unit).to_owned(), enabled: !is_enabled, started: !is_active });
        }
    }
    Ok(missing)
}

/// Stops and disables a unit as far as a setup has started and enabled it.
pub(super) async fn leave(engine: &Engine, service: &Service) -> Result<()> {
    if service.started {
        engine.systemd.job(Job::Stop, &service.unit).await?;
    }
    if service.enabled { engine.systemd.disable(&service.unit).await } else { Ok(()) }
}

/// What a setup does to a unit, as text.
pub(super) fn report(service: &Service, is_dry: bool) -> Vec<String> {
    let (enabled, started) = if is_dry { ("to be enabled", "to be started") } else { ("enabled", "started") };
    words(service, enabled, started)
}

/// What an undo does to a unit, as text.
pub(super) fn undone(service: &Service, is_dry: bool) -> Vec<String> {
    let (disabled, stopped) =
        if is_dry { ("to be disabled", "to be stopped") } else { ("disabled", "stopped") };
    words(service, disabled, stopped)
}

fn words(service: &Service, of_file: &str, of_state: &str) -> Vec<String> {
    let unit = &service.unit;
    let file = service.enabled.then(|| format!("{unit}: {of_file}"));
    file.into_iter().chain(service.started.then(|| format!("{unit}: {of_state}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_told_in_words() {
        let service = Service { unit: "multipathd.service".into(), enabled: true, started: true };
        assert_eq!(report(&service, false), ["multipathd.service: enabled", "multipathd.service: started"]);
        assert_eq!(
            report(&service, true),
            ["multipathd.service: to be enabled", "multipathd.service: to be started"]
        );
        let service = Service { enabled: false, ..service };
        assert_eq!(undone(&service, false), ["multipathd.service: stopped"]);
    }
}
