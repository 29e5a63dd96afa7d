//! Contacts the target through the probe: would it accept a login, and what does it list? Never
//! repeats text that a target sent.
//!
//! | room | what it is |
//! |---|---|
//! | `addresses` | all addresses of a host name, asked in parallel |
//! | `asked` | a request to a portal, with everything that its error message needs |
//! | `credentials` | what was proven, and the command that sets it |
//! | `explain` | turns a refusal into the contract's error |
//! | `left_out` | what a list has and cannot be used |
//! | `status` | login statuses in words |

pub(super) mod addresses;
pub(super) mod asked;
mod credentials;
mod explain;
pub(super) mod left_out;
mod status;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result, portal::Host};
use iscsi_initiator_probe::{Accepted, Algorithm, AuthKind, Listing, LongList, Place, Refusal};
use tokio::task::JoinSet;

use self::{
    asked::Asked,
    left_out::{LeftOut, too_long},
};
use crate::backend::{
    host::{limit::Limit, resolve::Resolver},
    open_iscsi::database::{NodeKey, chap::Proofs, nodes::MOST_PORTALS},
};

/// As many nodes as are recorded at most.
const MOST_NODES: usize = 20_000;

/// More host names than any gateway has: each one costs a request to a name server.
const MOST_NAMES: usize = 32;

/// What a portal offers, with every name and address checked and every address numeric.
pub(super) struct Listed {
    pub(super) nodes: Vec<NodeKey>,
    pub(super) left_out: LeftOut,
    /// Where the portal redirected us to.
    pub(super) redirected: Option<Portal>,
    /// The place of a long list, until the call has been answered.
    pub(super) place: Option<LongList>,
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
    if matches!(refusal.cause(), Refusal::Status { class: 3, detail: 1, .. })
        && asked.is_listed(&node.target, limit).await == Some(false)
    {
        return Err(asked.not_listed(&node.target));
    }
    Err(unless_cancelled(limit, asked.fault(&refusal)))
}

/// The nodes that a portal lists, or those of some targets alone. Tries `proofs` in order: the next one only if the portal asks for
/// CHAP and rejects the one before.
pub(super) async fn ask_targets(
    resolver: &Resolver,
    portal: &Portal,
    interface: Option<&str>,
    initiator: &Iqn,
    named: &[Iqn],
    proofs: &[&Proofs],
    limit: &Limit,
) -> Result<Listed> {
    let mut last = Fault::new(Kind::Failed, "nothing was asked");
    for proofs in proofs {
        let asked = Asked::new(initiator, None, portal, proofs)?.through(interface);
        match asked.list(named, limit).await {
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
    let names = resolved(resolver, &listing, portal, limit).await?;
    let mut left_out = LeftOut::of(listing.left_out);
    let mut nodes = Vec::new();
    let mut at: BTreeMap<Iqn, BTreeSet<Portal>> = BTreeMap::new();
    for found in listing.nodes {
        let (target, tpgt) = (&found.target, Some(found.tpgt.unwrap_or(1)));
        let portals = match &found.host {
            Host::Name(name) => {
                let portals = names.get(&(name.clone(), found.port)).cloned().unwrap_or_default();
                if portals.is_empty() {
                    left_out.add(target, Place::Name(name.clone(), found.port));
                }
                portals
            }
            Host::Address(..) => numeric(resolver, &found.host, found.port, portal, limit).await?,
        };
        let there = at.entry(target.clone()).or_default();
        there.extend(portals.iter().cloned());
        if there.len() > MOST_PORTALS {
            return Err(too_long(portal, &format!("{target} at more than {MOST_PORTALS} portals")));
        }
        nodes.extend(portals.into_iter().map(|portal| NodeKey {
            target: target.clone(),
            portal,
            tpgt,
            iface: "default".to_owned(),
            spelled: None,
        }));
        if nodes.len() > MOST_NODES {
            return Err(too_long(portal, &format!("more than {MOST_NODES} nodes")));
        }
    }
    left_out.keep_unreachable(nodes.iter().map(|node| &node.target));
    if let Some((left_out, _)) = left_out.remark(portal) {
        tracing::warn!("{left_out}");
    }
    let redirected = listing.accepted.redirected.map(|redirect| redirect.to);
    Ok(Listed { nodes, left_out, redirected, place: listing.place })
}

/// The portals of each listed host name, all of them asked at the same time, once each. One that
/// cannot be resolved has none, and leaves time for what is to be done with the others.
async fn resolved(
    resolver: &Resolver,
    listing: &Listing,
    asked: &Portal,
    limit: &Limit,
) -> Result<BTreeMap<(String, u16), Vec<Portal>>> {
    let names: BTreeSet<(String, u16)> = listing
        .nodes
        .iter()
        .filter_map(|found| match &found.host {
            Host::Name(name) => Some((name.clone(), found.port)),
            Host::Address(..) => None,
        })
        .collect();
    if names.len() > MOST_NAMES {
        return Err(too_long(asked, &format!("its targets at more than {MOST_NAMES} host names")));
    }
    let limit = limit.at_most(limit.left() / 2);
    let mut lookups = JoinSet::new();
    for (name, port) in names {
        let (resolver, asked, limit) = (resolver.clone(), asked.clone(), limit.clone());
        lookups.spawn(async move {
            let portals = numeric(&resolver, &Host::Name(name.clone()), port, &asked, &limit).await;
            ((name, port), portals.unwrap_or_default())
        });
    }
    Ok(lookups.join_all().await.into_iter().collect())
}

/// The numeric portals of a listed address. A link-local address is in the zone of the portal that
/// listed it.
async fn numeric(
    resolver: &Resolver,
    host: &Host,
    port: u16,
    asked: &Portal,
    limit: &Limit,
) -> Result<Vec<Portal>> {
    let text = match (host, asked.zone()) {
        (Host::Address(address @ IpAddr::V6(v6), None), Some(zone)) if v6.is_unicast_link_local() => {
            format!("[{address}%{zone}]:{port}")
        }
        (Host::Address(IpAddr::V6(_), _), _) => format!("[{host}]:{port}"),
        (host, _) => format!("{host}:{port}"),
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
    use iscsi_initiator_probe::{self as probe, Found};

    use super::*;

    #[tokio::test]
    async fn a_name_for_our_own_loopback_leads_there_from_the_loopback_only() {
        let host = Host::Name("localhost".into());
        let limit = Limit::of(std::time::Duration::from_secs(5));
        let resolver = Resolver::new(None);
        let seen_from =
            async |here: &str| numeric(&resolver, &host, 22, &here.parse().unwrap(), &limit).await;
        assert_eq!(seen_from("192.0.2.21").await.unwrap(), []);
        assert!(!seen_from("127.0.0.1").await.unwrap().is_empty());
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
            left_out: probe::LeftOut::default(),
            accepted: Accepted { tpgt: None, authenticated: AuthKind::None, redirected: None },
            place: None,
        };
        let (portal, limit) = ("127.0.0.1".parse().unwrap(), Limit::of(std::time::Duration::from_secs(30)));
        let most = listing((1..=64).map(at).collect());
        assert_eq!(numeric_nodes(&Resolver::new(None), most, &portal, &limit).await.unwrap().nodes.len(), 64);
        // One more by name.
        let mut nodes: Vec<Found> = (1..=64).map(at).collect();
        nodes.push(found(Host::Name("localhost".into())));
        let fault = numeric_nodes(&Resolver::new(None), listing(nodes), &portal, &limit).await.err().unwrap();
        assert_eq!(fault.kind(), Kind::Failed);
        assert!(fault.message().contains("more than 64 portals, and this service"), "{fault}");
    }

    #[tokio::test]
    async fn a_name_that_leads_nowhere_is_left_out_and_the_others_stay() {
        let (one, two): (Iqn, Iqn) =
            ("iqn.2001-04.com.example:1".parse().unwrap(), "iqn.2001-04.com.example:2".parse().unwrap());
        let found = |target: &Iqn, host| Found { target: target.clone(), host, port: 3260, tpgt: None };
        let named = |name: &str| Host::Name(name.to_owned());
        let listing = Listing {
            nodes: vec![
                found(&one, named("no-such-host.invalid")),
                found(&one, Host::Address([192, 0, 2, 1].into(), None)),
                found(&two, named("no-such-host.invalid")),
                found(&two, named("localhost")),
            ],
            left_out: probe::LeftOut::default(),
            accepted: Accepted { tpgt: None, authenticated: AuthKind::None, redirected: None },
            place: None,
        };
        let folder = tempfile::tempdir().unwrap();
        let dir = crate::backend::host::atomic::Dir::open(folder.path()).unwrap();
        dir.replace("hosts", b"127.0.0.1 localhost\n", 0o644).unwrap();
        let resolver = Resolver::new(Some(&folder.path().join("hosts")));
        let (portal, limit) = ("192.0.2.21".parse().unwrap(), Limit::of(std::time::Duration::from_secs(30)));
        let listed = numeric_nodes(&resolver, listing, &portal, &limit).await.unwrap();
        let nodes: Vec<String> = listed.nodes.iter().map(|node| node.portal.to_string()).collect();
        assert_eq!(nodes, ["192.0.2.1:3260"]);
        let fault = listed.left_out.fault(&two, &portal).unwrap();
        assert!(fault.message().contains("no-such-host.invalid:3260, a host name without"), "{fault}");
        assert!(!listed.left_out.has(&one));
    }
}
