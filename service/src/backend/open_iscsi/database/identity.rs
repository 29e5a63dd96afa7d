//! Where a node's record is in the database, and whether it is that node's: open-iscsi goes by what
//! is in a record, and finds its file by it.

use std::net::IpAddr;

use iscsi_initiator_dbus::{Iqn, Portal, portal::Host};
use serde::{Deserialize, Serialize};

use super::{
    iface_name,
    record::{Record, RecordError},
};

/// What a record has for its portal if it has no line for it (usr/idbm.c,
/// `idbm_node_setup_defaults`, and usr/iface.c, `iface_setup_defaults`).
const DEFAULT_PORT: i32 = 3260;
const DEFAULT_IFACE: &str = "default";

/// A node: a target at a portal through an iface, as identified by its place in the database.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NodeKey {
    pub(crate) target: Iqn,
    pub(crate) portal: Portal,
    /// `None` in a record of the old format, as `iscsiadm -o new` still makes it without a group:
    /// there the portal is the file, not a folder with a file for each iface.
    pub(crate) tpgt: Option<u16>,
    /// `default` if it is not bound to a network interface.
    #[serde(deserialize_with = "iface_name::deserialize")]
    pub(crate) iface: String,
    /// The address as its folder spells it, if that is not how the portal is shown: open-iscsi keeps
    /// a long IPv6 address and the case of a name.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "spelling")]
    pub(crate) spelled: Option<String>,
}

impl NodeKey {
    /// The path of its record, relative to the database. An IPv6 address is written without
    /// brackets there.
    pub(in super::super) fn path(&self) -> String {
        match self.tpgt {
            Some(_) => format!("{}/{}", self.folder(), self.iface),
            None => format!("{}/{},{}", self.folder(), self.address(), self.portal.port()),
        }
    }

    pub(super) fn folder(&self) -> String {
        match self.tpgt {
            Some(tpgt) => {
                format!("nodes/{}/{},{},{tpgt}", self.target, self.address(), self.portal.port())
            }
            None => format!("nodes/{}", self.target),
        }
    }

    /// The address as open-iscsi has it in names.
    pub(in super::super) fn address(&self) -> String {
        self.spelled.clone().unwrap_or_else(|| self.portal.host().to_string())
    }

    /// The argument for iscsiadm's `-p`: `address:port[,tpgt]`.
    pub(crate) fn portal_argument(&self) -> String {
        match self.tpgt {
            Some(tpgt) => format!("{},{tpgt}", self.portal),
            None => self.portal.to_string(),
        }
    }

    /// Whether both have the same session: the kernel ignores the group.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.target == other.target && self.portal == other.portal && self.iface == other.iface
    }
}

/// A portal by the name of its folder or file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) portal: Portal,
    pub(super) tpgt: Option<u16>,
    pub(super) spelled: Option<String>,
}

/// Parses the name of a portal's folder or file: `address,port[,tpgt]`. It must be what open-iscsi
/// makes of these three: it would look for any other in another place.
pub(super) fn parse_folder(name: &str) -> Option<Place> {
    let mut parts = name.split(',');
    let (address, port) = (parts.next()?, parts.next()?);
    let tpgt = parts.next();
    if parts.next().is_some() || !is_number(port) || tpgt.is_some_and(|tpgt| !is_number(tpgt)) {
        return None;
    }
    let text =
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
    let portal: Portal = text.parse().ok()?;
    let spelled = (portal.host().to_string() != address).then(|| address.to_owned());
    Some(Place { portal, tpgt: tpgt.map(str::parse).transpose().ok()?, spelled })
}

/// As open-iscsi writes a number.
fn is_number(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|number| number.to_string() == text)
}

/// For a spelling read from disk, which becomes a path.
fn spelling<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let is_plain = |text: &String| {
        text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b':' | b'-' | b'_' | b'%'))
            && !text.starts_with('.')
    };
    if text.as_ref().is_none_or(is_plain) {
        return Ok(text);
    }
    Err(serde::de::Error::custom("not an address"))
}

/// Whether a record is that of a node. iscsiadm compares what it is given with what is in the record
/// (usr/iscsi_util.c, `__iscsi_match_session`), and so finds no other.
pub(super) fn check(record: &Record, node: &NodeKey) -> Result<(), RecordError> {
    if record.to_bytes().is_empty() {
        return Err(RecordError::Empty);
    }
    let (Some(name), Some(address)) = (record.value("node.name"), record.value("node.conn[0].address"))
    else {
        return Err(RecordError::CutOff);
    };
    if name != node.target.as_str().as_bytes() {
        return Err(RecordError::OtherTarget);
    }
    let port = record.number("node.conn[0].port").unwrap_or(DEFAULT_PORT);
    if port != i32::from(node.portal.port()) || !is_address(address, node) {
        return Err(RecordError::OtherPortal);
    }
    // In the old format the file's name has no iface.
    if node.tpgt.is_some() && iface_of(record) != node.iface.as_bytes() {
        return Err(RecordError::OtherIface);
    }
    Ok(())
}

/// The iface that a record names.
pub(super) fn iface_of(record: &Record) -> &[u8] {
    record.value("iface.iscsi_ifacename").unwrap_or(DEFAULT_IFACE.as_bytes())
}

/// Whether both addresses lead to the same place: as text, or as an address.
fn is_address(text: &[u8], node: &NodeKey) -> bool {
    if text.eq_ignore_ascii_case(node.address().as_bytes()) {
        return true;
    }
    let Ok(text) = std::str::from_utf8(text) else { return false };
    match node.portal.host() {
        Host::Name(_) => false,
        host => {
            let ours = host.to_string();
            let split = |text: &str| {
                let (address, zone) = text.split_once('%').unwrap_or((text, ""));
                Some((address.parse::<IpAddr>().ok()?, zone.to_owned()))
            };
            split(text).is_some_and(|theirs| Some(theirs) == split(&ours))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(name: &str) -> Option<(String, Option<u16>, Option<String>)> {
        parse_folder(name).map(|place| (place.portal.to_string(), place.tpgt, place.spelled))
    }

    #[test]
    fn a_folder_is_found_again_under_its_own_spelling() {
        for (name, portal, tpgt, spelled) in [
            ("192.0.2.21,3260,1", "192.0.2.21:3260", Some(1), None),
            ("192.0.2.21,3260", "192.0.2.21:3260", None, None),
            ("2001:db8::21,3260,1", "[2001:db8::21]:3260", Some(1), None),
            ("2001:0DB8:0:0:0:0:0:21,3260,1", "[2001:db8::21]:3260", Some(1), Some("2001:0DB8:0:0:0:0:0:21")),
            ("storage.example,3260,0", "storage.example:3260", Some(0), None),
        ] {
            let expected = (portal.to_owned(), tpgt, spelled.map(str::to_owned));
            assert_eq!(place(name), Some(expected), "{name}");
            let Place { portal, tpgt, spelled } = parse_folder(name).unwrap();
            let target = "iqn.2001-04.com.example:disk".parse().unwrap();
            let node = NodeKey { target, portal, tpgt, iface: "default".into(), spelled };
            let end = if tpgt.is_some() { "/default" } else { "" };
            assert_eq!(node.path(), format!("nodes/iqn.2001-04.com.example:disk/{name}{end}"));
        }
    }

    #[test]
    fn a_folder_that_open_iscsi_would_not_find_is_not_a_portal() {
        for name in [
            "[],3260,-1",
            "192.0.2.21,3260,-1",
            "192.0.2.21,03260,1",
            "192.0.2.21,3260,01",
            ",3260,1",
            "192.0.2.21",
            "192.0.2.21,3260,1,2",
            "192.0.2.21,0,1",
            "192.0.2.21,65536,1",
            "192.0.2.21,3260,",
            "README",
            "a/b,3260,1",
        ] {
            assert_eq!(place(name), None, "{name}");
        }
    }

    #[test]
    fn a_spelling_in_the_journal_is_not_a_path() {
        let node = |spelled: &str| {
            serde_json::from_value::<NodeKey>(serde_json::json!({
                "target": "iqn.2001-04.com.example:disk", "portal": "[2001:db8::21]:3260", "tpgt": 1,
                "iface": "default", "spelled": spelled
            }))
        };
        assert!(node("2001:0db8:0:0:0:0:0:21").is_ok());
        for bad in ["../x", "a/b", "..", "a b"] {
            assert!(node(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_record_is_that_of_its_place_or_not_used() {
        let Place { portal, tpgt, spelled } = parse_folder("2001:db8::21,3260,1").unwrap();
        let target = "iqn.2001-04.com.example:disk".parse().unwrap();
        let node = NodeKey { target, portal, tpgt, iface: "default".into(), spelled };
        let of = |lines: &str| check(&Record::parse(lines.as_bytes()), &node);
        let name = "node.name = iqn.2001-04.com.example:disk\n";
        let sound = format!("{name}node.conn[0].address = 2001:0db8:0::21\n");
        assert_eq!(of(&sound), Ok(()), "open-iscsi has defaults for all else");
        assert_eq!(of(&format!("{sound}node.conn[0].port = 3260 \n")), Ok(()));
        assert_eq!(of(""), Err(RecordError::Empty));
        assert_eq!(of("# BEGIN RECORD 2.1\n# END RECORD\n"), Err(RecordError::CutOff));
        assert_eq!(of(name), Err(RecordError::CutOff));
        assert_eq!(of(&sound.replace(":disk", ":other")), Err(RecordError::OtherTarget));
        assert_eq!(of(&sound.replace("0::21", "0::22")), Err(RecordError::OtherPortal));
        assert_eq!(of(&format!("{sound}node.conn[0].port = 3261\n")), Err(RecordError::OtherPortal));
        assert_eq!(of(&format!("{sound}iface.iscsi_ifacename = eth1\n")), Err(RecordError::OtherIface));
    }
}
