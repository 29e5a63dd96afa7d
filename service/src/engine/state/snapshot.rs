//! The machine at one moment: plain data, without reading or waiting.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, OnceLock},
};

use iscsi_initiator_dbus::{Iqn, Portal};

use super::path_states::PathStates;
use crate::backend::{
    kernel::sysfs::{Disk, Map, Session},
    multipath::daemon::PathState,
    open_iscsi::database::{Node, NodeKey},
};

/// Nodes, sessions with their disks and maps, and the states of paths, as far as requested. Copies share them.
#[derive(Clone, Debug, Default)]
pub(in crate::engine) struct Snapshot {
    /// By number, including sessions that are being set up or are stale.
    sessions: Sessions,
    /// Sorted.
    nodes: Arc<Vec<Node>>,
    /// Why some nodes are not among them.
    left_out: Option<String>,
    /// Empty where multipathd has no map or does not answer.
    paths: PathStates,
    /// The index in `sessions` by target, portal and iface, so that a lookup is done once for each
    /// node. Made when it is needed first.
    places: OnceLock<HashMap<Place, usize>>,
}

/// Sessions by number. Whoever changes one leaves the others where they are.
pub(in crate::engine) type Sessions = Arc<Vec<Arc<Session>>>;

/// How a node's record identifies a session.
type Place = (String, Option<Portal>, String);

impl Snapshot {
    pub(super) fn new(
        sessions: Vec<Session>,
        nodes: Vec<Node>,
        left_out: Option<String>,
        paths: HashMap<String, PathState>,
    ) -> Self {
        let sessions = sessions.into_iter().map(Arc::new).collect();
        Self::shared(Arc::new(sessions), nodes.into(), left_out, paths.into())
    }

    /// Sessions alone.
    pub(in crate::engine) fn of_sessions(sessions: Vec<Session>) -> Self {
        Self::new(sessions, Vec::new(), None, HashMap::new())
    }

    /// The same, of what others have as well.
    pub(super) fn shared(
        sessions: Sessions,
        nodes: Arc<Vec<Node>>,
        left_out: Option<String>,
        paths: PathStates,
    ) -> Self {
        Self { sessions, nodes, left_out, paths, places: OnceLock::new() }
    }

    /// The same with these nodes.
    pub(super) fn with_nodes(self, nodes: Arc<Vec<Node>>) -> Self {
        Self { nodes, ..self }
    }

    /// Every usable session.
    pub(in crate::engine) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().map(Arc::as_ref).filter(|session| session.is_made())
    }

    /// Including sessions that are being set up or are stale.
    pub(in crate::engine) fn all_sessions(&self) -> &[Arc<Session>] {
        &self.sessions
    }

    /// The same as copies of one's own.
    pub(in crate::engine) fn copies(&self) -> Vec<Session> {
        self.sessions.iter().map(|session| Session::clone(session)).collect()
    }

    pub(in crate::engine) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The nodes, to be shown again with other sessions.
    pub(super) fn shared_nodes(&self) -> Arc<Vec<Node>> {
        Arc::clone(&self.nodes)
    }

    /// Why some nodes are left out, if they are.
    pub(in crate::engine) fn left_out(&self) -> Option<&str> {
        self.left_out.as_deref()
    }

    /// The state of a path, by its disk's kernel name: before it has one, there is none.
    pub(in crate::engine) fn path(&self, disk: &str) -> Option<&PathState> {
        if disk.is_empty() { None } else { self.paths.get(disk) }
    }

    pub(in crate::engine) fn paths(&self) -> &PathStates {
        &self.paths
    }

    pub(in crate::engine) fn session(&self, sid: u32) -> Option<&Session> {
        let at = self.sessions.binary_search_by_key(&sid, |session| session.sid).ok()?;
        self.sessions.get(at).map(Arc::as_ref)
    }

    /// The session of a node.
    pub(in crate::engine) fn session_of(&self, node: &NodeKey) -> Option<&Session> {
        let place = (node.target.to_string(), Some(node.portal.clone()), node.iface.clone());
        self.sessions.get(*self.places().get(&place)?).map(Arc::as_ref)
    }

    fn places(&self) -> &HashMap<Place, usize> {
        self.places.get_or_init(|| {
            let place =
                |session: &Session| (session.target.clone(), session.portal.clone(), session.iface.clone());
            // The first of several, in sort order.
            self.sessions.iter().enumerate().rev().map(|(at, session)| (place(session), at)).collect()
        })
    }

    /// Every session of a node: a record may ask for several (`node.session.nr_sessions`), and a person
    /// may make more.
    pub(in crate::engine) fn all_sessions_of(&self, node: &NodeKey) -> impl Iterator<Item = &Session> {
        self.sessions.iter().map(Arc::as_ref).filter(|session| session.is_of(node))
    }

    /// The sessions of a target, at some portals or all.
    pub(in crate::engine) fn sessions_of(&self, target: &Iqn, portals: Option<&[Portal]>) -> Vec<Session> {
        self.sessions().filter(|session| session.matches(target, portals)).cloned().collect()
    }

    /// The recorded nodes of a target, at some portals or all.
    pub(in crate::engine) fn nodes_of(&self, target: &Iqn, portals: Option<&[Portal]>) -> Vec<Node> {
        let is_it = |node: &&Node| {
            node.key.target == *target && portals.is_none_or(|portals| portals.contains(&node.key.portal))
        };
        self.nodes.iter().filter(is_it).cloned().collect()
    }

    /// Every LUN of every session.
    pub(in crate::engine) fn disks(&self) -> impl Iterator<Item = &Disk> {
        self.sessions.iter().flat_map(|session| &session.disks)
    }

    /// Every multipath map over one of the disks.
    pub(in crate::engine) fn maps(&self) -> BTreeSet<&Map> {
        self.disks().filter_map(|disk| disk.map.as_ref()).collect()
    }
}

#[cfg(test)]
pub(in crate::engine) mod tests {
    use super::*;

    pub(in crate::engine) fn of_sessions(sessions: Vec<Session>) -> Snapshot {
        Snapshot::of_sessions(sessions)
    }

    #[test]
    fn the_session_of_a_node_is_found_by_what_its_record_names() {
        let session = |sid: u32, iface: &str, portal: &str| Session {
            sid,
            target: "iqn.2001-04.com.example:disk".into(),
            portal: portal.parse().ok(),
            iface: iface.into(),
            state: "LOGGED_IN".into(),
            ..Session::default()
        };
        let half = Session { sid: 9, state: "FREE".into(), ..Session::default() };
        let snapshot = of_sessions(vec![
            session(1, "default", "192.0.2.21"),
            session(3, "eth1", "192.0.2.21"),
            session(4, "default", "192.0.2.21"),
            half,
        ]);
        let node = |iface: &str, portal: &str| NodeKey {
            target: "iqn.2001-04.com.example:disk".parse().unwrap(),
            portal: portal.parse().unwrap(),
            tpgt: Some(7),
            iface: iface.into(),
            spelled: None,
        };
        let sid = |node: &NodeKey| snapshot.session_of(node).map(|session| session.sid);
        assert_eq!(sid(&node("default", "192.0.2.21")), Some(1), "the first of two");
        let twice = node("default", "192.0.2.21");
        let both = snapshot.all_sessions_of(&twice);
        assert_eq!(both.map(|session| session.sid).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(sid(&node("eth1", "192.0.2.21")), Some(3));
        assert_eq!(sid(&node("default", "192.0.2.37")), None);
        assert_eq!((snapshot.sessions().count(), snapshot.all_sessions().len()), (3, 4));
        assert!(snapshot.session(9).is_some() && snapshot.session(2).is_none());
        let target = node("default", "192.0.2.21").target;
        assert_eq!(snapshot.sessions_of(&target, Some(&["192.0.2.37".parse().unwrap()])).len(), 0);
        assert_eq!(snapshot.sessions_of(&target, None).len(), 3);
    }
}
