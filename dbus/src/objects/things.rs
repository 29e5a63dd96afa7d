//! The properties of nodes, sessions and disks. Their words are those of the answers.

use zbus::OwnedObjectPath;

use super::properties::object;
use crate::results::{ChapMode, Health, NodeState, Path, Startup};

object! {
    /// A recorded node: a target at a portal.
    Node {
        /// The target's name.
        target "Target": String,
        /// Numeric `address:port` or `[v6]:port`.
        portal "Portal": String,
        /// The target portal group tag; 65535 in a record that has none, or if missing.
        tpgt "Tpgt": u16 = u16::MAX,
        /// When it is logged in to.
        startup "Startup": Startup = Startup::unknown(),
        /// What its record asks for.
        chap "Chap": ChapMode = ChapMode::unknown(),
        /// Always `known`: what is not recorded has no object.
        state "State": NodeState = NodeState::unknown(),
        /// Whether a session is up.
        logged_in "LoggedIn": bool,
        /// The network interface that it is bound to; empty if the routes decide.
        interface "Interface": String,
        /// Why it has no session although it is to have one, while the daemon tries again; empty if it does not.
        waiting "Waiting": String,
        /// Why its record cannot be used; usually empty.
        message "Message": String,
        /// What to do next; empty if nothing.
        hint "Hint": String,
        /// The first of its sessions; `/` if there is none.
        session "Session": OwnedObjectPath,
    }
}

object! {
    /// A session.
    Session {
        /// Its number, from 1.
        sid "Sid": u32,
        /// The target's name; empty while iscsid makes it.
        target "Target": String,
        /// Numeric `address:port` or `[v6]:port`.
        portal "Portal": String,
        /// The network interface that it is bound to; empty if the routes decide.
        interface "Interface": String,
        /// This machine's name in it; empty if the kernel does not show it.
        initiator_name "InitiatorName": String,
        /// The kernel's word: `LOGGED_IN`, `FAILED` or `FREE`.
        state "State": String,
        /// When the daemon first saw it in that state, in seconds since 1970; 0 if it was so at the first look.
        since "Since": u64,
        /// The node that it belongs to; `/` if that is not recorded.
        node "Node": OwnedObjectPath,
        /// Its disks, in the order of their LUNs.
        disks "Disks": Vec<OwnedObjectPath>,
        /// Who holds it, by the holders' names.
        holds "Holds": Vec<String>,
    }
}

object! {
    /// A LUN with all its paths, as a person sees it.
    Disk {
        /// The SCSI identifier (`naa.…`, `t10.…`); empty if the LUN has none.
        wwid "Wwid": String,
        /// The targets that it is reached through, in the order of their sessions.
        targets "Targets": Vec<String>,
        /// In bytes; 0 if unknown.
        size "Size": u64,
        /// As the LUN reports it, without blanks at the ends.
        vendor "Vendor": String,
        /// As the LUN reports it, without blanks at the ends.
        model "Model": String,
        /// The multipath map's name; empty if there is none.
        map "Map": String,
        /// The map's kernel name (`dm-0`); empty if there is none.
        map_device "MapDevice": String,
        /// Whether it can be used, and with which reserve.
        health "Health": Health = Health::unknown(),
        /// Its paths, in the order of their sessions.
        paths "Paths": Vec<Path>,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use zbus::{
        OwnedVariant,
        wire::{LE, serialized::Context, to_bytes},
    };

    use super::*;
    use crate::objects::{Class, Id, Properties, Values};

    /// Over the wire and back.
    fn sent(properties: &Properties) -> Values {
        let bytes = to_bytes(Context::new(LE, 0), properties).unwrap();
        bytes.deserialize().unwrap().0
    }

    fn disk() -> Disk {
        let path = Path { device: "sda".into(), lun: 7, ..Path::default() };
        Disk {
            wwid: "naa.1".into(),
            size: 64,
            health: Health::Degraded,
            paths: vec![path],
            ..Disk::default()
        }
    }

    fn session() -> Session {
        let disks = vec![Id::disk("naa.1", 1, 0).path()];
        let node = Id::node("iqn.a", "192.0.2.21:3260", "default").path();
        Session { sid: 1, since: 4711, node, disks, holds: vec!["libvirt".into()], ..Session::default() }
    }

    #[test]
    fn what_is_sent_is_what_is_read() {
        let mut read = Disk::default();
        assert_eq!(read.update(&sent(&disk().properties())), ["Wwid", "Size", "Health", "Paths"]);
        assert_eq!(read, disk());
        let mut read = Session::default();
        read.update(&sent(&session().properties()));
        assert_eq!(read, session());
        let mut node = Node { startup: Startup::Onboot, chap: ChapMode::Mutual, ..Node::default() };
        node.session = Id::session(3).path();
        let mut read = Node::default();
        read.update(&sent(&node.properties()));
        assert_eq!(read, node);
    }

    #[test]
    fn only_what_is_other_than_before_is_a_change() {
        let before = disk();
        let now = Disk { map: "mpatha".into(), health: Health::Optimal, ..before.clone() };
        let changes = Disk::changes(&before, &now);
        assert_eq!(changes.keys().copied().collect::<Vec<_>>(), ["Health", "Map"]);
        let mut mirrored = before.clone();
        assert_eq!(mirrored.update(&sent(&changes)), ["Map", "Health"]);
        assert_eq!(mirrored, now);
        assert!(Disk::changes(&now, &now).is_empty() && mirrored.update(&sent(&changes)).is_empty());
    }

    #[test]
    fn what_a_newer_daemon_sends_is_no_harm() {
        let mut newer = disk().properties();
        newer.insert("Temperature", 37_u32.into());
        newer.insert("Size", "a lot".into());
        newer.insert("Health", "melting".into());
        let mut read = Disk { size: 5, ..Disk::default() };
        read.update(&sent(&newer));
        assert_eq!((read.size, read.health.as_str(), read.wwid.as_str()), (5, "melting", "naa.1"));
        assert!(read.update(&Values::new()).is_empty());
    }

    /// The documents are the source of truth; a test of the bus holds them against what is served.
    #[test]
    fn each_property_is_documented_with_its_type() {
        let all: [(Class, Properties); 3] = [
            (Class::Node, Node::default().properties()),
            (Class::Session, session().properties()),
            (Class::Disk, disk().properties()),
        ];
        for (class, properties) in all {
            let properties: BTreeMap<&str, OwnedVariant> =
                properties.into_iter().map(|(name, value)| (name, value.try_into().unwrap())).collect();
            let text = class.introspection();
            for (name, value) in &properties {
                let kind = value.value_signature().to_string();
                let line = format!("<property name=\"{name}\" type=\"{kind}\" access=\"read\"");
                assert!(text.contains(&line), "{class}: {line}");
            }
            assert_eq!(text.matches("<property name=").count(), properties.len(), "{class}");
            assert!(text.contains(&format!("<interface name=\"{}\">", class.interface())));
        }
    }
}
