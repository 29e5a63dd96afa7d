//! The introspection documents of the root object, of the folders and of the objects.
//! Must not show an object to whom polkit was not asked about: callers of `folder` do.

use iscsi_initiator_dbus::{OBJECT_PATH, objects::Class};

/// How far the interfaces of the root object are indented.
pub(super) const LEVEL: usize = 2;

const BEGIN: &str = r#"<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">
<node>
"#;

const END: &str = "</node>\n";

// Arguments of signals have no direction here: it goes without saying, and some versions of busctl take it for an error.

/// The interfaces that every object has.
const STANDARD: &str = r#"  <interface name="org.freedesktop.DBus.Introspectable">
    <method name="Introspect">
      <arg type="s" direction="out"/>
    </method>
  </interface>
  <interface name="org.freedesktop.DBus.Peer">
    <method name="Ping"/>
    <method name="GetMachineId">
      <arg type="s" direction="out"/>
    </method>
  </interface>
"#;

const PROPERTIES: &str = r#"  <interface name="org.freedesktop.DBus.Properties">
    <method name="Get">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg type="v" direction="out"/>
    </method>
    <method name="Set">
      <arg name="interface_name" type="s" direction="in"/>
      <arg name="property_name" type="s" direction="in"/>
      <arg name="value" type="v" direction="in"/>
    </method>
    <method name="GetAll">
      <arg name="interface_name" type="s" direction="in"/>
      <arg type="a{sv}" direction="out"/>
    </method>
    <signal name="PropertiesChanged">
      <arg name="interface_name" type="s"/>
      <arg name="changed_properties" type="a{sv}"/>
      <arg name="invalidated_properties" type="as"/>
    </signal>
  </interface>
"#;

const OBJECT_MANAGER: &str = r#"  <interface name="org.freedesktop.DBus.ObjectManager">
    <method name="GetManagedObjects">
      <arg name="objects" type="a{oa{sa{sv}}}" direction="out"/>
    </method>
    <signal name="InterfacesAdded">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="a{sa{sv}}"/>
    </signal>
    <signal name="InterfacesRemoved">
      <arg name="object" type="o"/>
      <arg name="interfaces" type="as"/>
    </signal>
  </interface>
"#;

/// The root object, with its own interfaces. What the folders hold is not shown.
pub(super) fn root(interfaces: &str) -> String {
    let folders = children(Class::ALL.into_iter().map(Class::folder));
    [BEGIN, interfaces, OBJECT_MANAGER, STANDARD, PROPERTIES, &folders, END].concat()
}

/// What is next on the way from this path to the root object, if it is above it.
pub(super) fn below(path: &str) -> Option<&'static str> {
    let rest = OBJECT_PATH.strip_prefix(path.trim_end_matches('/'))?.strip_prefix('/')?;
    rest.split('/').next()
}

/// A path above the root object, with what is next. The library's document has the whole root object within, and
/// busctl confuses the directions of arguments there: it complains of those of the signal.
pub(super) fn above(next: &str) -> String {
    folder([next].into_iter())
}

/// A folder of objects of these names.
pub(super) fn folder<'a>(names: impl Iterator<Item = &'a str>) -> String {
    [BEGIN, STANDARD, &children(names), END].concat()
}

/// An object of this class.
pub(super) fn object(class: Class) -> String {
    let document = class.introspection().trim_end();
    let open = document.strip_suffix("</node>").unwrap_or(document);
    [open, STANDARD, PROPERTIES, END].concat()
}

/// Names consist of letters, digits and underscores.
fn children<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("  <node name=\"{name}\"/>\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_the_root_object_is_known_from_above() {
        for (path, next) in [
            ("/", Some("org")),
            ("/org", Some("cloudatlas")),
            ("/org/cloudatlas", Some("IscsiInitiator")),
            (OBJECT_PATH, None),
            ("/org/cloud", None),
            ("/org/cloudatlas/Iscsi", None),
            ("/com", None),
        ] {
            assert_eq!(below(path), next, "{path}");
        }
        assert!(above("org").contains(r#"<node name="org"/>"#));
    }

    #[test]
    fn no_argument_of_a_signal_has_a_direction() {
        let own = include_str!("../../../dbus/org.cloudatlas.IscsiInitiator.xml");
        for document in [root(own), object(Class::Disk)] {
            let signals = document.split("<signal ").skip(1);
            let arguments: Vec<&str> =
                signals.filter_map(|signal| Some(signal.split_once("</signal>")?.0)).collect();
            assert!(!arguments.is_empty() && !arguments.concat().contains("direction"), "{arguments:?}");
        }
    }
}
