//! Detects a LUN that became another disk. A login rejects it, because whatever uses the LUN by its
//! place would write to the wrong disk. A disk whose identifier the kernel does not report is not
//! taken for another one.

use std::{collections::BTreeMap, time::Duration};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result, hint};

use crate::{
    backend::{
        host::{limit::Limit, threads::blocking},
        kernel::sysfs::Session,
        open_iscsi::{database::NodeKey, known_luns::Wwids},
    },
    engine::{Engine, logout::just_made, state::snapshot::Snapshot, turns::leases},
};

/// Ending a session to a wrong disk matters more than the caller's deadline.
const AT_LEAST: Duration = Duration::from_secs(10);

/// What is wrong with a LUN of a new session.
#[derive(Debug, PartialEq, Eq)]
struct Change {
    lun: u64,
    is: String,
    /// The former disk, or the disk through another portal if the LUN is new.
    other: String,
    is_new: bool,
}

/// The sessions that show their LUNs for the first time, each with its node.
pub(super) type Fresh = BTreeMap<u32, NodeKey>;

/// The nodes whose sessions were ended, with the reason for each.
pub(super) type Refused = BTreeMap<NodeKey, Fault>;

/// Compares the LUNs of new sessions, as they are now, with the known ones, and ends the sessions that
/// show another disk. With `accept` they stay up, and the new identifiers are stored.
pub(super) async fn refuse_changed(
    engine: &Engine,
    target: &Iqn,
    fresh: &Fresh,
    now: &Snapshot,
    known_before: Wwids,
    accept: bool,
    limit: &Limit,
) -> Result<Refused> {
    let sessions = now.sessions_of(target, None);
    let mut known = if accept { Wwids::new() } else { known_before.clone() };
    let is_fresh = |session: &&Session| fresh.contains_key(&session.sid);
    let (new, up): (Vec<&Session>, Vec<&Session>) = sessions.iter().partition(is_fresh);
    // A session that was up is in use with its disks, so its disks count, whatever they are.
    up.iter().for_each(|session| learn(&mut known, session));
    let changed: Vec<(&Session, Change)> = if accept { Vec::new() } else { changes(&known, &new) };
    let is_refused = |session: &Session| changed.iter().any(|(other, _)| other.sid == session.sid);
    new.iter().filter(|session| !is_refused(session)).for_each(|session| learn(&mut known, session));
    let (luns, name) = (engine.known_luns.clone(), target.clone());
    let remember = move || if known == known_before { Ok(()) } else { luns.remember(&name, &known) };
    if let Err(fault) = blocking(remember).await? {
        // The sessions are up and the disks are right.
        tracing::warn!(%target, error = fault.message(), "cannot store the identifiers of its LUNs");
    }
    let mut reasons = BTreeMap::new();
    for (session, change) in changed {
        let Some(key) = fresh.get(&session.sid) else { continue };
        tracing::error!(
            %target, portal = %key.portal, lun = change.lun, is = %change.is, other = %change.other,
            "a LUN is not the expected disk: ending its session"
        );
        // The first LUN of a session is enough.
        reasons.entry(session.sid).or_insert_with(|| reason(key, &change));
    }
    end(engine, target, fresh, &sessions, reasons, limit).await
}

/// Ends new sessions of the target for these reasons, also if the target is held: a wrong disk is worse
/// than none. Each reason also says whether that was possible, and who held the target.
pub(super) async fn end(
    engine: &Engine,
    target: &Iqn,
    fresh: &Fresh,
    sessions: &[Session],
    reasons: BTreeMap<u32, Fault>,
    limit: &Limit,
) -> Result<Refused> {
    if reasons.is_empty() {
        return Ok(Refused::new());
    }
    let is_ending = |session: &&Session| reasons.contains_key(&session.sid);
    let ending: Vec<Session> = sessions.iter().filter(is_ending).cloned().collect();
    // Until they have ended, no lease is taken.
    let (held, _ending) = engine.turns.leases.end(target, true).await?;
    let stand = match just_made::end(engine, ending, &limit.at_least(AT_LEAST)).await {
        Ok(()) => match leases::held_by(&held) {
            None => "the session was ended".to_owned(),
            Some(held_by) => {
                tracing::warn!(%target, held_by, "the sessions of a held target were ended");
                format!("the session was ended while {held_by}")
            }
        },
        Err(fault) => format!("the session could not be ended: {}", fault.message()),
    };
    let mut refused = Refused::new();
    for (sid, why) in reasons {
        if let Some(key) = fresh.get(&sid) {
            let fault = Fault::new(why.kind(), format!("{}; {stand}", why.message())).hint(why.next_step());
            refused.entry(key.clone()).or_insert(fault);
        }
    }
    Ok(refused)
}

fn reason(key: &NodeKey, change: &Change) -> Fault {
    let Change { lun, is, other, is_new } = change;
    let what = if *is_new {
        format!("LUN {lun} of {} is {is} at {} and {other} at another portal", key.target, key.portal)
    } else {
        format!(
            "LUN {lun} of {} at {} is another disk than before: {is}, and it was {other}",
            key.target, key.portal
        )
    };
    Fault::new(Kind::LunChanged, what).hint(hint!(
        "ask the gateway's administrator; if the change is intended: iscsictl login {TARGET} \
         --accept-changed-luns",
        TARGET = key.target
    ))
}

/// The disks of this session count from now on.
fn learn(known: &mut Wwids, session: &Session) {
    for disk in session.disks.iter().filter(|disk| !disk.wwid.is_empty()) {
        known.insert(disk.lun, disk.wwid.clone());
    }
}

/// The sessions that show another disk than the known one; where none is known, those that
/// disagree.
fn changes<'a>(known: &Wwids, new: &[&'a Session]) -> Vec<(&'a Session, Change)> {
    let disks = || {
        let of = |session: &&'a Session| {
            let session = *session;
            session.disks.iter().filter(|disk| !disk.wwid.is_empty()).map(move |disk| (session, disk))
        };
        new.iter().flat_map(of)
    };
    disks()
        .filter_map(|(session, disk)| {
            let before = known.get(&disk.lun);
            let other = match before {
                Some(wwid) => Some(wwid),
                None => disks()
                    .map(|(_, other)| other)
                    .find(|other| other.lun == disk.lun && other.wwid != disk.wwid)
                    .map(|other| &other.wwid),
            };
            let other = other.filter(|other| **other != disk.wwid)?.clone();
            let change = Change { lun: disk.lun, is: disk.wwid.clone(), other, is_new: before.is_none() };
            Some((session, change))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::kernel::sysfs::Disk;

    fn session(sid: u32, luns: &[(u64, &str)]) -> Session {
        let disk =
            |(lun, wwid): &(u64, &str)| Disk { lun: *lun, wwid: (*wwid).to_owned(), ..Disk::default() };
        Session { sid, disks: luns.iter().map(disk).collect(), ..Session::default() }
    }

    #[test]
    fn a_lun_is_compared_with_what_it_was() {
        let known = Wwids::from([(0, "naa.a".to_owned())]);
        let (same, other) =
            (session(1, &[(0, "naa.a"), (1, "naa.b")]), session(2, &[(0, "naa.x"), (1, "naa.b")]));
        let silent = session(3, &[(0, "")]);
        let found = changes(&known, &[&same, &other, &silent]);
        let change = Change { lun: 0, is: "naa.x".into(), other: "naa.a".into(), is_new: false };
        assert_eq!(found, [(&other, change)]);
        let mut learnt = known;
        learn(&mut learnt, &same);
        assert_eq!(learnt.get(&1).map(String::as_str), Some("naa.b"));
    }

    #[test]
    fn portals_that_do_not_agree_on_a_new_lun_are_both_refused() {
        let (one, two) = (session(1, &[(7, "naa.a")]), session(2, &[(7, "naa.b")]));
        let found = changes(&Wwids::new(), &[&one, &two]);
        assert_eq!(
            found.iter().map(|(session, change)| (session.sid, change.is_new)).collect::<Vec<_>>(),
            [(1, true), (2, true)]
        );
        assert!(changes(&Wwids::new(), &[&one]).is_empty());
    }
}
