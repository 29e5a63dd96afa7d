//! Resolves host names to addresses, within a deadline, on threads of its own: the system's resolver
//! blocks for as long as name servers do not answer.
//! Must not resolve twice for one call. iscsid gets numeric addresses only, since it resolves in
//! its only thread.

use std::{
    io,
    net::{IpAddr, SocketAddr, SocketAddrV6, ToSocketAddrs as _},
    path::{Path, PathBuf},
};

use iscsi_initiator_dbus::{Fault, Kind, Portal, portal::Host};

use super::{bounded, limit::Limit, threads::NAMES};

/// A name has no more addresses than this.
const MOST: usize = 16;

/// What resolves host names.
#[derive(Clone, Debug)]
pub(crate) struct Resolver {
    /// A file in the format of hosts(5) that is read instead of asking the system, if it is there.
    hosts: Option<PathBuf>,
}

impl Resolver {
    pub(crate) fn new(hosts: Option<&Path>) -> Self {
        Self { hosts: hosts.map(Path::to_owned) }
    }

    /// The numeric portals that a portal stands for: itself, or the addresses that its name resolves
    /// to, each once (at most 16).
    pub(crate) async fn portals(&self, portal: &Portal, limit: &Limit) -> Result<Vec<Portal>, Fault> {
        let Host::Name(name) = portal.host() else { return Ok(vec![portal.clone()]) };
        let late = format!("timed out resolving the host name {name}");
        let lookup = {
            let (hosts, name) = (self.hosts.clone(), name.clone());
            move || match hosts.filter(|hosts| hosts.exists()) {
                Some(hosts) => in_file(&hosts, &name),
                None => (name.as_str(), 0).to_socket_addrs().map(|found| found.map(|at| at.ip()).collect()),
            }
        };
        let addresses = NAMES.run(limit, &late, lookup).await?.unwrap_or_default();
        // hosts(5) and name servers may have an address twice, also as a mapped one.
        let mut portals: Vec<Portal> = Vec::new();
        for address in addresses {
            match Portal::new(address, portal.port()) {
                Ok(portal) if !portals.contains(&portal) => portals.push(portal),
                _ => {}
            }
            if portals.len() == MOST {
                break;
            }
        }
        found(name, portals)
    }
}

fn in_file(hosts: &Path, name: &str) -> io::Result<Vec<IpAddr>> {
    let text = bounded::text(hosts, bounded::SMALL)?;
    let address = |line: &str| {
        let mut words = line.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word == name).then_some(address)
    };
    Ok(text.lines().filter_map(address).collect())
}

fn found(name: &str, found: Vec<Portal>) -> Result<Vec<Portal>, Fault> {
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
            let index = Path::new("/sys/class/net").join(zone).join("ifindex");
            let index = bounded::text(&index, bounded::SMALL).ok().and_then(|text| text.trim().parse().ok());
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
        let resolver = Resolver::new(None);
        assert_eq!(resolver.portals(&numeric, &limit).await.unwrap(), vec![numeric]);
        let local = resolver.portals(&"localhost:3261".parse().unwrap(), &limit).await.unwrap();
        assert!(
            local
                .iter()
                .all(|portal| portal.address().is_some_and(|a| a.is_loopback()) && portal.port() == 3261)
        );
    }

    #[tokio::test]
    async fn a_file_is_read_instead_if_it_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let resolver = Resolver::new(Some(&folder.path().join("hosts")));
        let limit = Limit::of(Duration::from_secs(5));
        let portals = async || resolver.portals(&"localhost:3261".parse().unwrap(), &limit).await;
        assert!(!portals().await.unwrap().is_empty(), "without it the system is asked");
        let dir = crate::backend::host::atomic::Dir::open(folder.path()).unwrap();
        dir.replace("hosts", b"192.0.2.1 other\n192.0.2.2 x localhost\nlocalhost\n", 0o644).unwrap();
        assert_eq!(portals().await.unwrap(), ["192.0.2.2:3261".parse().unwrap()]);
        // Each address once, in the order of the file.
        let twice =
            b"192.0.2.2 localhost\n192.0.2.1 localhost\n::ffff:192.0.2.2 localhost\n192.0.2.2 a localhost\n";
        dir.replace("hosts", twice, 0o644).unwrap();
        let expected = ["192.0.2.2:3261", "192.0.2.1:3261"].map(|portal| portal.parse().unwrap());
        assert_eq!(portals().await.unwrap(), expected);
        dir.replace("hosts", b"", 0o644).unwrap();
        assert_eq!(portals().await.unwrap_err().kind(), Kind::PortalUnreachable);
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
