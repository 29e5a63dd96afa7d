//! Has the kernel scan sessions for LUNs: iscsid may have died before it did so.

use std::time::Duration;

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, hint};
use tokio::task::JoinSet;

use crate::{
    backend::{
        host::{limit::Limit, threads::reading},
        kernel::{
            stale_sessions::askers::Act,
            sysfs::{Scope, Session, Sysfs},
        },
        open_iscsi::{iscsiadm::Iscsiadm, iscsid::Iscsid},
    },
    engine::{
        Engine,
        state::watch::Predicate,
        turns::{places::Share, programs::Programs},
    },
};

/// How long a session without a disk may take to reconnect before its LUNs are given up.
const RECONNECT: Duration = Duration::from_secs(10);

/// Has the kernel scan the sessions that show no LUN. Waits for a session that a restarted iscsid
/// is reconnecting.
pub(super) async fn look_for_luns(engine: &Engine, sids: Vec<u32>, limit: &Limit) -> Result<()> {
    if sids.is_empty() {
        return Ok(());
    }
    let iscsiadm = Iscsiadm::find(&engine.layout)?;
    let proc = engine.layout.proc.clone();
    let takeover = reading(move || Iscsid::takeover(&proc)).await?;
    let begun = &limit.at_most(takeover.max(RECONNECT));
    let is_taking_over = !takeover.is_zero();
    let share = engine.turns.places.share(sids.len(), limit);
    let mut begin = Begun { engine, iscsiadm, sids, is_taking_over, limit, share, scans: JoinSet::new() };
    engine.state.watch.until(&mut begin, begun).await?;
    for fault in begin.scans.join_all().await.into_iter().filter_map(Result::err) {
        // The result is checked in any case.
        tracing::warn!(error = fault.message(), "cannot scan for a session's LUNs");
    }
    Ok(())
}

/// The scan of every session has begun, or is not needed.
struct Begun<'a> {
    engine: &'a Engine,
    iscsiadm: Iscsiadm,
    /// The sessions still to be scanned.
    sids: Vec<u32>,
    /// iscsid reconnects every session.
    is_taking_over: bool,
    /// Read anew for each look.
    limit: &'a Limit,
    share: Share,
    scans: JoinSet<Result<()>>,
}

impl Predicate for Begun<'_> {
    type Is = ();

    async fn look(&mut self) -> Result<Option<()>> {
        let now = self.engine.state.sessions(Scope::numbered(self.sids.clone())).await?;
        let waiting = self.sids.iter().filter_map(|sid| now.session(*sid)).cloned().collect::<Vec<_>>();
        for session in waiting {
            let is_up = session.state == "LOGGED_IN" || !self.is_taking_over;
            let has_disks = !session.disks.is_empty();
            if has_disks && is_up {
                self.sids.retain(|sid| *sid != session.sid);
            } else if !has_disks && hindrance(&self.engine.state.sysfs, &session).is_none() {
                self.sids.retain(|sid| *sid != session.sid);
                let (iscsiadm, limit) = (self.iscsiadm.clone(), self.limit.clone());
                let (programs, share) = (self.engine.turns.programs.clone(), self.share.clone());
                self.scans.spawn(async move { scan(&iscsiadm, &programs, &session, &share, &limit).await });
            }
        }
        Ok(self.sids.is_empty().then_some(()))
    }
}

/// Why a scan would be useless.
pub(in crate::engine) fn hindrance(sysfs: &Sysfs, session: &Session) -> Option<Fault> {
    if session.state != "LOGGED_IN" {
        // The kernel would block the scan until the connection is back.
        let what = format!(
            "{}: the session is in state {}: the kernel is trying to reconnect",
            session.portal_text(),
            session.state
        );
        return Some(Fault::new(Kind::PortalUnreachable, what).hint(match &session.portal {
            Some(portal) => hint!(
                "check the way to the portal: iscsictl diagnose {TARGET} {PORTAL}",
                TARGET = session.target,
                PORTAL = portal
            ),
            None => hint!("check the target: iscsictl diagnose {TARGET}", TARGET = session.target),
        }));
    }
    if !sysfs.can_scan(session.host) {
        let what = format!("the daemon is not permitted to have host{} scanned", session.host);
        return Some(Fault::new(Kind::BackendUnavailable, what).hint(
            "its unit needs ReadWritePaths=/sys/devices/platform: systemctl cat iscsi-initiatord.service",
        ));
    }
    None
}

/// Has the kernel scan one session, in its turn. The kernel shows the result.
pub(in crate::engine) async fn scan(
    iscsiadm: &Iscsiadm,
    programs: &Programs,
    session: &Session,
    share: &Share,
    limit: &Limit,
) -> Result<()> {
    let _place = share.place(limit).await?;
    let running = programs.running(Act::Rescan, &session.target);
    iscsiadm.rescan(session.sid, running, limit).await.map_err(|refused| {
        let fault = Fault::from(refused);
        match fault.kind() {
            Kind::TimedOut => limit
                .fault(format!(
                    "{}: timed out waiting for the target to answer for all of its disks",
                    session.portal_text()
                ))
                .hint("try again with a longer timeout; see which: iscsictl paths"),
            Kind::NoSuchNode => Fault::new(Kind::NotLoggedIn, "the session has ended"),
            kind => Fault::new(kind, format!("{}: {}", session.portal_text(), fault.message()))
                .hint(fault.next_step()),
        }
    })
}
