//! How units stand, as systemd tells it.
//! It may not start, stop or change one: systemd reads a unit's file for this, and no more.

use iscsi_initiator_dbus::Fault;

use super::{Systemd, away};

/// A unit as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) name: String,
    /// Its file is there, and systemd can read it.
    pub(crate) is_there: bool,
    /// At the next boot it is started, or through something that is.
    pub(crate) is_enabled: bool,
    pub(crate) is_active: bool,
    /// It was tried and failed.
    pub(crate) has_failed: bool,
    /// Somebody does not want it to be started at all.
    pub(crate) is_masked: bool,
}

impl Systemd {
    /// How a unit stands; one that does not exist is not there.
    pub(crate) async fn look(&self, name: &str) -> Result<Unit, Fault> {
        let states = async {
            let unit = self.unit(name).await?;
            zbus::Result::Ok((
                unit.load_state().await?,
                unit.active_state().await?,
                unit.unit_file_state().await?,
            ))
        };
        let (loaded, active, file) = states.await.map_err(away)?;
        Ok(Unit {
            name: name.to_owned(),
            is_there: loaded == "loaded",
            is_enabled: is_enabled(&file),
            is_active: is_active(&active),
            has_failed: active == "failed",
            is_masked: loaded == "masked",
        })
    }
}

/// `reloading` and `activating` are as good.
pub(super) fn is_active(state: &str) -> bool {
    matches!(state, "active" | "reloading" | "activating")
}

/// `static` has nothing to enable; `alias` and `indirect` are enabled through others.
pub(super) fn is_enabled(state: &str) -> bool {
    !matches!(state, "disabled" | "enabled-runtime" | "linked" | "")
}
