//! Contacts the target through the probe: would it accept a login, and what does it list? Never
//! repeats text that a target sent.
//!
//! | room | what it is |
//! |---|---|
//! | `asked` | a request to a portal, with everything that its error message needs |
//! | `explain` | turns a refusal into the contract's error |

pub(super) mod asked;
mod explain;

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::IpAddr,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result, portal::Host};
use iscsi_initiator_probe::{Accepted, Algorithm, AuthKind, Found, Listing, Refusal};

use self::asked::Asked;
use crate::backend::{
    host::{limit::Limit, resolve::Resolver},
    open_iscsi::database::{NodeKey, chap::Proofs, nodes::MOST_PORTALS},
};

/// More nodes than any gateway has: a hostile list must not fill the database.
const MOST_NODES: usize = 4096;

/// More host names than any gateway has: each one costs a request to a name server.
const MOST_NAMES: usize = 32;

/// What a portal offers, with every name and address checked and every address numeric.
pub(super) struct Listed {
    pub(super) nodes: Vec<NodeKey>,
    /// Where the portal redirected us to.
    pub(super) redirected: Option<Portal>,
}

/// The digest that a target accepted, if iscsid would not offer it to this node.
pub(super) fn to_adopt(accepted: &Accepted, proofs: &Proofs) -> Option<Algorithm> {
    match accepted.authenticated {
        AuthKind::OneWay(taken) | AuthKind::Mutual(taken) => {
            (!proofs.algorithms.contains(&taken)).then_some(taken)
        }
        AuthKind::None => None,
    }
}

/// Whether the target would accept a login at this node. `Err` holds the reason and the next step.
pub(super) async fn ask_login(
    node: &NodeKey,
    interface: Option<&str>,
    initiator: &Iqn,
    proofs: &Proofs,
    limit: &Limit,
) -> Result<Accepted> {
    let asked = Asked::new(initiator, Some(&node.target), &node.portal, proofs)?.through(interface);
    let refusal = match asked.login(limit).await {
        Ok(accepted) => return Ok(accepted),
        Err(refusal) => refusal,
    };
    // LIO reports "service unavailable" for a target that it does not have: its list of targets
    // decides.
    if matches!(refusal, Refusal::Status { class: 3, detail: 1, .. })
        && asked.is_listed(&node.target, limit).await == Some(false)
    {
        return Err(asked.not_listed(&node.target));
    }
    Err(unless_cancelled(limit, asked.fault(&refusal)))
}

/// The nodes that a portal lists. Tries `proofs` in order: the next one only if the portal asks for
/// CHAP and rejects the one before.
pub(super) async fn ask_targets(
    resolver: &Resolver,
    portal: &Portal,
    interface: Option<&str>,
    initiator: &Iqn,
    proofs: &[&Proofs],
    limit: &Limit,
) -> Result<Listed> {
    let mut last = Fault::new(Kind::Failed, "nothing was asked");
    for proofs in proofs {
        let asked = Asked::new(initiator, None, portal, proofs)?.through(interface);
        match asked.list(limit).await {
            Ok(listing) => return numeric_nodes(resolver, listing, portal, limit).await,
            Err(refusal) => last = unless_cancelled(limit, asked.fault(&refusal)),
        }
        if last.kind() != Kind::ChapRejected {
            break;
        }
    }
    Err(last)
}

fn unless_cancelled(limit: &Limit, fault: Fault) -> Fault {
    if limit.is_cancelled() { limit.fault("") } else { fault }
}

async fn numeric_nodes(
    resolver: &Resolver,
    listing: Listing,
    portal: &Portal,
    limit: &Limit,
) -> Result<Listed> {
    if listing.refused > 0 {
        tracing::warn!(
            %portal, refused = listing.refused,
            "the portal listed malformed target names or addresses"
        );
    }
    let mut nodes = Vec::new();
    let mut at: BTreeMap<Iqn, BTreeSet<Portal>> = BTreeMap::new();
    // Each name is resolved once, however many targets are listed at it.
    let mut names: BTreeMap<(String, u16), Result<Vec<Portal>>> = BTreeMap::new();
    for found in listing.nodes {
        if let Host::Name(name) = &found.host {
            let place = (name.clone(), found.port);
            if !names.contains_key(&place) && names.len() >= MOST_NAMES {
                let what = format!("{portal} lists its targets at more than {MOST_NAMES} host names");
                return Err(Fault::new(Kind::TargetRejected, what)
                    .hint("have the gateway list addresses instead of names"));
            }
        }
        let portals = match &found.host {
            Host::Name(name) => match names.entry((name.clone(), found.port)) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(new) => new.insert(numeric(resolver, &found, portal, limit).await).clone(),
            },
            Host::Address(..) => numeric(resolver, &found, portal, limit).await,
        };
        let portals = portals
            .inspect(|portals| at.entry(found.target.clone()).or_default().extend(portals.iter().cloned()));
        if at.get(&found.target).is_some_and(|at| at.len() > MOST_PORTALS) {
            let what = format!("{portal} lists {} at more than {MOST_PORTALS} portals", found.target);
            return Err(Fault::new(Kind::TargetRejected, what));
        }
        match portals {
            Ok(found_portals) => nodes.extend(found_portals.into_iter().map(|portal| NodeKey {
                target: found.target.clone(),
                portal,
                tpgt: Some(found.tpgt.unwrap_or(1)),
                iface: "default".to_owned(),
                spelled: None,
            })),
            Err(fault) => {
                tracing::warn!(%portal, error = fault.message(), "a listed address is skipped")
            }
        }
        if nodes.len() > MOST_NODES {
            let what = format!("{portal} lists more than {MOST_NODES} nodes");
            return Err(Fault::new(Kind::TargetRejected, what));
        }
    }
    Ok(Listed { nodes, redirected: listing.accepted.redirected.map(|redirect| redirect.to) })
}

/// The numeric portals of a listed node. A link-local address is in the zone of the portal that
/// listed it.
async fn numeric(resolver: &Resolver, found: &Found, asked: &Portal, limit: &Limit) -> Result<Vec<Portal>> {
    let text = match (&found.host, asked.zone()) {
        (Host::Address(address @ IpAddr::V6(v6), None), Some(zone)) if v6.is_unicast_link_local() => {
            format!("[{address}%{zone}]:{}", found.port)
        }
        (host @ Host::Address(IpAddr::V6(_), _), _) => format!("[{host}]:{}", found.port),
        (host, _) => format!("{host}:{}", found.port),
    };
    let portal: Portal =
        text.parse().map_err(|why| Fault::new(Kind::Failed, format!("a listed address: {why}")))?;
    let mut portals = resolver.portals(&portal, limit).await?;
    // The probe rejects a numeric loopback address; a host name may also stand for one.
    let is_loopback =
        |portal: &Portal| portal.address().is_some_and(|address| address.to_canonical().is_loopback());
    portals.retain(|portal| is_loopback(asked) || !is_loopback(portal));
    Ok(portals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_for_our_own_loopback_leads_there_from_the_loopback_only() {
        let found = Found {
            target: "iqn.2001-04.com.example:disk".parse().unwrap(),
            host: Host::Name("localhost".into()),
            port: 22,
            tpgt: None,
        };
        let limit = Limit::of(std::time::Duration::from_secs(5));
        let resolver = Resolver::new(None);
        assert_eq!(numeric(&resolver, &found, &"192.0.2.21".parse().unwrap(), &limit).await.unwrap(), []);
        assert!(!numeric(&resolver, &found, &"127.0.0.1".parse().unwrap(), &limit).await.unwrap().is_empty());
    }

    #[test]
    fn a_digest_is_adopted_only_if_iscsid_would_not_offer_it() {
        let accepted = |authenticated| Accepted { tpgt: None, authenticated, redirected: None };
        let proofs = Proofs::with(None);
        assert_eq!(to_adopt(&accepted(AuthKind::OneWay(Algorithm::Md5)), &proofs), None);
        assert_eq!(to_adopt(&accepted(AuthKind::None), &proofs), None);
        let sha = Some(Algorithm::Sha256);
        assert_eq!(to_adopt(&accepted(AuthKind::Mutual(Algorithm::Sha256)), &proofs), sha);
    }

    #[tokio::test]
    async fn a_target_at_more_portals_than_the_limit_is_refused_with_its_list() {
        let target: Iqn = "iqn.2001-04.com.example:disk".parse().unwrap();
        let found = |host: Host| Found { target: target.clone(), host, port: 3260, tpgt: None };
        let at = |number: u8| found(Host::Address([192, 0, 2, number].into(), None));
        let listing = |nodes: Vec<Found>| Listing {
            nodes,
            refused: 0,
            accepted: Accepted { tpgt: None, authenticated: AuthKind::None, redirected: None },
        };
        let (portal, limit) = ("127.0.0.1".parse().unwrap(), Limit::of(std::time::Duration::from_secs(30)));
        let most = listing((1..=64).map(at).collect());
        assert_eq!(numeric_nodes(&Resolver::new(None), most, &portal, &limit).await.unwrap().nodes.len(), 64);
        // One more by name.
        let mut nodes: Vec<Found> = (1..=64).map(at).collect();
        nodes.push(found(Host::Name("localhost".into())));
        let fault = numeric_nodes(&Resolver::new(None), listing(nodes), &portal, &limit).await.err().unwrap();
        assert_eq!(fault.kind(), Kind::TargetRejected);
        assert!(fault.message().contains("more than 64 portals"), "{fault}");
    }
}
