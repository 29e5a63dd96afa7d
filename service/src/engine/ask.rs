//! Asks the target itself, through the probe: whether it would let us in, and what it lists.
//! It may not repeat a target's words, nor name a secret; what a refusal means is `explain`'s to say.

mod explain;

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result, portal::Host};
use tokio::time::Instant;

use iscsi_initiator_probe::{
    self as probe, Accepted, Algorithm, AuthKind, ChapAnswer, Found, Listing, Luns, Question, Refusal, Stage,
};

use super::Engine;
use crate::backend::{
    host::resolve,
    open_iscsi::database::{NodeKey, chap::Proofs},
};

/// More nodes than any gateway has: a hostile list must not fill the database.
const MOST_NODES: usize = 4096;

/// More host names than any gateway has: each is a question to a name server.
const MOST_NAMES: usize = 32;

/// A question to a portal, and all that its refusal is told with.
pub(super) struct Asked<'a> {
    initiator: &'a Iqn,
    target: Option<&'a Iqn>,
    portal: &'a Portal,
    address: SocketAddr,
    proofs: &'a Proofs,
    /// The network card that the node is bound to.
    card: Option<&'a str>,
}

/// What a portal offers, each name and address checked, each address a number.
pub(super) struct Listed {
    pub(super) nodes: Vec<NodeKey>,
    /// Where the portal sent us on to.
    pub(super) redirected: Option<Portal>,
}

impl<'a> Asked<'a> {
    /// About a target at a numeric portal, or with `None` about the portal.
    pub(super) fn new(
        initiator: &'a Iqn,
        target: Option<&'a Iqn>,
        portal: &'a Portal,
        proofs: &'a Proofs,
    ) -> Result<Self> {
        Ok(Self { initiator, target, portal, address: resolve::socket_address(portal)?, proofs, card: None })
    }

    /// The same through a network card.
    pub(super) fn through(self, card: Option<&'a str>) -> Self {
        Self { card, ..self }
    }

    /// Whether the target would let us in: with the digests that iscsid would offer, or with one of the others
    /// if the target takes none of these.
    pub(super) async fn login(&self, deadline: Instant) -> std::result::Result<Accepted, Refusal> {
        match probe::login(self.address, &self.question(&self.proofs.algorithms), deadline).await {
            Err(refusal) if self.may_take_another(&refusal) => {
                let again = probe::login(self.address, &self.question(&self.others()), deadline).await;
                unless_the_same(refusal, again)
            }
            answer => answer,
        }
    }

    /// What the portal lists; likewise.
    pub(super) async fn list(&self, deadline: Instant) -> std::result::Result<Listing, Refusal> {
        match probe::send_targets(self.address, &self.question(&self.proofs.algorithms), deadline).await {
            Err(refusal) if self.may_take_another(&refusal) => {
                let again = probe::send_targets(self.address, &self.question(&self.others()), deadline).await;
                unless_the_same(refusal, again)
            }
            answer => answer,
        }
    }

    fn may_take_another(&self, refusal: &Refusal) -> bool {
        is_about_digests(refusal) && !self.others().is_empty()
    }

    /// The digests that were not offered yet.
    fn others(&self) -> Vec<Algorithm> {
        let offered = &self.proofs.algorithms;
        Algorithm::ALL.into_iter().filter(|algorithm| !offered.contains(algorithm)).collect()
    }

    /// Which LUNs the target shows us, after it let us in.
    pub(super) async fn luns(
        &self,
        accepted: &Accepted,
        deadline: Instant,
    ) -> std::result::Result<Luns, Refusal> {
        let taken = match accepted.authenticated {
            AuthKind::OneWay(taken) | AuthKind::Mutual(taken) => vec![taken],
            AuthKind::None => self.proofs.algorithms.clone(),
        };
        probe::luns(self.address, &self.question(&taken), deadline).await
    }

    /// Whether the portal lists the target, asked without credentials; `None` if it does not tell.
    pub(super) async fn is_listed(&self, target: &Iqn, deadline: Instant) -> Option<bool> {
        let nothing = Proofs::with(None);
        let asked = Asked { target: None, proofs: &nothing, ..*self };
        let listing = asked.list(deadline).await.ok()?;
        Some(listing.nodes.iter().any(|found| found.target == *target))
    }

    fn question<'q>(&'q self, algorithms: &'q [Algorithm]) -> Question<'q> {
        let chap = self.proofs.chap.as_ref().map(|chap| ChapAnswer {
            username: &chap.username,
            secret: &chap.secret,
            target: chap.target.as_ref().map(|(name, secret)| (name.as_str(), secret)),
        });
        Question { initiator: self.initiator, target: self.target, chap, algorithms, card: self.card }
    }
}

/// The target was offered digests and saw nothing else yet. LIO, which shares none of them, says 02/01
/// (iscsi_target_auth.c, `chap_server_open`), and the same of an initiator that it has no secret for.
fn is_about_digests(refusal: &Refusal) -> bool {
    matches!(
        refusal,
        Refusal::NoCommonAlgorithm | Refusal::Status { class: 2, detail: 1, stage: Stage::Challenge }
    )
}

/// A target that refuses whatever is offered refuses something else.
fn unless_the_same<T>(
    first: Refusal,
    again: std::result::Result<T, Refusal>,
) -> std::result::Result<T, Refusal> {
    match again {
        Err(refusal) if is_about_digests(&refusal) => Err(first),
        answer => answer,
    }
}

/// The digest that a target took, if iscsid would not offer it to this node.
pub(super) fn to_adopt(accepted: &Accepted, proofs: &Proofs) -> Option<Algorithm> {
    match accepted.authenticated {
        AuthKind::OneWay(taken) | AuthKind::Mutual(taken) => {
            (!proofs.algorithms.contains(&taken)).then_some(taken)
        }
        AuthKind::None => None,
    }
}

impl Engine {
    /// Whether the target would let us in at this node; `Err` says why not and what to do.
    pub(super) async fn ask_login(
        &self,
        node: &NodeKey,
        card: Option<&str>,
        initiator: &Iqn,
        proofs: &Proofs,
        deadline: Instant,
    ) -> Result<Accepted> {
        let asked = Asked::new(initiator, Some(&node.target), &node.portal, proofs)?.through(card);
        let refusal = match asked.login(deadline).await {
            Ok(accepted) => return Ok(accepted),
            Err(refusal) => refusal,
        };
        // LIO says "service unavailable" of a target it does not have: its list of targets decides.
        if matches!(refusal, Refusal::Status { class: 3, detail: 1, .. })
            && asked.is_listed(&node.target, deadline).await == Some(false)
        {
            return Err(asked.not_listed(&node.target));
        }
        Err(asked.fault(&refusal))
    }

    /// The nodes that a portal lists. `proofs` are tried in their order: the next only where the portal asks
    /// for CHAP and does not take the one before.
    pub(super) async fn ask_targets(
        &self,
        portal: &Portal,
        card: Option<&str>,
        initiator: &Iqn,
        proofs: &[&Proofs],
        deadline: Instant,
    ) -> Result<Listed> {
        let mut last = Fault::new(Kind::Failed, "nothing was asked");
        for proofs in proofs {
            let asked = Asked::new(initiator, None, portal, proofs)?.through(card);
            match asked.list(deadline).await {
                Ok(listing) => return numeric_nodes(listing, portal, deadline).await,
                Err(refusal) => last = asked.fault(&refusal),
            }
            if last.kind() != Kind::ChapRejected {
                break;
            }
        }
        Err(last)
    }
}

async fn numeric_nodes(listing: Listing, portal: &Portal, deadline: Instant) -> Result<Listed> {
    if listing.refused > 0 {
        tracing::warn!(%portal, refused = listing.refused, "the portal listed names or addresses that are none");
    }
    let mut nodes = Vec::new();
    let mut names: BTreeSet<String> = BTreeSet::new();
    for found in listing.nodes {
        if let Host::Name(name) = &found.host {
            names.insert(name.clone());
            if names.len() > MOST_NAMES {
                let what = format!("{portal} lists its targets at more than {MOST_NAMES} host names");
                return Err(Fault::new(Kind::TargetRejected, what)
                    .hint("have the gateway list addresses instead of names"));
            }
        }
        match numeric(&found, portal, deadline).await {
            Ok(found_portals) => nodes.extend(found_portals.into_iter().map(|portal| NodeKey {
                target: found.target.clone(),
                portal,
                tpgt: Some(found.tpgt.unwrap_or(1)),
                iface: "default".to_owned(),
            })),
            Err(fault) => {
                tracing::warn!(%portal, error = fault.message(), "a listed address is left out")
            }
        }
        if nodes.len() > MOST_NODES {
            let what = format!("{portal} lists more than {MOST_NODES} nodes");
            return Err(Fault::new(Kind::TargetRejected, what));
        }
    }
    Ok(Listed { nodes, redirected: listing.accepted.redirected.map(|redirect| redirect.to) })
}

/// The numeric portals of a listed node; a link-local address is in the zone of the portal asked.
async fn numeric(found: &Found, asked: &Portal, deadline: Instant) -> Result<Vec<Portal>> {
    let text = match (&found.host, asked.zone()) {
        (Host::Address(address @ IpAddr::V6(v6), None), Some(zone)) if v6.is_unicast_link_local() => {
            format!("[{address}%{zone}]:{}", found.port)
        }
        (host @ Host::Address(IpAddr::V6(_), _), _) => format!("[{host}]:{}", found.port),
        (host, _) => format!("{host}:{}", found.port),
    };
    let portal: Portal =
        text.parse().map_err(|why| Fault::new(Kind::Failed, format!("a listed address: {why}")))?;
    let mut portals = resolve::portals(&portal, deadline).await?;
    // The probe refuses our own loopback where it is a number; a name may stand for it too.
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
        let deadline = Instant::now() + std::time::Duration::from_secs(5);
        assert_eq!(numeric(&found, &"192.0.2.21".parse().unwrap(), deadline).await.unwrap(), []);
        assert!(!numeric(&found, &"127.0.0.1".parse().unwrap(), deadline).await.unwrap().is_empty());
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
}
