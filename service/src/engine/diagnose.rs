//! Checks everything that a login needs, in order: what was seen, and what to do. Changes nothing.
//! No portal sees a secret that is not recorded for it.
//!
//! | room | what it is |
//! |---|---|
//! | `exchange` | judges an exchange with a portal, check by check |
//! | `machine` | this machine's part of a login |
//! | `names` | what is odd about an initiator name |
//! | `places` | the addresses to check, and the names that they are recorded under |
//! | `portal` | checks one portal |
//! | `report` | the results of the checks |
//! | `seen` | everything that was seen of a target at a portal |

mod exchange;
pub(super) mod machine;
mod names;
mod places;
mod portal;
mod report;
mod seen;

use std::sync::Arc;

use iscsi_initiator_dbus::{Portal, fault::Result, results::Check};
use iscsi_initiator_polkit::{Action, Details};
use tokio::{sync::mpsc, task::JoinSet};

use self::{
    places::Place,
    portal::{Question, Subject},
    report::Report,
};
use super::{
    Engine,
    call::{
        Call, act,
        consent::{Consent, may_use_secrets},
    },
    records::{defaults::has_default_discovery_chap, initiator_name, lookup::as_recorded},
    turns::places::{Share, check_number},
};
use crate::backend::open_iscsi::database::chap::{ChapSecrets, DefaultChap, Proofs};

impl Engine {
    /// The checks in order: first this machine, then each portal: the granted one, or all that are
    /// recorded for the target.
    pub(crate) async fn diagnose(
        self: &Arc<Self>,
        call: &Call,
        chap: Option<ChapSecrets>,
        consent: Arc<dyn Consent>,
    ) -> Result<Vec<Check>> {
        act(self, call, Action::Login, move |engine, call| {
            Box::pin(async move { look(engine, call, chap, &*consent).await })
        })
        .await
    }
}

async fn look(
    engine: &Arc<Engine>,
    call: &Call,
    chap: Option<ChapSecrets>,
    consent: &dyn Consent,
) -> Result<Vec<Check>> {
    let (portal, progress, limit) = (call.any_portal(), call.progress(), call.limit());
    let target = match call.any_target() {
        Some(target) => Some(as_recorded(engine, target).await.unwrap_or_else(|_| target.clone())),
        None => None,
    };
    let mut checks = machine::look(engine, progress).await?;
    let subject = Subject {
        target,
        initiator: initiator_name::needed(engine).await,
        given: chap.map(|chap| Arc::new(Proofs::with(Some(chap)))),
        defaults: default_discovery_chap(engine, consent, portal).await,
        progress: progress.clone(),
        limit: limit.clone(),
    };
    let (about_name, portals) = places::of(engine, subject.target.as_ref(), portal, progress, limit).await;
    checks.extend(about_name);
    check_number(portals.len())?;
    let share = engine.turns.places.share(portals.len(), limit);
    let (ask, mut questions) = mpsc::channel::<Question>(1);
    let mut looks = JoinSet::new();
    for (number, place) in portals.into_iter().enumerate() {
        let (engine, subject, share, ask) = (Arc::clone(engine), subject.clone(), share.clone(), ask.clone());
        looks.spawn(async move { (number, in_turn(&engine, &place, subject, &share, &ask).await) });
    }
    drop(ask);
    // Ends with the last look.
    while let Some(Question { target, answer }) = questions.recv().await {
        let details = Details { target: Some(&target), portal, interface: None };
        // One that has stopped waiting needs no answer.
        let _ = answer.send(consent.may(Action::Login, details).await);
    }
    let mut found = looks.join_all().await;
    found.sort_by_key(|(number, _)| *number);
    if limit.is_cancelled() {
        return Err(limit.fault(""));
    }
    for (_, at_portal) in found {
        checks.extend(at_portal?);
    }
    Ok(checks)
}

/// Where the discovery secret of iscsid.conf may go. A configuration that cannot be read has none.
async fn default_discovery_chap(
    engine: &Engine,
    consent: &dyn Consent,
    portal: Option<&Portal>,
) -> DefaultChap {
    let is_there = has_default_discovery_chap(engine).await.unwrap_or(false);
    DefaultChap::of(is_there && may_use_secrets(consent, portal, None).await)
}

/// The checks of one portal, in its turn.
async fn in_turn(
    engine: &Engine,
    at: &Place,
    subject: Subject,
    share: &Share,
    ask: &mpsc::Sender<Question>,
) -> Result<Vec<Check>> {
    match share.place(&subject.limit).await {
        Ok(_place) => {
            let limit = share.part(&subject.limit);
            portal::look(engine, at, Subject { limit, ..subject }, ask).await
        }
        Err(fault) => {
            let mut report = Report::new(&at.portal.to_string(), &subject.progress);
            exchange::unreachable(&mut report, &fault);
            Ok(report.checks())
        }
    }
}
