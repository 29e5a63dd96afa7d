//! Whether iscsid looks for the LUNs of a node's session by itself.

use super::{Database, DatabaseError, NodeKey, open, read};

impl Database {
    /// Whether the record leaves that to a person: `node.session.scan = manual`.
    pub(crate) fn is_scan_manual(&self, node: &NodeKey) -> Result<bool, DatabaseError> {
        let dir = open(&self.root)?;
        let record = read(&dir, &node.path())?;
        Ok(record.is_some_and(|record| record.get("node.session.scan") == Some("manual")))
    }
}
