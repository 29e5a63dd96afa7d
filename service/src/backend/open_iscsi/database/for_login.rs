//! What a login needs of its records, read once: the nodes, what is proved to their targets, how often iscsid retries,
//! and whether it looks for LUNs by itself.
//! Must not show a secret.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::Iqn;

use super::{Database, DatabaseError, Node, NodeKey, chap::Proofs, login_retries::Retries, record::Record};

/// What is in the record of a node beyond what describes it.
pub(crate) struct ForLogin {
    /// The credentials, once for whoever proves them.
    pub(crate) proofs: Result<Proofs, DatabaseError>,
    pub(crate) retries: Retries,
    /// Whether iscsiadm makes one session, as it does without `node.session.nr_sessions`.
    pub(crate) is_one_session: bool,
}

/// The records of one target.
#[derive(Default)]
pub(crate) struct Records {
    /// Sorted.
    pub(crate) nodes: Vec<Node>,
    /// Why others are left out, if they are.
    pub(crate) left_out: Option<String>,
    /// Of each node that is to be logged in to, if its record can be used.
    pub(crate) for_login: BTreeMap<NodeKey, ForLogin>,
    /// The nodes whose records leave the scan for LUNs to a person, also a damaged one: `node.session.scan = manual`.
    pub(crate) unscanned: BTreeSet<NodeKey>,
}

impl Database {
    /// The records of one target, for a login at some of its nodes. Each is read once, and the secrets of the others
    /// are not kept.
    pub(crate) fn records_for_login(
        &self,
        target: &Iqn,
        is_to_be_logged_in: impl Fn(&NodeKey) -> bool,
    ) -> Result<Records, DatabaseError> {
        let (mut for_login, mut unscanned) = (BTreeMap::new(), BTreeSet::new());
        let listing = self.list_and_show(target, &mut |node, record| {
            if record.get("node.session.scan") == Some("manual") {
                unscanned.insert(node.key.clone());
            }
            if node.damage.is_none() && is_to_be_logged_in(&node.key) {
                for_login.insert(node.key.clone(), self.for_login(&node.key, record));
            }
        })?;
        Ok(Records { nodes: listing.nodes, left_out: listing.left_out, for_login, unscanned })
    }

    fn for_login(&self, node: &NodeKey, record: &Record) -> ForLogin {
        let in_it = |error| DatabaseError::Record { path: self.root.join(node.path()), error };
        ForLogin {
            proofs: Proofs::of_node(record).map_err(in_it),
            retries: Retries::of(record),
            is_one_session: record.get("node.session.nr_sessions").is_none_or(|number| number == "1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::host::atomic::Dir;

    const TARGET: &str = "iqn.2001-04.com.example:disk";

    /// A database with a record of each of these portals, and what puts a file there.
    fn world(portals: &[&str]) -> (tempfile::TempDir, Database) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::new(&folder.path().join("db"), folder.path(), folder.path());
        for portal in portals {
            put(&folder, &format!("{portal},3260,1"), "default", &record(portal));
        }
        (folder, database)
    }

    fn put(folder: &tempfile::TempDir, at: &str, name: &str, text: &str) {
        let path = format!("db/nodes/{TARGET}/{at}");
        let dir = Dir::open(folder.path()).unwrap();
        dir.make_dirs(&path).unwrap();
        dir.replace(&format!("{path}/{name}"), text.as_bytes(), 0o600).unwrap();
    }

    fn record(portal: &str) -> String {
        format!(
            "node.name = {TARGET}\nnode.conn[0].address = {portal}\nnode.session.auth.password = mypassword12\n"
        )
    }

    /// All that is there for a login at every node.
    fn read(database: &Database, target: &str) -> Records {
        database.records_for_login(&target.parse().unwrap(), |_| true).unwrap()
    }

    #[test]
    fn all_that_a_login_needs_of_a_record_is_read_with_it() {
        let (folder, database) = world(&["192.0.2.21"]);
        let more = "node.session.scan = manual\nnode.session.initial_login_retry_max = 2\n\
                    node.conn[0].timeo.login_timeout = 15\nnode.session.auth.username = libvirtd\n\
                    node.session.nr_sessions = 2\n";
        put(&folder, "192.0.2.37,3260,1", "default", &format!("{}{more}", record("192.0.2.37")));
        let damaged = format!("{}node.session.scan = manual\n", record("192.0.2.54"));
        put(&folder, "192.0.2.53,3260,1", "default", &damaged);
        let Records { nodes, left_out, mut for_login, unscanned } = read(&database, TARGET);
        assert_eq!((nodes.len(), left_out), (3, None));
        assert_eq!(unscanned, nodes[1..].iter().map(|node| node.key.clone()).collect(), "also a damaged one");
        let mut of = |at: usize| for_login.remove(&nodes[at].key);
        let plain = of(0).unwrap();
        assert!(plain.proofs.unwrap().chap.is_some() && plain.is_one_session);
        // open-iscsi's defaults: four of half a minute each.
        let fit = |retries: Retries, seconds| retries.fit(Duration::from_secs(seconds));
        assert!(fit(plain.retries, 120) && !fit(plain.retries, 119));
        let other = of(1).unwrap();
        assert!(!other.is_one_session);
        assert!(other.proofs.unwrap().chap.unwrap().username == "libvirtd");
        assert!(fit(other.retries, 30) && !fit(other.retries, 29));
        assert!(of(2).is_none() && nodes[2].damage.is_some(), "what is damaged is logged in to with nothing");
        let none = read(&database, "iqn.2001-04.com.example:none");
        assert!(none.nodes.is_empty() && none.for_login.is_empty());
    }

    #[test]
    fn the_secrets_of_a_node_that_is_not_logged_in_to_are_not_kept() {
        let (_folder, database) = world(&["192.0.2.21", "192.0.2.37"]);
        let is_meant = |node: &NodeKey| node.portal.to_string() == "192.0.2.37:3260";
        let found = database.records_for_login(&TARGET.parse().unwrap(), is_meant).unwrap();
        assert_eq!(found.nodes.len(), 2);
        assert!(found.for_login.into_keys().eq([found.nodes[1].key.clone()]));
    }

    #[test]
    fn whatever_comes_to_the_records_later_is_seen_by_its_name() {
        let portals = ["192.0.2.21", "192.0.2.37"];
        for (at, name, are_all) in [
            ("192.0.2.21,3260,1", "default", true),
            ("192.0.2.53,3260,1", "default", false),
            ("192.0.2.21,3260,2", "default", false),
            ("192.0.2.21,3260,1", "eth1", false),
            ("192.0.2.21,3260,1", "default~", false),
            ("old", "default", false),
        ] {
            let (folder, database) = world(&portals);
            let recorded = read(&database, TARGET);
            let nodes: Vec<NodeKey> = recorded.nodes.into_iter().map(|node| node.key).collect();
            assert!(database.are_all(&nodes).unwrap() && !database.are_all(&nodes[..1]).unwrap());
            put(&folder, at, name, &record("192.0.2.21"));
            assert_eq!(database.are_all(&nodes).unwrap(), are_all, "{at}/{name}");
            std::fs::remove_dir_all(folder.path().join(format!("db/nodes/{TARGET}/192.0.2.37,3260,1")))
                .unwrap();
            assert!(!database.are_all(&nodes).unwrap(), "one is gone");
        }
        let (folder, database) = world(&portals);
        let nodes = read(&database, TARGET).nodes;
        let nodes: Vec<NodeKey> = nodes.into_iter().map(|node| node.key).collect();
        // A record of the old format is a file in the place of a folder.
        let dir = Dir::open(&folder.path().join(format!("db/nodes/{TARGET}"))).unwrap();
        dir.replace("192.0.2.53,3260", record("192.0.2.53").as_bytes(), 0o600).unwrap();
        assert!(!database.are_all(&nodes).unwrap());
    }
}
