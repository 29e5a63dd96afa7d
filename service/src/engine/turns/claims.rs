//! One change at a time for a target, and none while the initiator name changes. Calls do not wait
//! for each other: the second gets `Busy`. So does a call for a target that a program is still logging
//! out of, whoever had started it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result};
use tokio::sync::watch;

/// What is being changed.
#[derive(Clone)]
pub(in crate::engine) struct Claims(Arc<watch::Sender<State>>);

#[derive(Default)]
struct State {
    targets: BTreeSet<Iqn>,
    /// The targets that programs are logging out of, in lower case, and how many are at it.
    late_logouts: BTreeMap<String, usize>,
    everything: bool,
}

/// Held while something is changed, and dropped in every way a call can end.
#[must_use]
pub(in crate::engine) struct Claim {
    claims: Claims,
    what: What,
}

enum What {
    Target(Iqn),
    LateLogout(String),
    Everything,
}

impl Default for Claims {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State::default())))
    }
}

impl Claims {
    /// Claims one target.
    pub(in crate::engine) fn claim(&self, target: &Iqn) -> Result<Claim> {
        let mut result = Ok(());
        self.0.send_if_modified(|state| {
            if state.everything {
                result = Err(Fault::new(Kind::Busy, "the initiator name is being changed")
                    .hint("try again in a moment"));
            } else if state.late_logouts.contains_key(&target.canonical()) && !state.targets.contains(target)
            {
                let what = format!("an earlier logout of {target} is still under way");
                result = Err(Fault::new(Kind::Busy, what)
                    .hint("try again when it is done; see what iscsid waits for: journalctl -u iscsid"));
            } else if !state.targets.insert(target.clone()) {
                result = Err(Fault::new(Kind::Busy, format!("another call is working on {target}"))
                    .hint("try again when it is done"));
            }
            result.is_ok()
        });
        result.map(|()| Claim { claims: self.clone(), what: What::Target(target.clone()) })
    }

    /// Claims a target for a program that is logging out of it, beside the call that had started it.
    pub(super) fn claim_for_late_logout(&self, target: &Iqn) -> Claim {
        let target = target.canonical();
        self.0.send_modify(|state| *state.late_logouts.entry(target.clone()).or_default() += 1);
        Claim { claims: self.clone(), what: What::LateLogout(target) }
    }

    /// Claims everything, for a change that affects all targets.
    pub(in crate::engine) fn claim_everything(&self) -> Result<Claim> {
        let is_free = self.0.send_if_modified(|state| {
            let is_free = !state.everything && state.targets.is_empty() && state.late_logouts.is_empty();
            state.everything |= is_free;
            is_free
        });
        if !is_free {
            return Err(
                Fault::new(Kind::Busy, "other calls are running").hint("try again when they are done")
            );
        }
        Ok(Claim { claims: self.clone(), what: What::Everything })
    }

    /// Returns while no change that affects all targets is running.
    pub(in crate::engine) async fn wait_for_everything(&self) {
        // Cannot fail: this holds the sender.
        let _ = self.0.subscribe().wait_for(|state| !state.everything).await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.send_modify(|state| match &self.what {
            What::Target(target) => drop(state.targets.remove(target)),
            What::LateLogout(target) => {
                if let Some(count) = state.late_logouts.get_mut(target) {
                    *count -= 1;
                }
                state.late_logouts.retain(|_, count| *count > 0);
            }
            What::Everything => state.everything = false,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_target_is_changed_by_one_call_at_a_time() {
        let claims = Claims::default();
        let (one, two): (Iqn, Iqn) =
            ("iqn.2001-04.com.example:1".parse().unwrap(), "iqn.2001-04.com.example:2".parse().unwrap());
        let claim = claims.claim(&one).unwrap();
        assert_eq!(claims.claim(&one).err().map(|fault| fault.kind()), Some(Kind::Busy));
        assert!(claims.claim(&two).is_ok(), "another target is free");
        assert!(claims.claim_everything().is_err());
        drop(claim);
        let everything = claims.claim_everything().unwrap();
        assert!(claims.claim(&one).is_err() && claims.claim_everything().is_err());
        let waiting = tokio::spawn({
            let claims = claims.clone();
            async move { claims.wait_for_everything().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(everything);
        waiting.await.unwrap();
        assert!(claims.claim(&one).is_ok());
    }

    #[test]
    fn a_target_is_claimed_until_the_last_program_that_logs_out_of_it_has_ended() {
        let claims = Claims::default();
        let (one, two): (Iqn, Iqn) =
            ("iqn.2001-04.com.example:1".parse().unwrap(), "iqn.2001-04.com.example:2".parse().unwrap());
        let as_the_kernel_has_it: Iqn = "IQN.2001-04.com.example:1".parse().unwrap();
        let claim = claims.claim(&one).unwrap();
        let late = [&one, &as_the_kernel_has_it].map(|target| claims.claim_for_late_logout(target));
        assert!(claims.claim(&one).err().unwrap().message().starts_with("another call"));
        drop(claim);
        for program in late {
            let fault = claims.claim(&one).err().unwrap();
            assert_eq!(fault.kind(), Kind::Busy);
            assert!(
                fault.message().contains("earlier logout") && claims.claim_everything().is_err(),
                "{fault}"
            );
            assert!(claims.claim(&two).is_ok(), "another target is free");
            drop(program);
        }
        assert!(claims.claim(&one).is_ok() && claims.claim_everything().is_ok());
    }
}
