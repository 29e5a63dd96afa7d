//! One change at a time for a target, and none while the initiator name changes. Calls do not wait
//! for each other: the second gets `Busy`.

use std::{collections::BTreeSet, sync::Arc};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result};
use tokio::sync::watch;

/// What is being changed.
#[derive(Clone)]
pub(in crate::engine) struct Claims(Arc<watch::Sender<State>>);

#[derive(Default)]
struct State {
    targets: BTreeSet<Iqn>,
    everything: bool,
}

/// Held while something is changed, and dropped in every way a call can end.
#[must_use]
pub(in crate::engine) struct Claim {
    claims: Claims,
    /// `None`: everything.
    target: Option<Iqn>,
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
            } else if !state.targets.insert(target.clone()) {
                result = Err(Fault::new(Kind::Busy, format!("another call is working on {target}"))
                    .hint("try again when it is done"));
            }
            result.is_ok()
        });
        result.map(|()| Claim { claims: self.clone(), target: Some(target.clone()) })
    }

    /// Claims everything, for a change that affects all targets.
    pub(in crate::engine) fn claim_everything(&self) -> Result<Claim> {
        let is_free = self.0.send_if_modified(|state| {
            let is_free = !state.everything && state.targets.is_empty();
            state.everything |= is_free;
            is_free
        });
        if !is_free {
            return Err(
                Fault::new(Kind::Busy, "other calls are running").hint("try again when they are done")
            );
        }
        Ok(Claim { claims: self.clone(), target: None })
    }

    /// Returns while no change that affects all targets is running.
    pub(in crate::engine) async fn wait_for_everything(&self) {
        // Cannot fail: this holds the sender.
        let _ = self.0.subscribe().wait_for(|state| !state.everything).await;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.send_modify(|state| match &self.target {
            Some(target) => drop(state.targets.remove(target)),
            None => state.everything = false,
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
}
