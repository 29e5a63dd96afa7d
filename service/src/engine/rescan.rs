//! Looks for what changed behind sessions that are up: new LUNs, other sizes, LUNs that are not offered any more.
//! It may not remove a disk or a map: what uses them is not its business.

mod maps;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind,
    fault::Result,
    options::RescanOptions,
    results::{Rescan, RescanOutcome},
};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::{task::JoinSet, time::Instant};

use self::maps::Sizes;
use super::{
    Engine, blocking, deadline, log_act, login::settle::Settled, require, resolved, stale_sessions::Reach,
    turns::claims::Claim,
};
use crate::backend::{
    kernel::{
        sysfs::{Disk, Session},
        uevents::Events,
    },
    open_iscsi::{iscsiadm, iscsid::Iscsid},
};

/// How long a session without a disk may take to be connected again, before its LUNs are given up.
const RECONNECT: Duration = Duration::from_secs(10);

impl Engine {
    /// Rescans the sessions of the granted target and portal, or all: an entry each. Fails, with the most telling
    /// reason, if none could be.
    pub(crate) async fn rescan(&self, grant: &Grant, options: &RescanOptions) -> Result<Vec<Rescan>> {
        require(grant, Action::Login)?;
        let result = self.look_behind(grant, options).await;
        log_act(grant, &result);
        result
    }

    async fn look_behind(&self, grant: &Grant, options: &RescanOptions) -> Result<Vec<Rescan>> {
        let deadline = deadline(options.timeout);
        let portals = resolved(grant.portal(), deadline).await?;
        self.remove_abandoned(Reach::Restart, deadline).await;
        let mut sessions = self.sessions().await?;
        sessions.retain(|session| {
            grant.target().is_none_or(|target| session.target == target.as_str())
                && portals.as_ref().is_none_or(|p| session.portal.as_ref().is_some_and(|at| p.contains(at)))
        });
        if sessions.is_empty() {
            return Err(no_session(grant));
        }
        let iscsiadm = self.iscsiadm()?;
        let (_claims, busy) = self.claims(&sessions);
        // Before the first look: what happens from now on is a reason to look.
        let events = Events::subscribe().inspect_err(|error| tracing::warn!(%error, "no device events")).ok();
        let mut entries = Vec::new();
        let mut rescans = JoinSet::new();
        for session in sessions {
            match busy.get(&session.target).cloned().or_else(|| self.hindrance(&session)) {
                Some(fault) => entries.push(failed(&session, &fault)),
                None => {
                    let iscsiadm = iscsiadm.clone();
                    rescans.spawn(async move {
                        let done = rescan_one(&iscsiadm, &session, deadline).await;
                        (session, done)
                    });
                }
            }
        }
        let (mut seen, mut sids) = (Vec::new(), Vec::new());
        for (session, done) in rescans.join_all().await {
            match done {
                Ok(()) => {
                    sids.push(session.sid);
                    seen.push(session);
                }
                Err(fault) => entries.push(failed(&session, &fault)),
            }
        }
        let is_ready = !options.wait
            || sids.is_empty()
            || self.settled(&sids, events.as_ref(), deadline).await? != Settled::Late;
        let sizes = self.resize_maps(&sids).await?;
        let after = self.sessions().await?;
        entries.extend(seen.iter().map(|before| compare(before, &after, &sizes, is_ready)));
        answer(entries)
    }

    /// Has the kernel look for the LUNs of sessions that show none: iscsid may have died before it did so. One that
    /// iscsid, started again, is just connecting is waited for.
    pub(super) async fn look_for_luns(&self, mut sids: Vec<u32>, deadline: Instant) -> Result<()> {
        if sids.is_empty() {
            return Ok(());
        }
        let iscsiadm = self.iscsiadm()?;
        let proc = self.layout.proc.clone();
        let takeover = blocking(move || Iscsid::takeover(&proc)).await?;
        let last = deadline.min(Instant::now() + takeover.max(RECONNECT));
        let mut rescans = JoinSet::new();
        loop {
            let mut waiting = self.sessions().await?;
            waiting.retain(|session| sids.contains(&session.sid));
            for session in waiting {
                let is_up = session.state == "LOGGED_IN" || takeover.is_zero();
                if !session.disks.is_empty() && is_up {
                    sids.retain(|sid| *sid != session.sid);
                } else if session.disks.is_empty() && self.hindrance(&session).is_none() {
                    sids.retain(|sid| *sid != session.sid);
                    let iscsiadm = iscsiadm.clone();
                    rescans.spawn(async move { rescan_one(&iscsiadm, &session, deadline).await });
                }
            }
            if sids.is_empty() || Instant::now() >= last {
                break;
            }
            tokio::time::sleep(Duration::from_millis(250)).await;
        }
        for fault in rescans.join_all().await.into_iter().filter_map(Result::err) {
            // What is there in the end is looked at anyway.
            tracing::warn!(error = fault.message(), "a session's LUNs could not be looked for");
        }
        Ok(())
    }

    /// A claim on each target, or why there is none.
    fn claims(&self, sessions: &[Session]) -> (Vec<Claim>, BTreeMap<String, Fault>) {
        let targets: BTreeSet<&str> = sessions.iter().map(|session| session.target.as_str()).collect();
        let (mut claims, mut busy) = (Vec::new(), BTreeMap::new());
        for target in targets {
            let claim = target
                .parse::<Iqn>()
                .map_err(|why| {
                    Fault::new(Kind::Failed, format!("the kernel has a session to no iSCSI name: {why}"))
                })
                .and_then(|name| self.busy.claim(&name));
            match claim {
                Ok(claim) => claims.push(claim),
                Err(fault) => {
                    busy.insert(target.to_owned(), fault);
                }
            }
        }
        (claims, busy)
    }

    /// Why there is no use in looking.
    fn hindrance(&self, session: &Session) -> Option<Fault> {
        if session.state != "LOGGED_IN" {
            // The kernel would have it wait for the connection.
            let what = format!(
                "{}: the session is in state {}: the kernel is trying to reconnect",
                session.portal_text(),
                session.state
            );
            return Some(Fault::new(Kind::PortalUnreachable, what).hint(format!(
                "iscsictl diagnose {} {} looks at the way there",
                session.target,
                session.portal_text()
            )));
        }
        if !self.sysfs.can_scan(session.host) {
            let what = format!("the daemon may not have host{} scanned", session.host);
            return Some(Fault::new(Kind::BackendUnavailable, what).hint(
                "its unit needs ReadWritePaths=/sys/devices/platform: systemctl cat iscsi-initiatord.service",
            ));
        }
        None
    }
}

fn no_session(grant: &Grant) -> Fault {
    let target = grant.target().map(|target| format!(" to {target}")).unwrap_or_default();
    let portal = grant.portal().map(|portal| format!(" at {portal}")).unwrap_or_default();
    let name = grant.target().map_or("TARGET", Iqn::as_str);
    Fault::new(Kind::NotLoggedIn, format!("there is no session{target}{portal}"))
        .hint(format!("log in first: iscsictl login {name}"))
}

fn failed(session: &Session, fault: &Fault) -> Rescan {
    Rescan::failed(&session.target, &session.portal_text(), session.sid, fault)
}

async fn rescan_one(iscsiadm: &Path, session: &Session, deadline: Instant) -> Result<()> {
    iscsiadm::rescan(iscsiadm, session.sid, deadline).await.map_err(|refused| {
        let fault = Fault::from(refused);
        match fault.kind() {
            Kind::TimedOut => Fault::new(
                Kind::TimedOut,
                format!(
                    "{}: the target did not answer for all of its disks within the deadline",
                    session.portal_text()
                ),
            )
            .hint("iscsictl paths shows which; try again with a longer timeout"),
            Kind::NoSuchNode => Fault::new(Kind::NotLoggedIn, "the session has ended"),
            kind => Fault::new(kind, format!("{}: {}", session.portal_text(), fault.message()))
                .hint(fault.next_step()),
        }
    })
}

/// What is other than before, as the kernel has it now.
fn compare(before: &Session, after: &[Session], sizes: &Sizes, is_ready: bool) -> Rescan {
    let (target, portal) = (before.target.as_str(), before.portal_text());
    let Some(now) = after.iter().find(|session| session.sid == before.sid) else {
        return failed(before, &Fault::new(Kind::NotLoggedIn, "the session has ended"));
    };
    let named =
        |disks: &[Disk]| disks.iter().filter(|disk| !disk.name.is_empty()).cloned().collect::<Vec<_>>();
    let (old, new) = (named(&before.disks), named(&now.disks));
    let former = |disk: &Disk| old.iter().find(|old| old.address() == disk.address());
    let names = |which: &dyn Fn(&&Disk) -> bool| -> Vec<String> {
        new.iter().filter(which).map(|disk| disk.name.clone()).collect()
    };
    let mut entry = Rescan {
        devices: names(&|_| true),
        added: names(&|disk| former(disk).is_none()),
        resized: names(&|disk| !disk.is_gone() && former(disk).is_some_and(|old| old.size != disk.size)),
        vanished: names(&|disk| disk.is_gone()),
        ..Rescan::done(target, &portal, before.sid)
    };
    let removed = old.iter().filter(|old| !new.iter().any(|disk| disk.address() == old.address()));
    entry.vanished.extend(removed.map(|old| old.name.clone()));
    let maps: Vec<&str> = new
        .iter()
        .filter_map(|disk| Some(disk.map.as_ref()?.name.as_str()))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    let is_new = |map: &str| {
        new.iter().any(|disk| {
            disk.map.as_ref().is_some_and(|m| m.name == map)
                && former(disk).is_none_or(|old| old.map.is_none())
        })
    };
    entry.maps =
        maps.iter().filter(|map| sizes.is_changed(map) || is_new(map)).map(|map| (*map).to_owned()).collect();
    let other = names(&|disk| former(disk).is_some_and(|old| !disk.is_gone() && old.wwid != disk.wwid));
    let smaller = names(&|disk| !disk.is_gone() && former(disk).is_some_and(|old| old.size > disk.size));
    let mut remarks = Remarks::default();
    remarks.add(
        &entry.vanished,
        "not offered by the target any more, and not removed",
        &format!("stop what uses it, then: iscsictl logout {target} and log in again"),
    );
    remarks.add(
        &other,
        "another LUN than before",
        &format!("stop what uses it, then: iscsictl logout {target} and log in again"),
    );
    remarks.add(&smaller, "smaller than before", "what lies on it may reach beyond its end");
    for map in &maps {
        if let Some((what, hint)) = sizes.remark(map, target) {
            remarks.tell(what, &hint);
        }
    }
    if !is_ready {
        let what = "the disks or their maps were not ready within the deadline".to_owned();
        remarks.tell(what, "iscsictl paths shows what is there by now");
    }
    entry.message = remarks.said.join("; ");
    entry.hint = remarks.hint;
    entry
}

/// What deserves a look; the first has the hint.
#[derive(Default)]
struct Remarks {
    said: Vec<String>,
    hint: String,
}

impl Remarks {
    fn add(&mut self, disks: &[String], what: &str, hint: &str) {
        if !disks.is_empty() {
            let verb = if disks.len() == 1 { "is" } else { "are" };
            self.tell(format!("{} {verb} {what}", disks.join(", ")), hint);
        }
    }

    fn tell(&mut self, what: String, hint: &str) {
        if self.hint.is_empty() {
            hint.clone_into(&mut self.hint);
        }
        self.said.push(what);
    }
}

/// The entries in order; or the most telling reason if none was looked at.
fn answer(mut entries: Vec<Rescan>) -> Result<Vec<Rescan>> {
    entries.sort_by(|a, b| (&a.target, &a.portal, a.sid).cmp(&(&b.target, &b.portal, b.sid)));
    if entries.iter().any(|entry| entry.outcome == RescanOutcome::Rescanned) {
        return Ok(entries);
    }
    let faults = entries.into_iter().filter_map(|e| Some((e.error.parse::<Kind>().ok()?, e.message, e.hint)));
    Err(faults.min_by_key(|(kind, ..)| kind.rank()).map_or_else(
        || Fault::new(Kind::NotLoggedIn, "there is no session"),
        |(kind, message, hint)| Fault::new(kind, message).hint(hint),
    ))
}

#[cfg(test)]
mod tests;
