//! Which objects are wanted: all, or those of a target, a portal or both.

use iscsi_initiator_dbus::{
    Iqn, Portal,
    objects::{Disk, Node, Object, Session},
};

/// What a client is limited to. By default every session and disk, and no record.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Of this target; of all unless given.
    pub target: Option<Iqn>,
    /// At this portal, which is numeric; at all unless given.
    pub portal: Option<Portal>,
    /// Records, too.
    pub with_nodes: bool,
}

impl Scope {
    /// Whether an object is wanted.
    pub fn has(&self, object: &Object) -> bool {
        match object {
            Object::Node(node) => self.has_node(node),
            Object::Session(session) => self.has_session(session),
            Object::Disk(disk) => self.has_disk(disk),
        }
    }

    fn has_node(&self, node: &Node) -> bool {
        self.with_nodes && self.is_here(&node.target, &node.portal)
    }

    /// One of the target, at the portal.
    pub fn has_session(&self, session: &Session) -> bool {
        self.is_here(&session.target, &session.portal)
    }

    /// One with a path there; one without any path has its targets alone.
    pub fn has_disk(&self, disk: &Disk) -> bool {
        let of_target = |target: &String| self.portal.is_none() && self.is_here(target, "");
        (self.target.is_none() && self.portal.is_none())
            || disk.paths.iter().any(|path| self.is_here(&path.target, &path.portal))
            || disk.targets.iter().any(of_target)
    }

    fn is_here(&self, target: &str, portal: &str) -> bool {
        let is_target = |name: &Iqn| name.as_str().eq_ignore_ascii_case(target);
        self.target.as_ref().is_none_or(is_target)
            && self.portal.as_ref().is_none_or(|wanted| wanted.to_string() == portal)
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::results::Path;

    use super::*;

    #[test]
    fn only_what_is_of_the_target_and_at_the_portal_is_wanted() {
        let scope = |target: &str, portal: &str| Scope {
            target: target.parse().ok(),
            portal: portal.parse().ok(),
            with_nodes: false,
        };
        let (one, two) = ("iqn.2003-01.com.example:one", "iqn.2003-01.com.example:two");
        let mut session = Session::default();
        (session.target, session.portal) = (one.to_owned(), "192.0.2.21:3260".to_owned());
        for (target, portal, is_wanted) in [
            ("", "", true),
            ("iqn.2003-01.com.example:ONE", "192.0.2.21", true),
            (one, "192.0.2.37", false),
            (two, "", false),
            ("", "192.0.2.21", true),
        ] {
            assert_eq!(scope(target, portal).has_session(&session), is_wanted, "{target} {portal}");
        }
        let mut disk = Disk::default();
        let mut path = Path::default();
        (path.target, path.portal) = (one.to_owned(), "192.0.2.21:3260".to_owned());
        (disk.paths, disk.targets) = (vec![path], vec![one.to_owned()]);
        assert!(scope("", "").has_disk(&disk) && scope(one, "192.0.2.21").has_disk(&disk));
        assert!(!scope(two, "").has_disk(&disk) && !scope(one, "192.0.2.37").has_disk(&disk));
        let node = Object::Node(Node::default());
        assert!(!scope("", "").has(&node) && Scope { with_nodes: true, ..scope("", "") }.has(&node));
    }
}
