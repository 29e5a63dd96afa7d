//! What there was before a setup of multipath: the first one, for an undo whenever it is asked for, and each, for one
//! that is cut off.

use serde::{Deserialize, Serialize};

/// multipathd's lists, by their names; `None`: there was none.
pub(crate) type Lists = Vec<(String, Option<String>)>;

/// What an undo of everything puts back: kept from the first setup on, until everything is back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// What we wrote last: if the file holds something else, it has been edited.
    pub(crate) text: String,
    /// The folder was made for it.
    pub(crate) made_folder: bool,
    /// The main file was made, empty, because systemd would not start multipathd without it.
    pub(crate) made_main: bool,
    pub(crate) lists: Lists,
    /// The units that were changed.
    pub(crate) services: Vec<Service>,
}

/// What was done to a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) unit: String,
    pub(crate) enabled: bool,
    pub(crate) started: bool,
}

/// One setup, as far as it has come, and what there was before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Setup {
    /// What our file is to hold: if it holds something else than this, it has been edited, and stays.
    pub(crate) wanted: String,
    /// What it held before; `None`: there was none.
    pub(crate) before: Option<String>,
    /// Its folder was not there.
    pub(crate) made_folder: bool,
    pub(crate) lists: Lists,
    /// What was kept of the setups before.
    pub(crate) memory: Option<Memory>,
    /// The main file is being made, or has been.
    pub(crate) made_main: bool,
    /// The units that are being changed, or have been.
    pub(crate) services: Vec<Service>,
}
