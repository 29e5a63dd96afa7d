//! What there was before the first setup, so that an undo can put it back, also after a restart.
//! It may not be thrown away before everything is back.

use std::path::Path;

use iscsi_initiator_dbus::{Fault, Kind};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::backend::host::atomic::Dir;

const FILE: &str = "multipath.json";

/// multipathd's lists, by their names; `None`: there was none.
pub(crate) type Lists = Vec<(String, Option<String>)>;

/// What is to be put back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// What we wrote last: if the file holds something else, somebody has edited it.
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

pub(super) fn load(state: &Path) -> Result<Option<Memory>, Fault> {
    let dir = match Dir::open(state) {
        Err(Errno::NOENT) => return Ok(None),
        dir => dir.map_err(|error| fault(state, error))?,
    };
    let Some(bytes) = dir.read(FILE).map_err(|error| fault(state, error))? else { return Ok(None) };
    let memory = serde_json::from_slice(&bytes).map_err(|_| {
        Fault::new(Kind::InvalidConfiguration, format!("{} cannot be read", state.join(FILE).display()))
            .hint("it says how to undo a multipath setup: remove it to forget that")
    })?;
    Ok(Some(memory))
}

pub(super) fn store(state: &Path, memory: &Memory) -> Result<(), Fault> {
    let text =
        serde_json::to_vec_pretty(memory).map_err(|error| Fault::new(Kind::Failed, error.to_string()))?;
    let dir = Dir::open(state).map_err(|error| fault(state, error))?;
    dir.replace(FILE, &text, 0o600).map_err(|error| fault(state, error))
}

pub(super) fn remove(state: &Path) -> Result<(), Fault> {
    match Dir::open(state) {
        Err(Errno::NOENT) => Ok(()),
        dir => dir.and_then(|dir| dir.remove(FILE)).map_err(|error| fault(state, error)),
    }
}

fn fault(state: &Path, error: Errno) -> Fault {
    Fault::new(Kind::Failed, format!("{}: {error}", state.join(FILE).display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_read_back_and_nonsense_is_told() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load(folder.path()).unwrap(), None);
        assert_eq!(load(&folder.path().join("none")).unwrap(), None);
        let service = Service { unit: "multipathd.service".into(), enabled: true, started: true };
        let memory = Memory {
            text: "text".into(),
            made_folder: true,
            lists: vec![("wwids".into(), None)],
            services: vec![service],
            ..Memory::default()
        };
        store(folder.path(), &memory).unwrap();
        assert_eq!(load(folder.path()).unwrap(), Some(memory));
        Dir::open(folder.path()).unwrap().replace(FILE, b"{", 0o600).unwrap();
        assert_eq!(load(folder.path()).unwrap_err().kind(), Kind::InvalidConfiguration);
        remove(folder.path()).unwrap();
        assert_eq!(load(folder.path()).unwrap(), None);
    }
}
