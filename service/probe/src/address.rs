//! Parses the address of a target: `TargetAddress=host[:port][,portal group]` (RFC 7143, section
//! 13.8).
//! Must not accept a zone: it names an interface of another machine.

use std::net::{IpAddr, SocketAddr};

use iscsi_initiator_dbus::{DEFAULT_PORT, Portal, portal::Host};

use super::{
    answer::Place,
    refusal::Refusal,
    text::{Keys, number},
};

/// A portal and its group. `None` for an invalid one, and for a link-local address, which needs a
/// zone of this machine.
pub(super) fn portal(text: &str) -> Option<(Portal, Option<u16>)> {
    let (portal, tpgt) = split(text)?;
    Some((portal.parse().ok()?, tpgt))
}

/// The same, as seen from the portal `here`. If that is link-local, a link-local address is in its
/// zone.
pub(super) fn seen_from(here: SocketAddr, text: &str) -> Option<(Host, u16, Option<u16>)> {
    if let Some((portal, tpgt)) = portal(text) {
        let is_reachable = may_lead(here, portal.host());
        return is_reachable.then(|| (portal.host().clone(), portal.port(), tpgt));
    }
    if !is_link_local(here.ip()) {
        return None;
    }
    let (portal, tpgt) = split(text)?;
    // `Portal` rejects a link-local address without a zone; any zone serves to check the rest.
    let portal: Portal = portal.replacen(']', "%zone]", 1).parse().ok()?;
    Some((Host::Address(portal.address()?, None), portal.port(), tpgt))
}

/// Why [`seen_from`] has no portal for the text.
pub(super) fn unusable(text: &str) -> Place {
    let Some((portal, _)) = split(text) else { return Place::Malformed };
    let address = portal.parse::<SocketAddr>().ok().or_else(|| {
        let address = portal.trim_start_matches('[').trim_end_matches(']');
        address.parse().ok().map(|address| SocketAddr::new(address, DEFAULT_PORT))
    });
    address.map_or(Place::Malformed, |address| Place::of(address.ip(), address.port()))
}

/// The destination in the text of a login response of class 1 (section 11.13.5).
pub(super) fn redirection(text: &[u8], permanent: bool) -> Refusal {
    let keys = match Keys::parse(text) {
        Ok(keys) => keys,
        Err(refusal) => return refusal,
    };
    match keys.get("TargetAddress").and_then(portal) {
        Some((to, _)) => Refusal::Redirected { to, permanent },
        None => Refusal::Protocol("a redirection to an invalid portal"),
    }
}

/// Only the loopback may redirect us to the loopback, where local services listen.
pub(super) fn may_lead(here: SocketAddr, to: &Host) -> bool {
    match to {
        Host::Address(address, _) => {
            here.ip().to_canonical().is_loopback() || !address.to_canonical().is_loopback()
        }
        Host::Name(_) => true,
    }
}

fn split(text: &str) -> Option<(&str, Option<u16>)> {
    let (portal, tpgt) = match text.rsplit_once(',') {
        Some((portal, tpgt)) => (portal, Some(number(tpgt)?)),
        None => (text, None),
    };
    // Without brackets the port cannot be distinguished from the address.
    let is_bare_v6 = !portal.starts_with('[') && portal.matches(':').count() > 1;
    (!is_bare_v6 && !portal.contains(['%', ','])).then_some((portal, tpgt))
}

fn is_link_local(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(here: &str, text: &str) -> Option<String> {
        let (host, port, tpgt) = seen_from(here.parse().unwrap(), text)?;
        Some(format!("{host} {port} {tpgt:?}"))
    }

    #[test]
    fn addresses_are_read() {
        for (text, expected) in [
            ("192.0.2.21:3260,1", "192.0.2.21 3260 Some(1)"),
            ("192.0.2.21", "192.0.2.21 3260 None"),
            ("[2001:db8::5]:860,0xffff", "2001:db8::5 860 Some(65535)"),
            ("[2001:db8::5],7", "2001:db8::5 3260 Some(7)"),
            ("storage.example:3260,1", "storage.example 3260 Some(1)"),
        ] {
            assert_eq!(seen("192.0.2.1:3260", text).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_leads_nowhere_is_refused() {
        for text in [
            "",
            ",1",
            "192.0.2.21:0,1",
            "192.0.2.21:65536,1",
            "192.0.2.21,65536",
            "192.0.2.21,",
            "192.0.2.21,1,1",
            "192.0.2.21,-1",
            "0.0.0.0:3260,1",
            "[::]:3260,1",
            "224.0.0.1,1",
            "2001:db8::5",
            "2001:db8::5:3260,1",
            "../../etc,1",
            "a b,1",
            "[fe80::1],1",
            "[fe80::1%eth0],1",
            "127.0.0.1:22,1",
            "[::1],1",
            "[::ffff:127.0.0.1],1",
            "[::ffff:0.0.0.0]:22,1",
            "[::ffff:224.0.0.1],1",
            "[::ffff:255.255.255.255],1",
        ] {
            assert_eq!(seen("192.0.2.1:3260", text), None, "{text}");
        }
    }

    #[test]
    fn an_address_that_leads_nowhere_is_shown_and_other_text_is_not() {
        for (text, shown) in [
            ("0.0.0.0:3260,1", "0.0.0.0:3260, an address that no machine has"),
            ("[::]:860,1", "[::]:860, an address that no machine has"),
            ("[::ffff:0.0.0.0],1", "0.0.0.0:3260, an address that no machine has"),
            ("255.255.255.255,1", "255.255.255.255:3260, an address that no machine has"),
            ("127.0.0.1:3260,1", "127.0.0.1:3260, which is this machine itself"),
            ("[::1],1", "[::1]:3260, which is this machine itself"),
            ("[fe80::1]:3261,1", "[fe80::1]:3261, which is valid on its own link only"),
            ("[fe80::1%eth0],1", "a malformed address"),
            ("192.0.2.21:0,1", "a malformed address"),
            ("\u{1b}[2J", "a malformed address"),
            ("", "a malformed address"),
        ] {
            assert_eq!(unusable(text).to_string(), shown, "{text:?}");
        }
    }

    #[test]
    fn the_loopback_may_lead_to_itself_and_a_link_to_its_neighbours() {
        assert_eq!(seen("127.0.0.1:3260", "127.0.0.1:3261,1").as_deref(), Some("127.0.0.1 3261 Some(1)"));
        assert_eq!(seen("[fe80::9%2]:3260", "[fe80::1]:3261,1").as_deref(), Some("fe80::1 3261 Some(1)"));
        assert_eq!(seen("[fe80::9%2]:3260", "[fe80::1%eth0]:3261,1"), None);
        assert_eq!(seen("[fe80::9%2]:3260", "[fe80::1]]:3261,1"), None);
        assert_eq!(seen("[fe80::9%2]:3260", "[2001:db8::5]:0,1"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_safe(text in "\\PC{0,40}|\\[?[0-9a-f:.%]{0,30}\\]?:?[0-9]{0,6},?[0-9]{0,6}") {
            for here in ["192.0.2.1:3260", "[fe80::9%2]:3260", "127.0.0.1:3260"] {
                if let Some((_, port, _)) = seen_from(here.parse().unwrap(), &text) {
                    prop_assert!(port > 0);
                }
            }
        }
    }
}
