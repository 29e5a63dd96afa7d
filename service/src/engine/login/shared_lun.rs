//! Detects a LUN whose identifier is that of a disk of another target. A login rejects it, because
//! multipath makes one map of both, and what is written goes to either. A person may accept it: some
//! arrays have a target for each controller.

use std::{collections::BTreeMap, sync::Arc};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result, hint};

use super::lun_identity::{self, Fresh, Refused};
use crate::{
    backend::{
        host::{limit::Limit, threads::blocking},
        kernel::sysfs::{Scope, Session},
        open_iscsi::{database::NodeKey, known_luns::Shared},
    },
    engine::{
        Engine,
        state::{
            same_disk::{Accepted, SameDisk, with_other_targets},
            snapshot::Snapshot,
            troubles,
            watch::Predicate,
        },
    },
};

/// Ends the new sessions that show such a LUN. It does not wait for maps: while sessions are still being
/// scanned it looks at each LUN as it appears, so that multipathd has little time to make one.
pub(super) async fn refuse_early(
    engine: &Engine,
    target: &Iqn,
    fresh: &Fresh,
    accept: bool,
    limit: &Limit,
) -> Result<Refused> {
    if accept || fresh.is_empty() {
        return Ok(Refused::new());
    }
    let mut seen = Seen { engine, target, fresh };
    if engine.state.watch.until(&mut seen, limit).await? != Some(Sight::Shared) {
        return Ok(Refused::new());
    }
    refuse(engine, target, fresh, None, accept, limit).await
}

/// Ends the new sessions that show such a LUN. With `accept` they stay up, and that is remembered, also
/// of the sessions that were up. `now` is a look at the target and what is around it, if it is still
/// true.
pub(super) async fn refuse(
    engine: &Engine,
    target: &Iqn,
    fresh: &Fresh,
    now: Option<&Snapshot>,
    accept: bool,
    limit: &Limit,
) -> Result<Refused> {
    let anew;
    let now = match now {
        Some(now) => now,
        None => {
            anew = engine.state.sessions_around(Scope::of([target])).await?;
            &anew
        }
    };
    let sessions = now.all_sessions();
    let shared = with_other_targets(sessions, target);
    if shared.is_empty() {
        return Ok(Refused::new());
    }
    if accept {
        let (luns, name, accepted) = (engine.known_luns.clone(), target.clone(), accepted(&shared, target));
        if let Err(fault) = blocking(move || luns.accept_shared(&name, &accepted)).await? {
            // It is accepted this time, and refused the next.
            tracing::warn!(%target, error = fault.message(), "cannot store which disks it may share");
        }
        return Ok(Refused::new());
    }
    let accepted = troubles::accepted(engine, sessions).await?;
    let mut reasons = BTreeMap::new();
    for (sid, key) in fresh {
        let Some(found) = shared.iter().find_map(|group| clash(group, *sid, &accepted)) else { continue };
        tracing::error!(
            %target, portal = %key.portal, lun = found.lun, wwid = %found.wwid, other = %found.other,
            "a LUN has the identifier of another target's disk: ending its session"
        );
        reasons.insert(*sid, found.reason(key));
    }
    lun_identity::end(engine, target, fresh, &now.copies(), reasons, limit).await
}

/// What is accepted from now on: the other targets of each identifier.
fn accepted(shared: &[SameDisk<'_>], target: &Iqn) -> Shared {
    let mut accepted = Shared::new();
    for group in shared {
        let others = group.targets().into_iter().filter(|name| !name.eq_ignore_ascii_case(target.as_str()));
        let others: Vec<String> = others.map(str::to_owned).collect();
        for wwid in group.wwids() {
            accepted.entry(wwid.to_owned()).or_default().extend(others.iter().cloned());
        }
    }
    accepted
}

/// A LUN of a new session, and the other target's that it counts as one with.
#[derive(Debug, PartialEq, Eq)]
struct Clash {
    lun: u64,
    wwid: String,
    /// `LUN 0 of iqn.a (sda)`.
    other: String,
    /// The map that multipathd has made of both.
    map: Option<String>,
    /// In what the two differ.
    differences: Vec<String>,
}

fn clash(group: &SameDisk<'_>, sid: u32, accepted: &Accepted) -> Option<Clash> {
    let own = group.paths.iter().find(|path| path.session.sid == sid)?;
    let is_other = |target: &str| !target.eq_ignore_ascii_case(&own.session.target);
    let others = group.paths.iter().filter(|path| is_other(&path.session.target));
    let other = others.min_by_key(|path| path.session.sid)?;
    if group.is_accepted(accepted) {
        return None;
    }
    let is_one_map = own.disk.map.is_some() && own.disk.map == other.disk.map;
    Some(Clash {
        lun: own.disk.lun,
        wwid: own.disk.wwid.clone(),
        other: format!("LUN {} of {} ({})", other.disk.lun, other.session.target, other.disk.label()),
        map: own.disk.map.as_ref().filter(|_| is_one_map).map(|map| map.name.clone()),
        differences: SameDisk { paths: vec![*other, *own] }.differences(),
    })
}

impl Clash {
    fn reason(&self, key: &NodeKey) -> Fault {
        let Self { lun, wwid, other, map, differences } = self;
        let mut what = format!(
            "LUN {lun} of {} at {} has the identifier {wwid}, which is already that of another target's disk: \
             {other}",
            key.target, key.portal
        );
        if !differences.is_empty() {
            what.push_str(&format!("; they differ {}", differences.join(" and ")));
        }
        if let Some(map) = map {
            what.push_str(&format!("; multipathd had made one map of both: {map}"));
        }
        Fault::new(Kind::LunChanged, what).hint(hint!(
            "have the gateway's administrator give each disk an identifier of its own; if both targets lead to \
             the same disk: iscsictl login {TARGET} --accept-changed-luns",
            TARGET = key.target
        ))
    }
}

/// What has been seen of the new sessions' LUNs.
#[derive(Debug, PartialEq, Eq)]
enum Sight {
    /// One is another target's as well.
    Shared,
    /// All of them were looked at, as far as the kernel reports that.
    Whole,
}

struct Seen<'a> {
    engine: &'a Engine,
    target: &'a Iqn,
    fresh: &'a Fresh,
}

impl Predicate for Seen<'_> {
    type Is = Sight;

    async fn look(&mut self) -> Result<Option<Sight>> {
        let scope = Scope::numbered(self.fresh.keys().copied());
        let now = self.engine.state.sessions_around(scope).await?;
        let sessions = now.all_sessions();
        let shared = with_other_targets(sessions, self.target);
        if !shared.is_empty() {
            let accepted = troubles::accepted(self.engine, sessions).await?;
            let is_new = |sid: &u32| shared.iter().any(|group| clash(group, *sid, &accepted).is_some());
            if self.fresh.keys().any(is_new) {
                return Ok(Some(Sight::Shared));
            }
        }
        let is_being_scanned = |session: &&Arc<Session>| {
            self.fresh.contains_key(&session.sid)
                && session.state == "LOGGED_IN"
                && session.scanned == Some(false)
        };
        Ok((!sessions.iter().any(|session| is_being_scanned(&session))).then_some(Sight::Whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::state::same_disk::{
        paths_of, same_disks,
        tests::{disk, session},
    };

    fn key(target: &str) -> NodeKey {
        NodeKey {
            target: target.parse().unwrap(),
            portal: "192.0.2.37".parse().unwrap(),
            tpgt: Some(1),
            iface: "default".into(),
            spelled: None,
        }
    }

    const A: &str = "iqn.2003-01.com.example:a";
    const B: &str = "iqn.2003-01.com.example:b";

    #[test]
    fn a_lun_that_another_target_has_is_named_with_both() {
        for (map, size, words) in [
            ("", 64, vec![]),
            ("mpatha", 64, vec!["one map of both: mpatha"]),
            (
                "mpatha",
                32,
                vec!["one map of both: mpatha", "they differ in size (sda 64 bytes, sdb 32 bytes)"],
            ),
        ] {
            let sessions = [
                session(1, A, vec![disk("sda", 0, 64, "naa.1", map)]),
                session(2, B, vec![disk("sdb", 3, size, "naa.1", map), disk("sdc", 1, 64, "naa.2", "")]),
            ];
            let groups = same_disks(&paths_of(&sessions));
            let found: Vec<Clash> =
                groups.iter().filter_map(|group| clash(group, 2, &Accepted::new())).collect();
            let [found] = found.as_slice() else { panic!("{found:?}") };
            let fault = found.reason(&key(B));
            assert_eq!(fault.kind(), Kind::LunChanged);
            let both = [format!("LUN 3 of {B} at 192.0.2.37:3260"), format!("LUN 0 of {A} (sda)")];
            for word in both.iter().map(String::as_str).chain(words).chain(["naa.1"]) {
                assert!(fault.message().contains(word), "{fault}");
            }
            assert!(
                fault.next_step().contains(&format!("iscsictl login {B} --accept-changed-luns")),
                "{fault}"
            );
        }
    }

    #[test]
    fn what_was_accepted_is_not_refused_again_whoever_comes_first() {
        let sessions = [
            session(1, A, vec![disk("sda", 0, 64, "naa.1", "")]),
            session(2, B, vec![disk("sdb", 0, 64, "naa.1", "")]),
        ];
        let shared = with_other_targets(&sessions, &B.parse().unwrap());
        let stored = Accepted::from([(B.to_owned(), accepted(&shared, &B.parse().unwrap()))]);
        for sid in [1, 2] {
            assert!(clash(&shared[0], sid, &Accepted::new()).is_some());
            assert_eq!(clash(&shared[0], sid, &stored), None);
        }
    }
}
