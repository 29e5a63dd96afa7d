//! One change at a time for a target, and none while the initiator name changes. Calls do not wait
//! for each other: the second gets `Busy`. So does a call for a target that a program still works on after
//! its own call, whoever had started it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use iscsi_initiator_dbus::{Fault, Iqn, Kind, fault::Result};
use tokio::sync::watch;

use crate::backend::{
    host::{cancel::Cancel, limit::Limit},
    kernel::stale_sessions::askers::Act,
};

/// What is being changed.
#[derive(Clone)]
pub(in crate::engine) struct Claims(Arc<watch::Sender<State>>);

#[derive(Default)]
struct State {
    targets: BTreeSet<Iqn>,
    /// The targets that programs work on, in lower case, and what each of them does.
    programs: BTreeMap<String, Vec<Act>>,
    /// What the daemon does by itself to targets among these, which gives way to calls.
    own: BTreeMap<Iqn, Cancel>,
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
    Program(Act, String),
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
        self.take(target, None)
    }

    fn take(&self, target: &Iqn, own: Option<Cancel>) -> Result<Claim> {
        let mut result = Ok(());
        self.0.send_if_modified(|state| {
            if state.everything {
                result = Err(Fault::new(Kind::Busy, "the initiator name is being changed")
                    .hint("try again in a moment"));
            } else if let Some(act) = state.left_behind(target) {
                result = Err(under_way(act, target));
            } else if state.targets.insert(target.clone()) {
                state.own.extend(own.map(|own| (target.clone(), own)));
            } else {
                result = Err(Fault::new(Kind::Busy, format!("another call is working on {target}"))
                    .hint("try again when it is done"));
            }
            result.is_ok()
        });
        result.map(|()| Claim { claims: self.clone(), what: What::Target(target.clone()) })
    }

    /// The same for a call that does not wait for what the daemon does to the target by itself: that is cancelled, and
    /// its end waited for.
    pub(in crate::engine) async fn claim_first(&self, target: &Iqn, limit: &Limit) -> Result<Claim> {
        loop {
            // Before it is tried: no end in between goes unheard.
            let mut states = self.0.subscribe();
            let busy = match self.claim(target) {
                Ok(claim) => return Ok(claim),
                Err(busy) => busy,
            };
            let Some(own) = self.0.borrow().own.get(target).cloned() else { return Err(busy) };
            own.cancel();
            let changed = async { states.changed().await.is_ok() };
            if limit.wait(changed).await.is_none() {
                return Err(busy);
            }
        }
    }

    /// Claims a target for what the daemon does by itself, once nobody works on it.
    pub(in crate::engine) async fn claim_last(
        &self,
        target: &Iqn,
        own: Cancel,
        limit: &Limit,
    ) -> Result<Claim> {
        self.take_next(target, Some(own), limit).await
    }

    /// The same for what is part of a call, and gives way to none.
    pub(in crate::engine) async fn claim_next(&self, target: &Iqn, limit: &Limit) -> Result<Claim> {
        self.take_next(target, None, limit).await
    }

    async fn take_next(&self, target: &Iqn, own: Option<Cancel>, limit: &Limit) -> Result<Claim> {
        loop {
            // Before it is tried: no end in between goes unheard.
            let mut states = self.0.subscribe();
            let busy = match self.take(target, own.clone()) {
                Ok(claim) => return Ok(claim),
                Err(busy) => busy,
            };
            let changed = async { states.changed().await.is_ok() };
            if limit.wait(changed).await.is_none() {
                return Err(busy);
            }
        }
    }

    /// Claims a target for a program that works on it, beside the call that has started it.
    pub(super) fn claim_for_program(&self, act: Act, target: &Iqn) -> Claim {
        let target = target.canonical();
        self.0.send_modify(|state| state.programs.entry(target.clone()).or_default().push(act));
        Claim { claims: self.clone(), what: What::Program(act, target) }
    }

    /// The targets that are being worked on.
    pub(in crate::engine) fn claimed(&self) -> BTreeSet<Iqn> {
        self.0.borrow().targets.clone()
    }

    /// Claims everything, for a change that affects all targets.
    pub(in crate::engine) fn claim_everything(&self) -> Result<Claim> {
        let is_free = self.0.send_if_modified(|state| {
            let is_free = !state.everything && state.targets.is_empty() && state.programs.is_empty();
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

impl State {
    /// What a program still does to the target although its call has ended.
    fn left_behind(&self, target: &Iqn) -> Option<Act> {
        let acts = self.programs.get(&target.canonical()).filter(|_| !self.targets.contains(target))?;
        acts.first().copied()
    }
}

/// Why a target is not free although no call works on it.
fn under_way(act: Act, target: &Iqn) -> Fault {
    let (what, hint) = match act {
        Act::Login => ("login", "try again when it is done; see what iscsid waits for: journalctl -u iscsid"),
        Act::Logout => {
            ("logout", "try again when it is done; see what iscsid waits for: journalctl -u iscsid")
        }
        Act::Rescan => {
            ("rescan", "try again when it is done; see which disk does not answer: iscsictl paths")
        }
    };
    Fault::new(Kind::Busy, format!("an earlier {what} of {target} is still under way")).hint(hint)
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.send_modify(|state| match &self.what {
            What::Target(target) => {
                state.targets.remove(target);
                state.own.remove(target);
            }
            What::Program(act, target) => {
                let acts = state.programs.entry(target.clone()).or_default();
                if let Some(own) = acts.iter().position(|other| other == act) {
                    acts.remove(own);
                }
                if acts.is_empty() {
                    state.programs.remove(target);
                }
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

    #[tokio::test(start_paused = true)]
    async fn what_the_daemon_does_by_itself_waits_for_calls_and_gives_way_to_them() {
        let claims = Claims::default();
        let target: Iqn = "iqn.2001-04.com.example:1".parse().unwrap();
        let limit = Limit::of(std::time::Duration::from_secs(20));
        let call = claims.claim(&target).unwrap();
        let cancel = Cancel::default();
        let own = tokio::spawn({
            let (claims, target, cancel, limit) =
                (claims.clone(), target.clone(), cancel.clone(), limit.clone());
            async move { claims.claim_last(&target, cancel, &limit).await }
        });
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(!own.is_finished() && claims.claim_first(&target, &limit).await.is_err(), "a call is at it");
        drop(call);
        let own = own.await.unwrap().unwrap();
        assert_eq!(claims.claim(&target).err().map(|fault| fault.kind()), Some(Kind::Busy));
        let first = tokio::spawn({
            let (claims, target, limit) = (claims.clone(), target.clone(), limit.clone());
            async move { claims.claim_first(&target, &limit).await }
        });
        cancel.cancelled().await;
        assert!(!first.is_finished(), "until that has ended");
        drop(own);
        let _first = first.await.unwrap().unwrap();
        let late = claims.claim_last(&target, Cancel::default(), &limit).await;
        assert_eq!(late.err().map(|fault| fault.kind()), Some(Kind::Busy));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_left_of_a_call_has_its_turn_at_the_end_of_another() {
        let claims = Claims::default();
        let target: Iqn = "iqn.2001-04.com.example:1".parse().unwrap();
        let limit = Limit::of(std::time::Duration::from_secs(20));
        let call = claims.claim(&target).unwrap();
        let next = tokio::spawn({
            let (claims, target, limit) = (claims.clone(), target.clone(), limit.clone());
            async move { claims.claim_next(&target, &limit).await }
        });
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        assert!(!next.is_finished());
        let ended = tokio::time::Instant::now();
        drop(call);
        let next = next.await.unwrap().unwrap();
        assert!(ended.elapsed().is_zero(), "it does not look now and then");
        let first = claims.claim_first(&target, &limit).await;
        assert_eq!(first.err().map(|fault| fault.kind()), Some(Kind::Busy), "it gives way to no call");
        drop(next);
    }

    #[test]
    fn a_target_is_claimed_until_the_last_program_that_works_on_it_has_ended() {
        let claims = Claims::default();
        let (one, two): (Iqn, Iqn) =
            ("iqn.2001-04.com.example:1".parse().unwrap(), "iqn.2001-04.com.example:2".parse().unwrap());
        let as_the_kernel_has_it: Iqn = "IQN.2001-04.com.example:1".parse().unwrap();
        let claim = claims.claim(&one).unwrap();
        let programs = [(Act::Rescan, &one), (Act::Logout, &as_the_kernel_has_it)];
        let late = programs.map(|(act, target)| claims.claim_for_program(act, target));
        assert!(claims.claim(&one).err().unwrap().message().starts_with("another call"));
        drop(claim);
        for (program, words) in late.into_iter().zip(["earlier rescan", "earlier logout"]) {
            let fault = claims.claim(&one).err().unwrap();
            assert_eq!(fault.kind(), Kind::Busy);
            assert!(fault.message().contains(words) && claims.claim_everything().is_err(), "{fault}");
            assert!(claims.claim(&two).is_ok(), "another target is free");
            drop(program);
        }
        assert!(claims.claim(&one).is_ok() && claims.claim_everything().is_ok());
    }
}
