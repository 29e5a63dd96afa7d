//! A logout that a program goes on with after its call, or after its daemon.
//! Must not be given up before the program has ended.

use iscsi_initiator_dbus::Iqn;

use super::{Turns, activity, claims::Claim, leases::Ending};

/// Until this is dropped no call works on the target, no lease on it is taken, and the daemon stays.
#[must_use]
pub(in crate::engine) struct LateLogout {
    _claim: Claim,
    _ending: Ending,
    _at_work: activity::Call,
}

impl Turns {
    /// A program is logging out of the target. The call that had started it may have its claim yet.
    pub(in crate::engine) fn late_logout(&self, target: &Iqn) -> LateLogout {
        LateLogout {
            _claim: self.claims.claim_for_late_logout(target),
            _ending: self.leases.ending_of(target),
            _at_work: self.activity.begin(),
        }
    }
}
