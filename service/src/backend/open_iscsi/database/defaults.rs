//! What iscsid.conf puts into new records, and where its CHAP may go.
//! Must not put a secret where it is not recorded already, unless the caller may store it there.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::{Portal, results::ChapMode};
use zeroize::Zeroizing;

use super::{
    Database, DatabaseError, Dir, Node, NodeKey, chap::DefaultChap, listing, read_node, record::Record,
};

const USERNAME: &str = "node.session.auth.username";
const PASSWORD: &str = "node.session.auth.password";

/// The lines of iscsid.conf that go into new records.
pub(super) struct Defaults(Vec<(String, Zeroizing<Vec<u8>>)>);

/// A portal, and the iface that it is reached through.
type Place = (Portal, String);

impl Defaults {
    fn value(&self, key: &str) -> Option<&[u8]> {
        self.0.iter().rfind(|(name, _)| name == key).map(|(_, value)| value.as_slice())
    }

    /// The lines, with those for CHAP or without.
    pub(super) fn lines(&self, with_chap: bool) -> impl Iterator<Item = (&str, &[u8])> {
        let is_wanted = move |key: &str| {
            with_chap || !key.starts_with("node.session.auth.") || key.ends_with(".chap_algs")
        };
        self.0
            .iter()
            .filter(move |(key, _)| is_wanted(key))
            .map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// Where the secret is recorded for one of these nodes' portals. `None`: everywhere, or there is
    /// no secret.
    pub(super) fn places(
        &self,
        chap: DefaultChap,
        dir: &Dir,
        nodes: &[NodeKey],
    ) -> Result<Option<BTreeSet<Place>>, DatabaseError> {
        if chap == DefaultChap::Everywhere || self.value(PASSWORD).is_none() {
            return Ok(None);
        }
        let wanted: BTreeSet<Place> = nodes.iter().map(place).collect();
        let has_the_same = |node: &&Node| {
            node.damage.is_none()
                && node.chap != ChapMode::None
                && wanted.contains(&place(&node.key))
                && read_node(dir, &node.key).ok().flatten().is_some_and(|record| self.is_chap_of(&record))
        };
        let there = listing::all(dir)?.nodes;
        Ok(Some(there.iter().filter(has_the_same).map(|node| place(&node.key)).collect()))
    }

    fn is_chap_of(&self, record: &Record) -> bool {
        [USERNAME, PASSWORD].iter().all(|key| record.value(key) == self.value(key))
    }
}

/// Where a node is contacted.
pub(super) fn place(node: &NodeKey) -> Place {
    (node.portal.clone(), node.iface.clone())
}

impl Database {
    /// Whether iscsid.conf has CHAP for new records.
    pub(crate) fn has_default_chap(&self) -> Result<bool, DatabaseError> {
        Ok(self.conf()?.value(PASSWORD).is_some())
    }

    /// The lines of iscsid.conf that go into every new record, as iscsiadm copies them
    /// (`idbm_node_setup_from_conf`), but for the startup: that is for the caller to ask for. A
    /// missing line means open-iscsi's compiled default.
    pub(super) fn node_defaults(&self) -> Result<Defaults, DatabaseError> {
        let wanted = |key: &str| {
            ["node.session.", "node.conn[0].", "node.leading_login"]
                .iter()
                .any(|prefix| key.starts_with(prefix))
                && key != "node.conn[0].startup"
                && !key.ends_with("_length")
        };
        let conf = self.conf()?;
        let pairs = conf.pairs().filter(|(key, _)| wanted(key));
        Ok(Defaults(pairs.map(|(key, value)| (key.to_owned(), Zeroizing::new(value.to_vec()))).collect()))
    }
}
