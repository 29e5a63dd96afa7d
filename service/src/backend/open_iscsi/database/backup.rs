//! A backup of a target's records, which restores them if a call fails.

use iscsi_initiator_dbus::Iqn;
use serde::{Deserialize, Serialize};

use super::{Database, DatabaseError, NodeKey, forget, ifaces, io, nodes::Made, replaced, written::Written};
use crate::backend::host::secret_bytes::SecretBytes;

/// Records of one target, and the ifaces that may be made for them. It holds secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordsBackup {
    target: Iqn,
    records: Vec<RecordBackup>,
    /// Ifaces that did not exist. If they have been made since, a restore removes them, unless
    /// another node uses them.
    missing_ifaces: Vec<String>,
}

/// The bytes of a record, damaged or not, or that it did not exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordBackup {
    node: NodeKey,
    bytes: Option<SecretBytes>,
}

impl RecordsBackup {
    pub(crate) fn target(&self) -> &Iqn {
        &self.target
    }
}

impl Database {
    /// A backup of the records of these nodes of one target; ignores nodes of other targets.
    pub(crate) fn back_up(&self, target: &Iqn, nodes: &[NodeKey]) -> Result<RecordsBackup, DatabaseError> {
        let dir = self.dir()?;
        let (mut records, mut missing_ifaces) = (Vec::new(), Vec::new());
        for node in nodes.iter().filter(|node| node.target == *target) {
            let path = node.path();
            let bytes = dir.read_of_any_owner(&path).map_err(io(&dir, &path))?.map(SecretBytes::from);
            if !missing_ifaces.contains(&node.iface) && !ifaces::is_there(&dir, &node.iface)? {
                missing_ifaces.push(node.iface.clone());
            }
            records.push(RecordBackup { node: node.clone(), bytes });
        }
        Ok(RecordsBackup { target: target.clone(), records, missing_ifaces })
    }

    /// Restores the records, byte for byte, and removes those that did not exist. Those that `keep`
    /// names stay as they are: without its record, a session that is up could not be logged out of.
    /// A record that cannot be restored does not block the others; the first error is returned. May
    /// be called again.
    pub(crate) fn put_records_back(
        &self,
        backup: &RecordsBackup,
        keep: impl Fn(&NodeKey) -> bool,
    ) -> Result<(), DatabaseError> {
        let dir = self.dir()?;
        let _lock = self.locked()?;
        let mut result = Ok(());
        let is_wanted = |node: &NodeKey| node.target == backup.target && !keep(node);
        for record in backup.records.iter().filter(|record| is_wanted(&record.node)) {
            result = result.and(put_back(&dir, record));
        }
        let missing = backup.missing_ifaces.iter().map(String::as_str);
        result.and(forget::release_unused(&dir, missing))
    }
}

/// A node that [`Database::add_noted`] has recorded: its result, and what was written.
pub(crate) struct Added {
    pub(crate) node: NodeKey,
    pub(crate) made: Made,
    pub(crate) written: Option<Written>,
}

impl Database {
    /// Removes the new records, and restores those that were replaced. Those that `keep` names stay, and
    /// so do those that are not as they were written: these are returned. A record that cannot be
    /// restored does not block the others; the first error is returned.
    pub(crate) fn take_back(
        &self,
        added: &[Added],
        keep: impl Fn(&NodeKey) -> bool,
    ) -> Result<Vec<NodeKey>, DatabaseError> {
        let dir = self.dir()?;
        let _lock = self.locked()?;
        let (mut result, mut changed) = (Ok(()), Vec::new());
        for Added { node, made, written } in added {
            if !made.is_new() || keep(node) {
                continue;
            }
            let path = node.path();
            // Removed is changed as well: what it had replaced does not come back.
            let Some(now) = dir.read_of_any_owner(&path).map_err(io(&dir, &path))? else { continue };
            if *written != Some(Written::of(&now)) {
                changed.push(node.clone());
                continue;
            }
            let bytes = match made {
                Made::Replaced { copy, .. } => Some(replaced::kept(&dir, copy.as_deref())?),
                _ => None,
            };
            result = result.and(put_back(&dir, &RecordBackup { node: node.clone(), bytes }));
        }
        result.and(forget::release_unused(&dir, added.iter().map(|added| added.node.iface.as_str())))?;
        Ok(changed)
    }
}

fn put_back(dir: &super::Dir, RecordBackup { node, bytes }: &RecordBackup) -> Result<(), DatabaseError> {
    let path = node.path();
    let Some(bytes) = bytes else { return forget::remove(dir, node) };
    let now = dir.read_of_any_owner(&path).map_err(io(dir, &path))?;
    if now.is_some_and(|now| now.as_slice() == bytes.as_slice()) {
        return replaced::discard(dir, node, bytes.as_slice());
    }
    let folder = path.rsplit_once('/').map_or("nodes", |(folder, _)| folder);
    dir.make_dirs(folder).map_err(io(dir, &path))?;
    dir.replace(&path, bytes.as_slice(), 0o600).map_err(io(dir, &path))?;
    replaced::discard(dir, node, bytes.as_slice())
}
