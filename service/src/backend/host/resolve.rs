//! Resolves host names to addresses, within a deadline.
//! Must not resolve twice for one call. iscsid gets numeric addresses only, since it resolves in
//! its only thread.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use iscsi_initiator_dbus::{Fault, Kind, Portal, portal::Host};

use super::limit::Limit;

/// The numeric portals that a portal stands for: itself, or the addresses that its name resolves to
/// (at most 16).
pub(crate) async fn portals(portal: &Portal, limit: &Limit) -> Result<Vec<Portal>, Fault> {
    let Host::Name(name) = portal.host() else { return Ok(vec![portal.clone()]) };
    let lookup = tokio::net::lookup_host((name.as_str(), portal.port()));
    let found: Vec<Portal> = match limit.wait(lookup).await {
        None => return Err(limit.fault(format!("timed out resolving the host name {name}"))),
        Some(Err(_)) => Vec::new(),
        Some(Ok(addresses)) => {
            addresses.filter_map(|address| Portal::new(address.ip(), portal.port()).ok()).take(16).collect()
        }
    };
    if found.is_empty() {
        return Err(Fault::new(Kind::PortalUnreachable, format!("the host name {name} has no address"))
            .hint("check the name, or use the portal's address"));
    }
    Ok(found)
}

/// The socket address of a numeric portal; the zone of a link-local address is a network interface
/// here.
pub(crate) fn socket_address(portal: &Portal) -> Result<SocketAddr, Fault> {
    let unreachable = |why: String| Fault::new(Kind::PortalUnreachable, why);
    match (portal.address(), portal.zone()) {
        (Some(IpAddr::V6(address)), Some(zone)) => {
            let index = std::fs::read_to_string(format!("/sys/class/net/{zone}/ifindex"));
            let index = index.ok().and_then(|text| text.trim().parse().ok());
            let index = index.ok_or_else(|| unreachable(format!("there is no network interface {zone}")))?;
            Ok(SocketAddr::V6(SocketAddrV6::new(address, portal.port(), 0, index)))
        }
        (Some(address), _) => Ok(SocketAddr::new(address, portal.port())),
        (None, _) => Err(unreachable(format!("{portal} is not numeric"))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_number_is_itself_and_a_name_is_looked_up() {
        let limit = Limit::of(Duration::from_secs(5));
        let numeric: Portal = "192.0.2.21".parse().unwrap();
        assert_eq!(portals(&numeric, &limit).await.unwrap(), vec![numeric]);
        let local = portals(&"localhost:3261".parse().unwrap(), &limit).await.unwrap();
        assert!(
            local
                .iter()
                .all(|portal| portal.address().is_some_and(|a| a.is_loopback()) && portal.port() == 3261)
        );
    }

    #[test]
    fn a_zone_is_an_interface_of_this_machine() {
        let SocketAddr::V6(address) = socket_address(&"[fe80::1%lo]:3260".parse().unwrap()).unwrap() else {
            panic!()
        };
        assert_eq!(address.scope_id(), 1);
        let fault = socket_address(&"[fe80::1%nosuch0]:3260".parse().unwrap()).unwrap_err();
        assert_eq!(fault.kind(), Kind::PortalUnreachable);
    }
}
