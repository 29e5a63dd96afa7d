//! One change at a time for a target, and none while the initiator name changes.
//! It may not make anybody wait: the second is told `Busy`.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result};

/// What is being changed.
#[derive(Clone)]
pub(in crate::engine) struct Busy(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    targets: BTreeSet<Iqn>,
    everything: bool,
}

/// Held while something is changed; dropped in every way a call can end.
#[must_use]
pub(in crate::engine) struct Claim {
    busy: Busy,
    /// `None`: everything.
    target: Option<Iqn>,
}

impl Busy {
    pub(in crate::engine) fn new() -> Self {
        Self(Arc::default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the sets half-changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For a change to one target.
    pub(in crate::engine) fn claim(&self, target: &Iqn) -> Result<Claim> {
        let mut state = self.state();
        if state.everything {
            return Err(
                Fault::new(Kind::Busy, "the initiator name is being changed").hint("try again in a moment")
            );
        }
        if !state.targets.insert(target.clone()) {
            return Err(Fault::new(Kind::Busy, format!("another call is working on {target}"))
                .hint("try again when it is done"));
        }
        Ok(Claim { busy: self.clone(), target: Some(target.clone()) })
    }

    /// For a change that every target feels.
    pub(in crate::engine) fn claim_everything(&self) -> Result<Claim> {
        let mut state = self.state();
        if state.everything || !state.targets.is_empty() {
            return Err(
                Fault::new(Kind::Busy, "other calls are at work").hint("try again when they are done")
            );
        }
        state.everything = true;
        Ok(Claim { busy: self.clone(), target: None })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut state = self.busy.state();
        match &self.target {
            Some(target) => drop(state.targets.remove(target)),
            None => state.everything = false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_changed_by_one_call_at_a_time() {
        let busy = Busy::new();
        let (one, two): (Iqn, Iqn) =
            ("iqn.2001-04.com.example:1".parse().unwrap(), "iqn.2001-04.com.example:2".parse().unwrap());
        let claim = busy.claim(&one).unwrap();
        assert_eq!(busy.claim(&one).err().map(|fault| fault.kind()), Some(Kind::Busy));
        assert!(busy.claim(&two).is_ok(), "another target is free");
        assert!(busy.claim_everything().is_err());
        drop(claim);
        let everything = busy.claim_everything().unwrap();
        assert!(busy.claim(&one).is_err() && busy.claim_everything().is_err());
        drop(everything);
        assert!(busy.claim(&one).is_ok());
    }
}
