//! One portal is asked: what it lists, whether it lets us in, which LUNs it shows; and what this machine has of it.
//! It may not send a secret to a portal that it is not recorded for, nor judge: that is `exchange`'s.

use iscsi_initiator_dbus::{Fault, Iqn, Portal, fault::Result, results::Check};
use iscsi_initiator_probe::{Accepted, Listing, Luns, Refusal};

use super::{
    super::{Engine, ask::Asked, blocking},
    Subject, exchange,
    report::Report,
};
use crate::backend::{
    kernel::sysfs::Session,
    open_iscsi::database::{Node, NodeKey, chap::Proofs},
};

/// An answer of the probe, its refusal with what it means.
pub(super) type Answer<T> = std::result::Result<T, (Refusal, Fault)>;

/// All that was seen of the target at the portal.
pub(super) struct Seen {
    pub(super) target: Iqn,
    /// Its record, if there is one, and whether it is damaged.
    pub(super) record: Option<Node>,
    pub(super) session: Option<Session>,
    /// As whom we asked; empty without CHAP.
    pub(super) user: String,
    pub(super) login: Answer<Accepted>,
    /// Asked for only where the login went well and no session is up.
    pub(super) luns: Option<Answer<Luns>>,
    /// What it means if the portal does not list the target.
    pub(super) not_listed: Fault,
}

impl Engine {
    pub(super) async fn look_at_portal(&self, portal: &Portal, subject: Subject) -> Result<Vec<Check>> {
        let mut report = Report::new(&portal.to_string());
        let Some(initiator) = &subject.initiator else {
            exchange::nothing_asked(&mut report, "this machine has no initiator name");
            return Ok(report.checks());
        };
        let (database, at) = (self.database.clone(), portal.clone());
        // A discovery record that cannot be read has no credentials.
        let stored = blocking(move || database.discovery_proofs(&at)).await?;
        let stored = stored.unwrap_or_else(|_| Proofs::with(None));
        let asked = match Asked::new(initiator, None, portal, &stored) {
            Ok(asked) => asked,
            Err(fault) => {
                exchange::unreachable(&mut report, &fault);
                return Ok(report.checks());
            }
        };
        let list = async { asked.list(subject.deadline).await.map_err(|refusal| explained(&asked, refusal)) };
        let (listing, seen) = match &subject.target {
            Some(target) => {
                let (listing, seen) =
                    tokio::join!(list, self.look_at_target(target, portal, initiator, &subject));
                (listing, Some(seen?))
            }
            None => {
                let listing = list.await;
                let seen = match only_target(&listing) {
                    Some(target) => Some(self.look_at_target(&target, portal, initiator, &subject).await?),
                    None => None,
                };
                (listing, seen)
            }
        };
        exchange::judge(&mut report, initiator, &listing, seen.as_ref());
        Ok(report.checks())
    }

    async fn look_at_target(
        &self,
        target: &Iqn,
        portal: &Portal,
        initiator: &Iqn,
        subject: &Subject,
    ) -> Result<Seen> {
        let record = self.nodes_of(target, Some(std::slice::from_ref(portal))).await?.into_iter().next();
        let sessions = self.sessions().await?;
        let session =
            sessions.into_iter().find(|session| session.matches(target, Some(std::slice::from_ref(portal))));
        let recorded = match &record {
            Some(node) if node.damage.is_none() => self.proofs_of(&node.key).await?,
            _ => Proofs::with(None),
        };
        let proofs = subject.given.as_deref().unwrap_or(&recorded);
        let card = record.as_ref().and_then(|node| node.card.as_deref());
        let asked = Asked::new(initiator, Some(target), portal, proofs)?.through(card);
        let login = asked.login(subject.deadline).await.map_err(|refusal| explained(&asked, refusal));
        let luns = match (&login, &session) {
            (Ok(accepted), None) => {
                let luns = asked.luns(accepted, subject.deadline).await;
                Some(luns.map_err(|refusal| explained(&asked, refusal)))
            }
            _ => None,
        };
        let user = proofs.chap.as_ref().map(|chap| chap.username.clone()).unwrap_or_default();
        let not_listed = asked.not_listed(target);
        Ok(Seen { target: target.clone(), record, session, user, login, luns, not_listed })
    }

    async fn proofs_of(&self, node: &NodeKey) -> Result<Proofs> {
        let (database, node) = (self.database.clone(), node.clone());
        // Damaged or gone since it was looked at: as if it had none.
        Ok(blocking(move || database.node_proofs(&node)).await?.unwrap_or_else(|_| Proofs::with(None)))
    }
}

fn explained(asked: &Asked<'_>, refusal: Refusal) -> (Refusal, Fault) {
    let fault = asked.fault(&refusal);
    (refusal, fault)
}

/// The target of a portal that has no other.
fn only_target(listing: &Answer<Listing>) -> Option<Iqn> {
    let nodes = &listing.as_ref().ok()?.nodes;
    let first = nodes.first()?;
    nodes.iter().all(|found| found.target == first.target).then(|| first.target.clone())
}
