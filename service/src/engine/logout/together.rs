//! One iscsiadm for all sessions of a target: each iscsiadm reads every session of the machine before it logs
//! out of one, which is most of what a logout costs.
//! Must not end a session that is not among them.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::Iqn;

use crate::{
    backend::{
        host::limit::Limit,
        kernel::{
            stale_sessions::askers::Act,
            sysfs::{Session, Sysfs},
        },
        open_iscsi::iscsiadm::{Iscsiadm, Refused},
    },
    engine::{
        Engine,
        turns::places::{AT_ONCE, Share},
    },
};

/// How logouts ended.
#[derive(Default)]
pub(super) struct Together {
    /// By session; without those that are to be logged out of by themselves: because they are not all sessions of one
    /// target, because iscsiadm does not say, or because it came too early for iscsid.
    pub(super) done: BTreeMap<u32, Result<(), Refused>>,
    /// Of those for which it came too early.
    pub(super) early: BTreeMap<u32, Refused>,
    /// Those that were gone once iscsiadm had said so of all; `None` if it had not.
    pub(super) gone: Option<BTreeSet<u32>>,
}

/// Logs out of all of them by one iscsiadm, if that can be.
pub(super) async fn log_out(
    engine: &Engine,
    iscsiadm: &Iscsiadm,
    sessions: &[Session],
    share: &Share,
    limit: &Limit,
) -> Together {
    let ours: BTreeSet<u32> = sessions.iter().map(|session| session.sid).collect();
    let target = one_target(sessions).filter(|_| (2..=AT_ONCE).contains(&ours.len()));
    let Some(target) = target else { return Together::default() };
    let Ok(_place) = share.place(limit).await else { return Together::default() };
    // Another program may have made one more, and what uses its disks was not looked at.
    let (sysfs, name, expected) = (engine.state.sysfs.clone(), target.as_str().to_owned(), ours.clone());
    let are_all = move || sysfs.sids_of(&name) == expected;
    let (sysfs, sids) = (engine.state.sysfs.clone(), ours.clone());
    let look = move || gone_of(&sysfs, sids);
    let running = engine.turns.programs.running(Act::Logout, target.as_str());
    let heard = iscsiadm.log_out_of_all(&target, &ours, are_all, look, running, limit).await;
    let (said, gone) = match heard.transpose() {
        None => return Together::default(),
        Some(Ok((said, gone))) => (Ok(said), gone),
        Some(Err(refused)) => (Err(refused), None),
    };
    let (mut done, mut early) = (BTreeMap::new(), BTreeMap::new());
    for sid in ours {
        let told = match &said {
            Ok(said) => said.on_session(sid),
            Err(refused) => Some(Err(refused.clone())),
        };
        match told {
            None => {}
            Some(Err(refused)) if refused.is_too_early() => drop(early.insert(sid, refused)),
            Some(told) => drop(done.insert(sid, told)),
        }
    }
    Together { done, early, gone }
}

/// Those of these sessions that are certain to be gone. Blocks.
pub(super) fn gone_of(sysfs: &Sysfs, sids: BTreeSet<u32>) -> BTreeSet<u32> {
    sids.into_iter().filter(|sid| sysfs.has_session(*sid) == Some(false)).collect()
}

/// The target of all of them, if its name can be an argument.
fn one_target(sessions: &[Session]) -> Option<Iqn> {
    let (first, others) = sessions.split_first()?;
    let target = Iqn::recorded(&first.target).ok()?;
    let is_one = others.iter().all(|session| session.target == first.target);
    (is_one && target.as_str() == first.target).then_some(target)
}
