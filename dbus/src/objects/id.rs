//! Which object, and its path. The path of a thing is the same for as long as the thing exists,
//! also in another daemon.

use std::fmt::{self, Write as _};

use zbus::OwnedObjectPath;

use super::class::Class;
use crate::OBJECT_PATH;

/// An identifier that is longer than this does not become a path: a LUN may claim anything.
const LONGEST: usize = 256;

/// An object: its class, and its name in the folder of that class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    class: Class,
    name: String,
}

impl Id {
    /// A node, by what tells it from others: target, portal, and the name of its iface.
    pub fn node(target: &str, portal: &str, iface: &str) -> Self {
        Self { class: Class::Node, name: [target, portal, iface].map(escaped).join("__") }
    }

    /// The same for a record with another group tag than 1.
    #[must_use]
    pub fn with_group(self, tpgt: u16) -> Self {
        Self { name: format!("{}__{tpgt}", self.name), ..self }
    }

    /// The same for a record without a group tag.
    #[must_use]
    pub fn without_group(self) -> Self {
        Self { name: format!("{}__none", self.name), ..self }
    }

    /// The same, with its group tag, for a record that spells the portal's address in its own way.
    #[must_use]
    pub fn with_spelling(self, address: &str) -> Self {
        Self { name: format!("{}__{}", self.name, escaped(address)), ..self }
    }

    /// A session by its number.
    pub fn session(sid: u32) -> Self {
        Self { class: Class::Session, name: sid.to_string() }
    }

    /// A disk by its SCSI identifier. One without an identifier, or with one of more than 256 bytes, is
    /// known by the session that it comes through and its LUN.
    pub fn disk(wwid: &str, sid: u32, lun: u64) -> Self {
        let is_name = !wwid.is_empty() && wwid.len() <= LONGEST;
        let name = if is_name { escaped(wwid) } else { format!("session{sid}__lun{lun}") };
        Self { class: Class::Disk, name }
    }

    /// The object at this path; `None` if no object can be there.
    pub fn at(path: &str) -> Option<Self> {
        let (folder, name) = path.strip_prefix(OBJECT_PATH)?.strip_prefix('/')?.split_once('/')?;
        let is_element = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        is_element.then_some(Self { class: Class::of_folder(folder)?, name: name.to_owned() })
    }

    /// Its class.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The last element of its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its path.
    pub fn path(&self) -> OwnedObjectPath {
        // A name has letters, digits and underscores only, so that this is always a path.
        OwnedObjectPath::try_from(self.to_string()).unwrap_or_default()
    }
}

impl fmt::Display for Id {
    /// The path.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.class.path(), self.name)
    }
}

/// A text as an element of a path: letters and digits as they are, any other byte as `_` and two
/// hexadecimal digits, as systemd does it (`sd_bus_path_encode(3)`).
fn escaped(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() {
            name.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(name, "_{byte:02x}");
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_has_one_path() {
        for (id, path) in [
            (
                Id::node("iqn.a:b", "192.0.2.21:3260", "default"),
                "nodes/iqn_2ea_3ab__192_2e0_2e2_2e21_3a3260__default",
            ),
            (Id::node("a", "b", "c").with_group(65535), "nodes/a__b__c__65535"),
            (Id::node("a", "b", "c").without_group(), "nodes/a__b__c__none"),
            (Id::node("a", "b", "c").with_group(1).with_spelling("FE80::1"), "nodes/a__b__c__1__FE80_3a_3a1"),
            (Id::session(17), "sessions/17"),
            (Id::disk("naa.6001405", 1, 2), "disks/naa_2e6001405"),
            (Id::disk("", 1, 2), "disks/session1__lun2"),
            (Id::disk("session1__lun2", 3, 4), "disks/session1_5f_5flun2"),
            (Id::disk(&"x".repeat(257), 1, 2), "disks/session1__lun2"),
        ] {
            assert_eq!(id.path().as_str(), format!("{OBJECT_PATH}/{path}"));
            assert_eq!(Id::at(id.path().as_str()), Some(id));
        }
        assert_ne!(Id::node("a_b", "c", "d"), Id::node("a", "b_c", "d"));
    }

    #[test]
    fn no_object_is_anywhere_else() {
        for path in ["", "/", "/nodes", "/nodes/", "/nodes/a/b", "/maps/x", "/sessions/1 2"] {
            assert_eq!(Id::at(&format!("{OBJECT_PATH}{path}")), None, "{path}");
        }
        assert_eq!(Id::at("/org/cloudatlas/IscsiInitiatornodes/x"), None);
        assert_eq!(Id::at("/sessions/1"), None);
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_path_of_its_own(one in ".{1,80}", other in ".{1,80}") {
            let (first, second) = (Id::disk(&one, 0, 0), Id::disk(&other, 0, 0));
            let path = first.to_string();
            prop_assert_eq!(first.path().to_string(), path.clone());
            prop_assert_eq!(Id::at(&path), Some(first.clone()));
            prop_assert_eq!(first == second, one == other);
        }
    }
}
