//! The target, the portal and the network interface that an action is about.
//! Must not have two spellings for one thing: a rule compares texts.

use std::collections::HashMap;

use iscsi_initiator_dbus::{Iqn, Portal};

/// The detail for what a call does not name: no target and no portal has this name.
pub(crate) const ANY: &str = "any";

/// What the action applies to, for polkit's rules and the user who is prompted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Details<'a> {
    /// None: no target, or every target; polkit gets `any`.
    pub target: Option<&'a Iqn>,
    /// None: no portal, or every known one; polkit gets `any`.
    pub portal: Option<&'a Portal>,
    /// None: the one that the routes choose; polkit gets `any`.
    pub interface: Option<&'a str>,
}

impl Details<'_> {
    /// As polkit gets them. The target is in lower case, since the case of an iSCSI name does not
    /// count (RFC 3722); if that is not how it was given, `target-exact` is.
    pub(crate) fn texts(self) -> HashMap<&'static str, String> {
        let any = || ANY.to_owned();
        let target = self.target.map_or_else(any, Iqn::canonical);
        let exact = self.target.filter(|exact| exact.as_str() != target).map(ToString::to_string);
        let mut texts = HashMap::from([
            ("target", target),
            ("portal", self.portal.map_or_else(any, ToString::to_string)),
            ("interface", self.interface.map_or_else(any, ToOwned::to_owned)),
            ("named", self.named()),
        ]);
        texts.extend(exact.map(|exact| ("target-exact", exact)));
        texts
    }

    /// What the call names, for the end of the message that a user gets.
    fn named(self) -> String {
        let target = self.target.map(|target| format!("target: {target}"));
        let portal = self.portal.map(|portal| format!("portal: {portal}"));
        let interface = self.interface.map(|interface| format!("interface: {interface}"));
        let named: Vec<String> = [target, portal, interface].into_iter().flatten().collect();
        if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(target: &str, portal: &str) -> Vec<(&'static str, String)> {
        let (target, portal): (Iqn, Portal) = (target.parse().unwrap(), portal.parse().unwrap());
        let details = Details { target: Some(&target), portal: Some(&portal), interface: Some("eth1") };
        let mut texts: Vec<_> = details.texts().into_iter().collect();
        texts.sort_unstable();
        texts
    }

    #[test]
    fn one_thing_has_one_spelling() {
        let plain = texts("iqn.2001-07.com.ceph:backup", "192.0.2.21");
        assert_eq!(
            plain,
            [
                ("interface", "eth1".to_owned()),
                (
                    "named",
                    " (target: iqn.2001-07.com.ceph:backup, portal: 192.0.2.21:3260, interface: eth1)"
                        .to_owned()
                ),
                ("portal", "192.0.2.21:3260".to_owned()),
                ("target", "iqn.2001-07.com.ceph:backup".to_owned()),
            ]
        );
        let mut other = texts("IQN.2001-07.com.Ceph:backup", "[::FFFF:192.0.2.21]:3260");
        assert_eq!(other.pop(), Some(("target-exact", "IQN.2001-07.com.Ceph:backup".to_owned())));
        // The user sees the name as the caller wrote it.
        let named = other.iter_mut().find(|(name, _)| *name == "named").unwrap();
        named.1 = named.1.replace("IQN.2001-07.com.Ceph", "iqn.2001-07.com.ceph");
        assert_eq!(other, plain);
    }

    #[test]
    fn what_a_call_does_not_name_is_any_and_that_names_nothing() {
        let mut texts = Details::default().texts();
        // No placeholder is shown to the user.
        assert_eq!(texts.remove("named"), Some(String::new()));
        assert!(texts.values().all(|text| text == ANY));
        let portal: Portal = "[2001:db8::21]:3260".parse().unwrap();
        let of_portal = Details { portal: Some(&portal), ..Details::default() };
        assert_eq!(of_portal.named(), " (portal: [2001:db8::21]:3260)");
        assert!(ANY.parse::<Iqn>().is_err());
        // A host may be called "any", but a portal is always sent with its port.
        assert_eq!(ANY.parse::<Portal>().unwrap().to_string(), "any:3260");
    }
}
