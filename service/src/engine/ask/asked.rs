//! A request to a portal, with everything that its error message needs.

use std::net::SocketAddr;

use iscsi_initiator_dbus::{Iqn, Portal, fault::Result};
use iscsi_initiator_probe::{
    self as probe, Accepted, Algorithm, AuthKind, ChapAnswer, Listing, Luns, Question, Refusal, Stage,
};

use crate::backend::{
    host::{limit::Limit, resolve},
    open_iscsi::database::chap::Proofs,
};

/// A request to a portal, and everything that its error message needs.
pub(in crate::engine) struct Asked<'a> {
    pub(super) initiator: &'a Iqn,
    pub(super) target: Option<&'a Iqn>,
    pub(super) portal: &'a Portal,
    /// The portal that the caller knows: [`Self::portal`], unless that is where it redirected us to.
    pub(super) known_as: &'a Portal,
    pub(super) address: SocketAddr,
    pub(super) proofs: &'a Proofs,
    /// The network interface that the node is bound to.
    pub(super) interface: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// For a target at a numeric portal, or for the portal alone with `None`.
    pub(in crate::engine) fn new(
        initiator: &'a Iqn,
        target: Option<&'a Iqn>,
        portal: &'a Portal,
        proofs: &'a Proofs,
    ) -> Result<Self> {
        Ok(Self {
            initiator,
            target,
            portal,
            known_as: portal,
            address: resolve::socket_address(portal)?,
            proofs,
            interface: None,
        })
    }

    /// The same through a network interface.
    pub(in crate::engine) fn through(self, interface: Option<&'a str>) -> Self {
        Self { interface, ..self }
    }

    /// Whether the target would accept a login: with the digests that iscsid would offer, or with
    /// one of the others if the target accepts none of these.
    pub(in crate::engine) async fn login(&self, limit: &Limit) -> std::result::Result<Accepted, Refusal> {
        match within(
            limit,
            probe::login(self.address, &self.question(&self.proofs.algorithms), limit.deadline()),
        )
        .await
        {
            Err(refusal) if self.may_take_another(&refusal) => {
                let again = within(
                    limit,
                    probe::login(self.address, &self.question(&self.others()), limit.deadline()),
                )
                .await;
                unless_the_same(refusal, again)
            }
            answer => answer,
        }
    }

    /// Whether anything accepts a connection at the portal. Nothing is sent.
    pub(in crate::engine) async fn reach(&self, limit: &Limit) -> std::result::Result<(), Refusal> {
        within(limit, probe::reach(self.address, self.interface, limit.deadline())).await
    }

    /// What the portal lists, or its nodes of these targets alone, with the digests tried in the same
    /// way.
    pub(in crate::engine) async fn list(
        &self,
        named: &[Iqn],
        limit: &Limit,
    ) -> std::result::Result<Listing, Refusal> {
        match self.list_with(&self.proofs.algorithms, named, limit).await {
            Err(refusal) if self.may_take_another(&refusal) => {
                unless_the_same(refusal, self.list_with(&self.others(), named, limit).await)
            }
            answer => answer,
        }
    }

    async fn list_with(
        &self,
        algorithms: &[Algorithm],
        named: &[Iqn],
        limit: &Limit,
    ) -> std::result::Result<Listing, Refusal> {
        let (question, deadline) = (self.question(algorithms), limit.deadline());
        match named {
            [] => within(limit, probe::send_targets(self.address, &question, deadline)).await,
            named => within(limit, probe::send_targets_named(self.address, &question, named, deadline)).await,
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

    /// Which LUNs the target offers, after it accepted the login.
    pub(in crate::engine) async fn luns(
        &self,
        accepted: &Accepted,
        limit: &Limit,
    ) -> std::result::Result<Luns, Refusal> {
        let taken = match accepted.authenticated {
            AuthKind::OneWay(taken) | AuthKind::Mutual(taken) => vec![taken],
            AuthKind::None => self.proofs.algorithms.clone(),
        };
        within(limit, probe::luns(self.address, &self.question(&taken), limit.deadline())).await
    }

    /// Whether the portal lists the target, asked without credentials. `None` if that is unknown.
    pub(in crate::engine) async fn is_listed(&self, target: &Iqn, limit: &Limit) -> Option<bool> {
        let nothing = Proofs::with(None);
        let asked = Asked { target: None, proofs: &nothing, ..*self };
        let listing = asked.list(std::slice::from_ref(target), limit).await.ok()?;
        Some(lists(&listing, target))
    }

    fn question<'q>(&'q self, algorithms: &'q [Algorithm]) -> Question<'q> {
        let chap = self.proofs.chap.as_ref().map(|chap| ChapAnswer {
            username: &chap.username,
            secret: &chap.secret,
            target: chap.target.as_ref().map(|(name, secret)| (name.as_str(), secret)),
        });
        Question {
            initiator: self.initiator,
            target: self.target,
            chap,
            algorithms,
            interface: self.interface,
        }
    }
}

/// Whether a list has the target, wherever it is.
pub(in crate::engine) fn lists(listing: &Listing, target: &Iqn) -> bool {
    listing.nodes.iter().any(|found| found.target == *target)
        || listing.left_out.unusable.iter().any(|unusable| unusable.target == *target)
}

/// The target was offered digests and has seen nothing else yet. LIO, if it supports none of them,
/// sends 02/01 (iscsi_target_auth.c, `chap_server_open`), and does the same for an initiator that
/// it has no secret for.
fn is_about_digests(refusal: &Refusal) -> bool {
    matches!(
        refusal.cause(),
        Refusal::NoCommonAlgorithm | Refusal::Status { class: 2, detail: 1, stage: Stage::Challenge }
    )
}

/// A target that rejects every offered digest rejects something else.
fn unless_the_same<T>(
    first: Refusal,
    again: std::result::Result<T, Refusal>,
) -> std::result::Result<T, Refusal> {
    match again {
        Err(refusal) if is_about_digests(&refusal) => Err(first),
        answer => answer,
    }
}

/// An exchange that its caller may cancel: the probe owns the connection and closes it.
async fn within<T>(
    limit: &Limit,
    exchange: impl Future<Output = std::result::Result<T, Refusal>>,
) -> std::result::Result<T, Refusal> {
    limit.wait(exchange).await.unwrap_or(Err(Refusal::TimedOut { stage: Stage::Connect }))
}
