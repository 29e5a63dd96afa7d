//! The programs that work on a target. A program goes on after the deadline of its call, and after its daemon.
//! Must not be given up before the program has said that all is done, has ended, or has hung for 30 s after it was killed.

use iscsi_initiator_dbus::Iqn;

use super::{
    activity::{self, Activity},
    claims::{Claim, Claims},
    leases::{Ending, Leases},
};
use crate::backend::kernel::stale_sessions::askers::Act;

/// What a program that works on a target keeps from others.
#[derive(Clone)]
pub(in crate::engine) struct Programs {
    activity: Activity,
    claims: Claims,
    leases: Leases,
}

/// Until this is dropped no call but the one that started the program works on the target, and the daemon stays.
/// While the program is at a logout, no lease on the target is taken either.
#[must_use]
pub(in crate::engine) struct Running {
    _claim: Option<Claim>,
    _ending: Option<Ending>,
    _at_work: activity::Call,
}

impl Programs {
    pub(super) fn new(activity: &Activity, claims: &Claims, leases: &Leases) -> Self {
        Self { activity: activity.clone(), claims: claims.clone(), leases: leases.clone() }
    }

    /// A program does this to the target from now on. Whoever starts one gives it this, and it is dropped once all is
    /// done, with the program's end, or if it is not started: see `backend/host/program.rs`.
    pub(in crate::engine) fn running(&self, act: Act, target: &str) -> Running {
        // What is no iSCSI name cannot be claimed by a call either.
        let target = Iqn::recorded(target).ok();
        Running {
            _claim: target.as_ref().map(|target| self.claims.claim_for_program(act, target)),
            _ending: target.filter(|_| act == Act::Logout).map(|target| self.leases.ending_of(&target)),
            _at_work: self.activity.begin(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iscsi_initiator_dbus::Kind;

    use super::*;
    use crate::engine::turns::Turns;

    #[tokio::test(start_paused = true)]
    async fn a_program_keeps_its_target_and_the_daemon() {
        let run = tempfile::tempdir().unwrap();
        let turns = Turns::new(Activity::default(), run.path());
        let quiet = Duration::from_secs(30);
        let (name, target) = ("IQN.2001-04.com.example:1", "iqn.2001-04.com.example:1".parse().unwrap());
        for (act, words) in [(Act::Login, "login"), (Act::Logout, "logout"), (Act::Rescan, "rescan")] {
            let running = turns.programs.running(act, name);
            let fault = turns.claims.claim(&target).err().unwrap();
            assert_eq!(fault.kind(), Kind::Busy);
            assert!(fault.message().contains(&format!("earlier {words} of")), "{fault}");
            let leave = tokio::time::timeout(quiet * 9, turns.activity.idle_for(quiet));
            assert!(leave.await.is_err(), "the daemon stays");
            let holder = "libvirt:web".parse().unwrap();
            let held = turns.leases.hold(&target, holder, 0, None).await;
            assert_eq!(held.is_err(), act == Act::Logout, "{act:?}: {held:?}");
            drop(running);
            assert!(turns.claims.claim(&target).is_ok());
            turns.activity.idle_for(quiet).await;
        }
        let nameless = turns.programs.running(Act::Rescan, "?");
        assert!(turns.claims.claim_everything().is_ok());
        assert!(tokio::time::timeout(quiet * 9, turns.activity.idle_for(quiet)).await.is_err());
        drop(nameless);
    }
}
