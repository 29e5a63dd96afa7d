//! Asks the target itself, through the probe, and puts its refusals into the contract's errors.
//! It may not repeat a target's words, nor name a secret: what was seen, and the next step.

use std::net::IpAddr;

use iscsi_initiator_dbus::{Fault, Iqn, Kind, Portal, fault::Result, portal::Host};
use tokio::time::Instant;

use super::{ChapSecrets, Engine};
use crate::{
    backend::{database::NodeKey, resolve},
    probe::{self, Algorithm, ChapAnswer, Found, MutualFault, Question, Refusal, Stage},
};

/// More nodes than any gateway has: a hostile list must not fill the database.
const MOST_NODES: usize = 4096;

/// What a refusal is told with.
struct Asked<'a> {
    initiator: &'a Iqn,
    target: Option<&'a Iqn>,
    portal: &'a Portal,
    chap: Option<&'a ChapSecrets>,
}

impl Engine {
    /// Whether the target would let us in at this node; `Err` says why not and what to do.
    pub(super) async fn ask_login(
        &self,
        node: &NodeKey,
        initiator: &Iqn,
        chap: Option<&ChapSecrets>,
        deadline: Instant,
    ) -> Result<()> {
        let address = resolve::socket_address(&node.portal)?;
        let asked = Asked { initiator, target: Some(&node.target), portal: &node.portal, chap };
        let refusal = match probe::login(address, &asked.question(), deadline).await {
            Ok(_) => return Ok(()),
            Err(refusal) => refusal,
        };
        // LIO says "service unavailable" of a target it does not have: its list of targets decides.
        if matches!(refusal, Refusal::Status { class: 3, detail: 1, .. }) {
            let asked = Asked { target: None, chap: None, ..asked };
            if let Ok(listing) = probe::send_targets(address, &asked.question(), deadline).await
                && !listing.nodes.iter().any(|found| found.target == node.target)
            {
                return Err(not_found(&node.target, &node.portal));
            }
        }
        Err(asked.fault(&refusal))
    }

    /// The nodes that a portal lists, each name and address checked.
    pub(super) async fn ask_targets(
        &self,
        portal: &Portal,
        initiator: &Iqn,
        chap: Option<&ChapSecrets>,
        deadline: Instant,
    ) -> Result<Vec<NodeKey>> {
        let address = resolve::socket_address(portal)?;
        let asked = Asked { initiator, target: None, portal, chap };
        let listing = probe::send_targets(address, &asked.question(), deadline)
            .await
            .map_err(|refusal| asked.fault(&refusal))?;
        if listing.refused > 0 {
            tracing::warn!(%portal, refused = listing.refused, "the portal listed names or addresses that are none");
        }
        let mut nodes = Vec::new();
        for found in listing.nodes {
            match numeric(&found, portal, deadline).await {
                Ok(found_portals) => nodes.extend(found_portals.into_iter().map(|portal| NodeKey {
                    target: found.target.clone(),
                    portal,
                    tpgt: found.tpgt.unwrap_or(1),
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
        Ok(nodes)
    }
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

fn not_found(target: &Iqn, portal: &Portal) -> Fault {
    Fault::new(
        Kind::TargetNotFound,
        format!("{portal} does not offer the target {target}: it does not have it, or has it disabled"),
    )
    .hint(format!("see what it has: iscsictl discover {portal}"))
}

impl Asked<'_> {
    fn question(&self) -> Question<'_> {
        let chap = self.chap.map(|chap| ChapAnswer {
            username: &chap.username,
            secret: &chap.secret,
            target: chap.target.as_ref().map(|(name, secret)| (name.as_str(), secret)),
        });
        Question { initiator: self.initiator, target: self.target, chap, algorithms: Algorithm::DEFAULT }
    }

    fn fault(&self, refusal: &Refusal) -> Fault {
        let portal = self.portal;
        let told = |kind, what: &str| Fault::new(kind, format!("{portal}: {what}"));
        match refusal {
            Refusal::Status { class, detail, stage } => self.status(*class, *detail, *stage),
            Refusal::ChapRequired => self.chap_missing(),
            Refusal::MutualFailed(why) => self.mutual(*why),
            Refusal::NoCommonMethod | Refusal::NoCommonAlgorithm => {
                told(Kind::TargetRejected, &refusal.to_string()).hint("this service offers CHAP with MD5")
            }
            Refusal::Refused | Refusal::NoRoute => told(Kind::PortalUnreachable, &refusal.to_string()).hint(
                format!("check the address and the port, and that the gateway serves iSCSI at {portal}"),
            ),
            Refusal::TimedOut { .. } => told(Kind::TimedOut, &refusal.to_string())
                .hint("check the network and any firewall on the way"),
            Refusal::NotIscsi => told(Kind::PortalUnreachable, &refusal.to_string()).hint("check the port"),
            Refusal::Question(_) => Fault::new(Kind::InvalidConfiguration, refusal.to_string()),
            Refusal::System(_) => told(Kind::Failed, &refusal.to_string()),
            Refusal::Redirected { .. } => told(Kind::TargetRejected, &refusal.to_string())
                .hint("discover the portal that it names and log in there"),
            Refusal::Closed { .. } | Refusal::Rejected { .. } | Refusal::Protocol(_) => {
                told(Kind::TargetRejected, &refusal.to_string())
            }
        }
    }

    /// RFC 7143, section 11.13.5.
    fn status(&self, class: u8, detail: u8, stage: Stage) -> Fault {
        let (portal, initiator) = (self.portal, self.initiator);
        let seen = format!("(login status {class:02x}/{detail:02x})");
        match (class, detail) {
            (2, 1) if self.chap.is_none() => self.chap_missing(),
            (2, 1) if stage != Stage::Proof => Fault::new(
                Kind::ChapRejected,
                format!("{portal} refused authentication before it saw a secret {seen}: it may have none for this initiator"),
            )
            .hint(format!("ask the gateway's administrator for CHAP of {initiator}")),
            (2, 1) => {
                let user = self.chap.map_or("", |chap| chap.username.as_str());
                // tgt answers so, too, to mutual CHAP that it does not have.
                let is_mutual = self.chap.is_some_and(|chap| chap.target.is_some());
                let or_mutual = if is_mutual { ", or has no mutual CHAP for it" } else { "" };
                Fault::new(Kind::ChapRejected, format!("{portal} rejected the CHAP user {user:?} or its secret{or_mutual} {seen}"))
                    .hint(format!("set both again: {}", self.with_chap()))
            }
            (2, 2) => Fault::new(
                Kind::InitiatorNotAllowed,
                format!("{portal} does not know the initiator name {initiator}, or does not let it in {seen}"),
            )
            .hint(
                "set the name that the gateway has: iscsictl initiator-name NAME, or have this one added there",
            ),
            (2, 3 | 4) => match self.target {
                Some(target) => not_found(target, portal),
                None => Fault::new(Kind::TargetNotFound, format!("{portal} refuses discovery {seen}")),
            },
            (3, _) => Fault::new(Kind::TargetUnavailable, format!("{portal} cannot serve the target now {seen}"))
                .hint("the target may be disabled or starting: ask the gateway's administrator, or try again later"),
            _ => Fault::new(Kind::TargetRejected, format!("{portal} refused the login {seen}")),
        }
    }

    /// The command that takes CHAP for what was asked: a discovery has its own.
    fn with_chap(&self) -> String {
        match self.target {
            Some(target) => format!("iscsictl set-chap {target} --user NAME"),
            None => format!("iscsictl discover {} --user NAME", self.portal),
        }
    }

    fn chap_missing(&self) -> Fault {
        Fault::new(Kind::ChapRejected, format!("{} asks for CHAP, and none is set", self.portal))
            .hint(format!("set user name and secret: {}", self.with_chap()))
    }

    fn mutual(&self, why: MutualFault) -> Fault {
        let hint = match why {
            MutualFault::SameSecret => {
                "mutual CHAP needs two different secrets: set them with iscsictl set-chap"
            }
            MutualFault::NotOffered => {
                "the gateway has no mutual CHAP for this initiator: have it added, or set one-way CHAP"
            }
            MutualFault::WrongSecret | MutualFault::WrongName => {
                "set the target's user name and secret again, or suspect that this is not your gateway"
            }
            MutualFault::Reflected => "this is not your gateway: somebody is in between",
        };
        Fault::new(Kind::MutualChapFailed, format!("{}: the target did not prove itself: {why}", self.portal))
            .hint(hint)
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::Secret;

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
    fn each_refusal_is_its_own_error_with_a_next_step() {
        let (initiator, target): (Iqn, Iqn) =
            ("iqn.2001-04.com.example:me".parse().unwrap(), "iqn.2001-04.com.example:disk".parse().unwrap());
        let portal: Portal = "192.0.2.21".parse().unwrap();
        let chap = ChapSecrets {
            username: "libvirtd".into(),
            secret: Secret::new("mypassword12".into()).unwrap(),
            target: None,
        };
        let asked = |chap| Asked { initiator: &initiator, target: Some(&target), portal: &portal, chap };
        let status = |class, detail, stage| Refusal::Status { class, detail, stage };
        for (refusal, chap, kind, words) in [
            (status(2, 1, Stage::Proof), Some(&chap), Kind::ChapRejected, "libvirtd"),
            (status(2, 1, Stage::Greeting), None, Kind::ChapRejected, "none is set"),
            (status(2, 1, Stage::Challenge), Some(&chap), Kind::ChapRejected, "before it saw a secret"),
            (
                status(2, 2, Stage::Greeting),
                Some(&chap),
                Kind::InitiatorNotAllowed,
                "iqn.2001-04.com.example:me",
            ),
            (
                status(2, 3, Stage::Greeting),
                Some(&chap),
                Kind::TargetNotFound,
                "iqn.2001-04.com.example:disk",
            ),
            (status(3, 1, Stage::Greeting), Some(&chap), Kind::TargetUnavailable, "03/01"),
            (status(2, 5, Stage::Greeting), Some(&chap), Kind::TargetRejected, "02/05"),
            (Refusal::ChapRequired, None, Kind::ChapRejected, "none is set"),
            (
                Refusal::MutualFailed(MutualFault::WrongSecret),
                Some(&chap),
                Kind::MutualChapFailed,
                "prove itself",
            ),
            (Refusal::Refused, None, Kind::PortalUnreachable, "192.0.2.21:3260"),
            (Refusal::TimedOut { stage: Stage::Connect }, None, Kind::TimedOut, "connecting"),
            (Refusal::NotIscsi, None, Kind::PortalUnreachable, "iSCSI"),
        ] {
            let fault = asked(chap).fault(&refusal);
            assert_eq!(fault.kind(), kind, "{refusal:?}");
            assert!(fault.message().contains(words), "{fault}");
            assert!(!fault.to_string().contains("mypassword12"), "{fault}");
            assert!(
                kind == Kind::TargetRejected || !fault.next_step().is_empty(),
                "{refusal:?} has no next step"
            );
        }
    }
}
