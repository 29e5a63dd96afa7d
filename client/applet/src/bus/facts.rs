//! What the daemon says of itself, and what polkit says of the person.

use iscsi_initiator_dbus::proxy::InitiatorProxy;

use super::permission::{self, Permission};

/// The properties of the daemon.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// This machine's name; empty if there is none.
    pub(crate) initiator: String,
    /// The daemon's version.
    pub(crate) version: String,
    /// What it can do.
    pub(crate) features: Vec<String>,
    /// Whether the person may disconnect what is in use.
    pub(crate) may_force: Permission,
    /// Whether the person may change this machine.
    pub(crate) may_configure: Permission,
}

impl Facts {
    /// What cannot be read stays empty: the mirror says why.
    pub(super) async fn read(daemon: &InitiatorProxy<'_>) -> Self {
        let bus = daemon.inner().connection();
        Self {
            initiator: daemon.initiator_name().await.unwrap_or_default(),
            version: daemon.version().await.unwrap_or_default(),
            features: daemon.features().await.unwrap_or_default(),
            may_force: permission::of(bus, "org.cloudatlas.IscsiInitiator.logout-in-use").await,
            may_configure: permission::of(bus, "org.cloudatlas.IscsiInitiator.configure").await,
        }
    }

    /// Whether the daemon can do this.
    pub(crate) fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|known| known == feature)
    }
}
