//! Nodes of which only one of the two keys says that they are logged in to automatically. iscsiadm goes by either.

use super::{Database, DatabaseError, Dir, NodeKey, listing, read};

const KEYS: [&str; 2] = ["node.startup", "node.conn[0].startup"];

impl Database {
    /// Each with the key that says so. A key that is missing is `manual`.
    pub(crate) fn half_automatic(&self) -> Result<Vec<(NodeKey, &'static str)>, DatabaseError> {
        if !self.root.exists() {
            return Ok(Vec::new());
        }
        let dir: Dir = super::open(&self.root)?;
        let found = listing::all(&dir)?.nodes.into_iter().filter(|node| node.damage.is_none());
        let found = found.filter_map(|node| {
            let record = read(&dir, &node.key.path()).ok().flatten()?;
            let mut automatic = KEYS.into_iter().filter(|key| record.get(key) == Some("automatic"));
            let key = automatic.next()?;
            automatic.next().is_none().then_some((node.key, key))
        });
        Ok(found.collect())
    }
}
