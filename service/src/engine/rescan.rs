//! Scans sessions that are up for changes: new LUNs, other sizes, LUNs that are no longer offered.
//! Never removes a disk or a map, because this code does not know what uses it.
//!
//! | room | what it is |
//! |---|---|
//! | `maps` | resizes maps to the size of their paths |
//! | `offered` | asks whether the target still offers LUNs without a capacity |

mod maps;
mod offered;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, Portal,
    fault::Result,
    hint,
    options::RescanOptions,
    results::{Problem, Rescan, RescanOutcome, Step},
    shell::command,
};
use iscsi_initiator_polkit::{Action, Details};
use tokio::task::JoinSet;

use self::{maps::Sizes, offered::Offered};
use super::{
    Engine,
    call::{Call, Progress, act, consent::Consent},
    leftovers::stale_sessions::{self, Reach},
    login::{
        scan::{hindrance, scan},
        settle::{Settled, settled},
    },
    records::lookup::{as_recorded, meant, resolved},
    state::{
        diff::Diff,
        snapshot::Snapshot,
        troubles::{self, Trouble},
    },
    turns::claims::Claim,
};
use crate::backend::{
    host::limit::Limit,
    kernel::sysfs::{Disk, Scope, Session},
    open_iscsi::iscsiadm::Iscsiadm,
};

impl Engine {
    /// Rescans the sessions of the granted target and portal, or all, with an entry each. Fails
    /// with the most specific reason if none could be scanned.
    pub(crate) async fn rescan(
        self: &Arc<Self>,
        call: &Call,
        options: &RescanOptions,
        consent: Arc<dyn Consent>,
    ) -> Result<Vec<Rescan>> {
        let wait = options.wait;
        act(self, call, Action::Login, move |engine, call| {
            Box::pin(async move {
                let limit = call.limit();
                let target = match call.any_target() {
                    Some(target) => Some(as_recorded(engine, target).await?),
                    None => None,
                };
                let target = target.as_ref();
                let portals = match target {
                    Some(target) => meant(engine, target, call.any_portal(), limit).await?,
                    None => resolved(engine, call.any_portal(), limit).await?,
                };
                stale_sessions::remove(engine, Reach::Restart, limit).await;
                let scope = target.map_or_else(Scope::all, |target| Scope::of([target]));
                let scope = match &portals {
                    Some(portals) => scope.through(portals.clone()),
                    None => scope,
                };
                let now = engine.state.sessions(scope).await?;
                let is_wanted = |session: &&Session| {
                    let is_at = |at: &Portal| portals.as_ref().is_none_or(|portals| portals.contains(at));
                    target.is_none_or(|target| session.target == target.as_str())
                        && (portals.is_none() || session.portal.as_ref().is_some_and(is_at))
                };
                let sessions: Vec<Session> = now.sessions().filter(is_wanted).cloned().collect();
                if sessions.is_empty() {
                    return Err(no_session(target, call.any_portal()));
                }
                let refused = match target {
                    Some(_) => BTreeMap::new(),
                    None => refused(&sessions, call.any_portal(), &*consent).await,
                };
                let wishes = Wishes { wait, progress: call.progress() };
                look_behind(engine, &now, sessions, refused, wishes, limit).await
            })
        })
        .await
    }
}

/// The targets that the caller named none of and may not rescan: polkit is asked about each by its
/// name, without a prompt.
async fn refused(
    sessions: &[Session],
    portal: Option<&Portal>,
    consent: &dyn Consent,
) -> BTreeMap<String, Fault> {
    let targets: BTreeSet<&str> = sessions.iter().map(|session| session.target.as_str()).collect();
    let mut refused = BTreeMap::new();
    for target in targets {
        let may = match name_of(target) {
            Err(fault) => Err(fault),
            Ok(name) => {
                let details = Details { target: Some(&name), portal, interface: None };
                let may = consent.may(Action::Login, details).await;
                may.then_some(()).ok_or_else(|| {
                    Fault::new(Kind::AccessDenied, format!("not authorised for {} of {name}", Action::Login))
                        .hint(hint!("name the target: iscsictl rescan {TARGET}", TARGET = name))
                })
            }
        };
        if let Err(fault) = may {
            refused.insert(target.to_owned(), fault);
        }
    }
    refused
}

fn name_of(target: &str) -> Result<Iqn> {
    target.parse::<Iqn>().map_err(|why| {
        Fault::new(Kind::Failed, format!("the kernel has a session whose target is not an iSCSI name: {why}"))
    })
}

/// The options of a rescan, and where its steps are reported.
struct Wishes<'a> {
    /// Whether to reply only when disks and maps are there.
    wait: bool,
    progress: &'a Progress,
}

async fn look_behind(
    engine: &Engine,
    before: &Snapshot,
    sessions: Vec<Session>,
    refused: BTreeMap<String, Fault>,
    Wishes { wait, progress }: Wishes<'_>,
    limit: &Limit,
) -> Result<Vec<Rescan>> {
    let iscsiadm = Iscsiadm::find(&engine.layout)?;
    progress.report(Step::Scan, format!("scanning {} sessions for LUNs", sessions.len()));
    let (_claims, busy) = claims(engine, &sessions, refused);
    let mut entries = Vec::new();
    let share = engine.turns.places.share(sessions.len(), limit);
    let mut scans = JoinSet::new();
    for session in sessions {
        let in_the_way = || hindrance(&engine.state.sysfs, &session);
        match busy.get(&session.target).cloned().or_else(in_the_way) {
            Some(fault) => entries.push(failed(&session, &fault)),
            None => {
                let (iscsiadm, share, limit) = (iscsiadm.clone(), share.clone(), limit.clone());
                let programs = engine.turns.programs.clone();
                scans.spawn(async move {
                    let done = scan(&iscsiadm, &programs, &session, &share, &limit).await;
                    (session, done)
                });
            }
        }
    }
    let (mut seen, mut sids) = (Vec::new(), Vec::new());
    for (session, done) in scans.join_all().await {
        match done {
            Ok(()) => {
                sids.push(session.sid);
                seen.push(session);
            }
            Err(fault) => entries.push(failed(&session, &fault)),
        }
    }
    let mut is_ready = true;
    if wait && !sids.is_empty() {
        progress.report(Step::Disks, "waiting for the disks and their maps");
        is_ready = settled(engine, &sids, limit).await?.0 != Settled::Late;
    }
    // A map that has got another size keeps it.
    limit.decide()?;
    progress.report(Step::Resize, "comparing the maps with the sizes of their paths");
    let sizes = maps::resize_all(engine, &sids).await?;
    let now = engine.state.sessions_around(Scope::numbered(sids)).await?;
    let diff = before.diff(&now);
    let accepted = troubles::accepted(engine, now.all_sessions()).await?;
    let troubles = troubles::of_disks(now.all_sessions(), &accepted);
    for before in &seen {
        let session = now.session(before.sid);
        let offered = match session {
            Some(session) => offered::offered(engine, session, limit).await,
            None => Offered::Unknown,
        };
        let after = After { session, diff: &diff, sizes: &sizes, offered, is_ready };
        entries.push(compare(before, &after, &troubles));
    }
    answer(entries)
}

/// A claim on each target that is not refused, or the reason why there is none.
fn claims(
    engine: &Engine,
    sessions: &[Session],
    refused: BTreeMap<String, Fault>,
) -> (Vec<Claim>, BTreeMap<String, Fault>) {
    let targets: BTreeSet<&str> = sessions.iter().map(|session| session.target.as_str()).collect();
    let (mut claims, mut busy) = (Vec::new(), refused);
    for target in targets {
        if busy.contains_key(target) {
            continue;
        }
        match name_of(target).and_then(|name| engine.turns.claims.claim(&name)) {
            Ok(claim) => claims.push(claim),
            Err(fault) => {
                busy.insert(target.to_owned(), fault);
            }
        }
    }
    (claims, busy)
}

fn no_session(target: Option<&Iqn>, portal: Option<&Portal>) -> Fault {
    let to = target.map(|target| format!(" to {target}")).unwrap_or_default();
    let at = portal.map(|portal| format!(" at {portal}")).unwrap_or_default();
    let hint = match (target, portal) {
        (Some(target), _) => hint!("log in first: iscsictl login {TARGET}", TARGET = target),
        (None, Some(portal)) => hint!("log in first: iscsictl connect {PORTAL}", PORTAL = portal),
        (None, None) => "see what is recorded: iscsictl nodes".to_owned(),
    };
    Fault::new(Kind::NotLoggedIn, format!("there is no session{to}{at}")).hint(hint)
}

fn failed(session: &Session, fault: &Fault) -> Rescan {
    Rescan::failed(&session.target, &session.portal_text(), session.sid, fault)
}

/// What is there after a rescan.
struct After<'a> {
    session: Option<&'a Session>,
    diff: &'a Diff,
    sizes: &'a Sizes,
    /// Whether the target offers the LUNs that have no capacity.
    offered: Offered,
    is_ready: bool,
}

/// The differences, as the kernel shows them now.
fn compare(before: &Session, after: &After<'_>, troubles: &[Trouble]) -> Rescan {
    let (target, portal) = (before.target.as_str(), before.portal_text());
    let After { session, diff, sizes, offered, is_ready } = *after;
    let Some(now) = session else {
        return failed(before, &Fault::new(Kind::NotLoggedIn, "the session has ended"));
    };
    let named =
        |disks: &[Disk]| disks.iter().filter(|disk| !disk.name.is_empty()).cloned().collect::<Vec<_>>();
    let (old, new) = (named(&before.disks), named(&now.disks));
    let former = |disk: &Disk| old.iter().find(|old| old.address() == disk.address());
    let names = |which: &dyn Fn(&&Disk) -> bool| -> Vec<String> {
        new.iter().filter(which).map(|disk| disk.name.clone()).collect()
    };
    let mut entry = Rescan::done(target, &portal, before.sid);
    entry.devices = names(&|_| true);
    entry.added = names(&|disk| former(disk).is_none());
    entry.resized =
        names(&|disk| !disk.has_no_capacity() && former(disk).is_some_and(|old| old.size != disk.size));
    let empty = names(&|disk| disk.has_no_capacity());
    let removed = old.iter().filter(|old| diff.disks.vanished.contains(&(before.sid, old.address())));
    let removed: Vec<String> = removed.map(|old| old.name.clone()).collect();
    let (gone, not_ready) =
        if offered == Offered::No { (empty.clone(), Vec::new()) } else { (Vec::new(), empty.clone()) };
    let gone: Vec<String> = gone.into_iter().chain(removed.clone()).collect();
    // Where the target did not say, it may be any of the two.
    let vanished = if offered == Offered::Yes { Vec::new() } else { empty };
    entry.vanished = vanished.into_iter().chain(removed).collect();
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
    let other =
        names(&|disk| former(disk).is_some_and(|old| !disk.has_no_capacity() && old.wwid != disk.wwid));
    let smaller =
        names(&|disk| !disk.has_no_capacity() && former(disk).is_some_and(|old| old.size > disk.size));
    let mut remarks = Remarks::default();
    let anew = hint!(
        "stop what uses it, then: iscsictl logout {TARGET} && iscsictl login {TARGET}",
        TARGET = target
    );
    remarks.add(&gone, "no longer offered by the target, and not removed", &anew);
    if !not_ready.is_empty() {
        let verb = if not_ready.len() == 1 { "has" } else { "have" };
        let why = match offered {
            Offered::Yes => "the target offers the LUN, and it is not ready",
            _ => "the LUN is not ready, or not offered any more",
        };
        let again = command(["iscsictl", "rescan", target].into_iter().chain(portal_word(&portal)));
        let hint = format!("have it made ready at the gateway, then look again: {again}");
        remarks.push(format!("{} {verb} no capacity now: {why}", not_ready.join(", ")), &hint);
    }
    remarks.add(&other, "another LUN than before", &anew);
    remarks.add(&smaller, "smaller than before", "the data on it may reach beyond its end");
    for map in &maps {
        if let Some((what, hint)) = sizes.remark(map, target) {
            remarks.push(what, &hint);
        }
    }
    let is_new = |trouble: &&Trouble| {
        trouble.problem == Problem::SeveralTargets && new.iter().any(|disk| trouble.is_of(disk))
    };
    for trouble in troubles.iter().filter(is_new) {
        remarks.push(trouble.what.clone(), &trouble.hint);
    }
    if !is_ready {
        let what = "timed out waiting for the disks or their maps".to_owned();
        remarks.push(what, "see what is there so far: iscsictl paths");
    }
    entry.message = remarks.said.join("; ");
    entry.hint = remarks.hint;
    entry
}

/// A session whose connection is gone may not say where it led to.
fn portal_word(portal: &str) -> Option<&str> {
    (portal != "?").then_some(portal)
}

/// Messages that need attention; the hint is that of the first.
#[derive(Default)]
struct Remarks {
    said: Vec<String>,
    hint: String,
}

impl Remarks {
    fn add(&mut self, disks: &[String], what: &str, hint: &str) {
        if !disks.is_empty() {
            let verb = if disks.len() == 1 { "is" } else { "are" };
            self.push(format!("{} {verb} {what}", disks.join(", ")), hint);
        }
    }

    fn push(&mut self, what: String, hint: &str) {
        if self.hint.is_empty() {
            hint.clone_into(&mut self.hint);
        }
        self.said.push(what);
    }
}

/// The entries in order, or the most specific reason if no session was scanned.
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
