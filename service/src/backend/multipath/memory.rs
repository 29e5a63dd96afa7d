//! The state before a setup of multipath: before the first one, for an undo at any time, and before
//! each, for one that is interrupted.

use serde::{Deserialize, Serialize};

/// multipathd's lists, by their names; `None`: the list did not exist.
pub(crate) type Lists = Vec<(String, Option<String>)>;

/// What an undo of everything restores: kept from the first setup until everything is restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// What this daemon wrote last: if the file holds something else, it has been edited.
    pub(crate) text: String,
    /// Whether the folder was made for it.
    pub(crate) made_folder: bool,
    /// Whether the main file was made, empty, because systemd would not start multipathd without
    /// it.
    pub(crate) made_main: bool,
    pub(crate) lists: Lists,
    /// The units that were changed.
    pub(crate) services: Vec<Service>,
}

/// The changes to a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) unit: String,
    pub(crate) enabled: bool,
    pub(crate) started: bool,
}

/// One setup, its progress, and the state before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setup {
    /// The content that is written to the file. If the file holds something else later, it has been
    /// edited, and stays.
    pub(crate) wanted: String,
    /// The content before; `None`: the file did not exist.
    pub(crate) before: Option<String>,
    /// Whether its folder did not exist.
    pub(crate) made_folder: bool,
    pub(crate) lists: Lists,
    /// What was kept from earlier setups.
    pub(crate) memory: Option<Memory>,
    /// Whether the main file is being made, or has been.
    pub(crate) made_main: bool,
    /// The units that are being changed, or have been.
    pub(crate) services: Vec<Service>,
}
