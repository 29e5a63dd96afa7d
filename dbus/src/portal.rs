//! The address of a target: where it answers.
//! Must not resolve names: that needs a network and a deadline.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use zbus::Type;

use crate::constants::DEFAULT_PORT;

/// `address`, `address:port` or `[v6]:port`; an IPv6 link-local address may carry its zone
/// (`[fe80::1%eth0]:3260`); the address may be a host name. Shown always with its port, and in one
/// spelling: a mapped IPv6 address (`::ffff:192.0.2.21`) is the IPv4 address within it. The group
/// that iscsiadm prints behind a portal (`192.0.2.21:3260,1`) is read and dropped.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Type)]
#[serde(try_from = "String", into = "String")]
#[zbus(signature = "s")]
pub struct Portal {
    host: Host,
    port: u16,
}

/// The part of a portal before the port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A numeric address; the zone is a network interface, for link-local IPv6 only.
    Address(IpAddr, Option<String>),
    /// A name that has yet to be resolved.
    Name(String),
}

/// Why a text is not a portal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PortalError {
    /// Nothing at all.
    #[error("missing portal: expected address, address:port or [IPv6]:port")]
    Empty,
    /// Neither an address nor a host name.
    #[error("malformed portal: expected address, address:port or [IPv6]:port")]
    BadHost,
    /// An address that no target can have: unspecified, multicast or broadcast.
    #[error("an unspecified, multicast or broadcast address cannot be a portal")]
    BadAddress,
    /// Not 1 to 65535.
    #[error("a port is a number from 1 to 65535")]
    BadPort,
    /// What follows the comma is not a portal group as iscsiadm prints it.
    #[error("a portal group after the comma is a number, or -1")]
    BadGroup,
    /// A zone without need, or none where it is needed.
    #[error("a link-local IPv6 address needs a zone (\"%eth0\"), and no other address may have one")]
    BadZone,
}

impl Portal {
    /// A portal at a numeric address without a zone.
    ///
    /// # Errors
    ///
    /// If no target can have this address, it needs a zone, or the port is 0.
    pub fn new(address: IpAddr, port: u16) -> Result<Self, PortalError> {
        Self::from_host(checked_address(address, None)?, port)
    }

    fn from_host(host: Host, port: u16) -> Result<Self, PortalError> {
        if port == 0 { Err(PortalError::BadPort) } else { Ok(Self { host, port }) }
    }

    /// The address or name, without the port.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The TCP port, 1 to 65535; 3260 unless given.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The numeric address, if it is one.
    pub fn address(&self) -> Option<IpAddr> {
        match self.host {
            Host::Address(address, _) => Some(address),
            Host::Name(_) => None,
        }
    }

    /// The zone of a link-local address.
    pub fn zone(&self) -> Option<&str> {
        match &self.host {
            Host::Address(_, zone) => zone.as_deref(),
            Host::Name(_) => None,
        }
    }
}

impl fmt::Display for Host {
    /// Without brackets, as open-iscsi's database and sysfs write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address, None) => write!(f, "{address}"),
            Self::Address(address, Some(zone)) => write!(f, "{address}%{zone}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(IpAddr::V6(_), _) => write!(f, "[{}]:{}", self.host, self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl FromStr for Portal {
    type Err = PortalError;
    fn from_str(text: &str) -> Result<Self, PortalError> {
        if text.is_empty() {
            return Err(PortalError::Empty);
        }
        if text.len() > 300 {
            return Err(PortalError::BadHost);
        }
        let text = without_group(text)?;
        if let Some(rest) = text.strip_prefix('[') {
            let (address, rest) = rest.split_once(']').ok_or(PortalError::BadHost)?;
            let port = match rest.strip_prefix(':') {
                Some(port) => parse_port(port)?,
                None if rest.is_empty() => DEFAULT_PORT,
                None => return Err(PortalError::BadHost),
            };
            return Self::from_host(parse_v6(address)?, port);
        }
        match text.matches(':').count() {
            0 => Self::from_host(parse_v4_or_name(text)?, DEFAULT_PORT),
            1 => {
                let (host, port) = text.split_once(':').ok_or(PortalError::BadHost)?;
                Self::from_host(parse_v4_or_name(host)?, parse_port(port)?)
            }
            // Two colons or more can only be an IPv6 address without brackets and without a port.
            _ => Self::from_host(parse_v6(text)?, DEFAULT_PORT),
        }
    }
}

/// iscsiadm prints a portal with its group, which is -1 or 4294967295 where it is not known.
fn without_group(text: &str) -> Result<&str, PortalError> {
    let Some((portal, group)) = text.rsplit_once(',') else { return Ok(text) };
    let is_number = group.bytes().all(|b| b.is_ascii_digit()) && group.parse::<u32>().is_ok();
    match group {
        _ if portal.contains(',') || portal.is_empty() => Err(PortalError::BadHost),
        "-1" => Ok(portal),
        _ if is_number => Ok(portal),
        _ => Err(PortalError::BadGroup),
    }
}

fn parse_port(text: &str) -> Result<u16, PortalError> {
    if text.is_empty() || text.len() > 5 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(PortalError::BadPort);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(PortalError::BadPort),
        Ok(port) => Ok(port),
    }
}

fn parse_v6(text: &str) -> Result<Host, PortalError> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let address: Ipv6Addr = address.parse().map_err(|_| PortalError::BadHost)?;
    checked_address(IpAddr::V6(address), zone)
}

fn parse_v4_or_name(text: &str) -> Result<Host, PortalError> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return checked_address(IpAddr::V4(address), None);
    }
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let name = text.strip_suffix('.').unwrap_or(text);
    if name.len() > 253 || name.rsplit('.').next().is_some_and(is_number) || !name.split('.').all(is_label) {
        return Err(PortalError::BadHost);
    }
    Ok(Host::Name(name.to_ascii_lowercase()))
}

/// Whether the last label of a name makes a resolver read the name as a number, as `inet_aton` does:
/// `127.1`, `0177.0.0.1`, `2130706433` and `0x7f000001` are the same address.
fn is_number(last: &str) -> bool {
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    last.bytes().all(|b| b.is_ascii_digit())
        || hex.is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn checked_address(address: IpAddr, zone: Option<&str>) -> Result<Host, PortalError> {
    // The kernel takes a mapped address for the one within it.
    let address = address.to_canonical();
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_unspecified() || address.is_multicast() || is_broadcast {
        return Err(PortalError::BadAddress);
    }
    let is_link_local = matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local());
    match zone {
        None if is_link_local => Err(PortalError::BadZone),
        None => Ok(Host::Address(address, None)),
        // IFNAMSIZ is 16 with its NUL.
        Some(zone)
            if is_link_local
                && (1..=15).contains(&zone.len())
                && zone.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) =>
        {
            Ok(Host::Address(address, Some(zone.to_owned())))
        }
        Some(_) => Err(PortalError::BadZone),
    }
}

impl TryFrom<String> for Portal {
    type Error = PortalError;
    fn try_from(text: String) -> Result<Self, PortalError> {
        text.parse()
    }
}

impl From<Portal> for String {
    fn from(portal: Portal) -> Self {
        portal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn good_portals_are_shown_with_their_port() {
        for (good, shown) in [
            ("192.0.2.21", "192.0.2.21:3260"),
            ("192.0.2.21:860", "192.0.2.21:860"),
            ("[2001:db8::5]", "[2001:db8::5]:3260"),
            ("[2001:db8::5]:3261", "[2001:db8::5]:3261"),
            ("2001:db8::5", "[2001:db8::5]:3260"),
            ("[2001:DB8:0:0::5]:1", "[2001:db8::5]:1"),
            ("[fe80::1%eth0]:3260", "[fe80::1%eth0]:3260"),
            ("fe80::1%eth0.7", "[fe80::1%eth0.7]:3260"),
            ("gateway.example", "gateway.example:3260"),
            ("Gateway.Example.:65535", "gateway.example:65535"),
            ("localhost", "localhost:3260"),
            ("[::ffff:192.0.2.21]:3261", "192.0.2.21:3261"),
            ("::FFFF:c000:215", "192.0.2.21:3260"),
            ("gw.0xyz", "gw.0xyz:3260"),
            ("0x7f.example", "0x7f.example:3260"),
            // As iscsiadm prints them.
            ("192.0.2.21:3260,1", "192.0.2.21:3260"),
            ("192.0.2.21:3261,-1", "192.0.2.21:3261"),
            ("192.0.2.21,65535", "192.0.2.21:3260"),
            ("[2001:db8::5]:3260,2", "[2001:db8::5]:3260"),
            ("[2001:db8::5],1", "[2001:db8::5]:3260"),
            ("[fe80::1%eth0]:3260,4294967295", "[fe80::1%eth0]:3260"),
            ("gateway.example:860,0", "gateway.example:860"),
        ] {
            assert_eq!(good.parse::<Portal>().map(|p| p.to_string()), Ok(shown.to_owned()), "{good}");
        }
    }

    #[test]
    fn bad_portals_are_refused_for_their_own_reason() {
        for (bad, why) in [
            ("", PortalError::Empty),
            ("192.0.2.21:0", PortalError::BadPort),
            ("192.0.2.21:65536", PortalError::BadPort),
            ("192.0.2.21:+80", PortalError::BadPort),
            ("192.0.2.21:", PortalError::BadPort),
            ("300.0.2.21", PortalError::BadHost),
            ("192.0.2", PortalError::BadHost),
            ("127.1", PortalError::BadHost),
            ("2130706433", PortalError::BadHost),
            ("0177.0.0.01", PortalError::BadHost),
            ("0x7f000001", PortalError::BadHost),
            ("0X7F000001:3260", PortalError::BadHost),
            ("127.0x1", PortalError::BadHost),
            ("0x7f.0.0.0x1.", PortalError::BadHost),
            ("0x", PortalError::BadHost),
            ("[::ffff:192.0.2.21%eth0]", PortalError::BadZone),
            ("192.0.2.21:3260,", PortalError::BadGroup),
            ("192.0.2.21:3260,one", PortalError::BadGroup),
            ("192.0.2.21:3260,-2", PortalError::BadGroup),
            ("192.0.2.21:3260,+1", PortalError::BadGroup),
            ("192.0.2.21:3260,4294967296", PortalError::BadGroup),
            ("192.0.2.21:3260, 1", PortalError::BadGroup),
            ("192.0.2.21:3260,1,1", PortalError::BadHost),
            (",1", PortalError::BadHost),
            ("192.0.2.21:0,1", PortalError::BadPort),
            ("0.0.0.0:3260,1", PortalError::BadAddress),
            ("192.0.2.21 ", PortalError::BadHost),
            ("-p", PortalError::BadHost),
            ("--help", PortalError::BadHost),
            ("a/b", PortalError::BadHost),
            ("../x", PortalError::BadHost),
            ("a\nb", PortalError::BadHost),
            ("[2001:db8::5", PortalError::BadHost),
            ("[192.0.2.21]", PortalError::BadHost),
            ("[2001:db8::5]x", PortalError::BadHost),
            ("2001:db8::5::1", PortalError::BadHost),
            ("0.0.0.0", PortalError::BadAddress),
            ("[::ffff:0.0.0.0]", PortalError::BadAddress),
            ("[::ffff:224.0.0.1]:3260", PortalError::BadAddress),
            ("224.0.0.1", PortalError::BadAddress),
            ("255.255.255.255", PortalError::BadAddress),
            ("[::]:3260", PortalError::BadAddress),
            ("[ff02::1]", PortalError::BadAddress),
            ("fe80::1", PortalError::BadZone),
            ("[fe80::1%]", PortalError::BadZone),
            ("[fe80::1%a/b]", PortalError::BadZone),
            ("[fe80::1%averyveryverylongname]", PortalError::BadZone),
            ("[2001:db8::5%eth0]", PortalError::BadZone),
        ] {
            assert_eq!(bad.parse::<Portal>(), Err(why), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back_the_same(text in "\\PC{0,40}|[0-9a-f:.\\[\\]%]{0,30}") {
            if let Ok(portal) = text.parse::<Portal>() {
                prop_assert_eq!(portal.to_string().parse::<Portal>(), Ok(portal));
            }
        }

        #[test]
        fn every_address_and_port_survive(address: std::net::IpAddr, port in 1u16..) {
            if let Ok(portal) = Portal::new(address, port) {
                prop_assert_eq!(portal.to_string().parse::<Portal>(), Ok(portal.clone()));
                prop_assert_eq!(portal.address(), Some(address.to_canonical()));
            }
        }
    }
}
