//! Which nodes are to have a session in this boot: a file in the daemon's folder below `/run`, kept over its restarts
//! and gone with the boot.

use std::{collections::BTreeMap, path::Path};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{host::atomic::Dir, open_iscsi::database::NodeKey};

/// Beneath what is kept until the boot.
const FOLDER: &str = "wished";
const NAME: &str = "nodes";
/// More than a file with all nodes that are recorded at most: each has names of some 500 bytes.
const LIMIT: u64 = 16 << 20;

/// The nodes, and whether each has been logged in to.
pub(crate) type Wished = BTreeMap<NodeKey, bool>;

#[derive(Serialize, Deserialize)]
struct File {
    nodes: Vec<(NodeKey, bool)>,
}

/// The file.
#[derive(Clone, Debug)]
pub(crate) struct WishedFile {
    run: std::path::PathBuf,
}

impl WishedFile {
    /// Below `run`, which is gone with the boot.
    pub(crate) fn new(run: &Path) -> Self {
        Self { run: run.to_owned() }
    }

    /// The nodes; `None` if nothing was noted since the boot, or what was cannot be read.
    pub(crate) fn read(&self) -> Option<Wished> {
        let bytes = match Dir::open(&self.run.join(FOLDER)).and_then(|dir| dir.read_up_to(NAME, LIMIT)) {
            Ok(bytes) => bytes?,
            Err(Errno::NOENT) => return None,
            Err(error) => {
                self.warn(&error.to_string());
                return None;
            }
        };
        let file = serde_json::from_slice::<File>(&bytes);
        file.map(|file| file.nodes.into_iter().collect())
            .inspect_err(|error| self.warn(&error.to_string()))
            .ok()
    }

    /// Notes them instead of those before.
    pub(crate) fn write(&self, nodes: &Wished) -> Result<()> {
        let file = File { nodes: nodes.clone().into_iter().collect() };
        let text = serde_json::to_vec(&file).map_err(|error| Fault::new(Kind::Failed, error.to_string()))?;
        let write = || {
            Dir::open(&self.run)?.make_dirs(FOLDER)?;
            Dir::open(&self.run.join(FOLDER))?.replace(NAME, &text, 0o600)
        };
        write().map_err(|error| {
            let at = self.run.join(FOLDER).join(NAME);
            Fault::new(Kind::Failed, format!("{}: {error}", at.display()))
        })
    }

    /// At the start: removes the half-written file of a killed daemon.
    pub(crate) fn recover(&self) {
        match Dir::open(&self.run.join(FOLDER)).and_then(|dir| dir.remove_leftover()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => self.warn(&error.to_string()),
        }
    }

    fn warn(&self, error: &str) {
        let path = self.run.join(FOLDER);
        tracing::warn!(path = %path.display(), error, "cannot read which nodes are to be logged in to");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_read_again_and_a_damaged_file_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = WishedFile::new(folder.path());
        file.recover();
        assert_eq!(file.read(), None);
        let node = NodeKey {
            target: "iqn.2001-04.com.example:a".parse().unwrap(),
            portal: "192.0.2.21".parse().unwrap(),
            tpgt: Some(1),
            iface: "default".into(),
            spelled: None,
        };
        for nodes in [Wished::from([(node, true)]), Wished::new()] {
            file.write(&nodes).unwrap();
            assert_eq!(file.read(), Some(nodes));
        }
        Dir::open(&folder.path().join(FOLDER)).unwrap().replace(NAME, b"{", 0o600).unwrap();
        assert_eq!(file.read(), None);
    }
}
