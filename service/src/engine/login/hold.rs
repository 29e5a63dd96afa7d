//! The claim on a target, and the logins that continue under it after their call has returned.
//!
//! Must not be released before the last of them has ended.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::engine::turns::{activity::Activity, claims::Claim};

/// A claim that late logins keep.
#[derive(Clone)]
pub(super) struct Hold {
    claim: Arc<Claim>,
    late: TaskTracker,
}

impl Hold {
    pub(super) fn new(claim: Claim) -> Self {
        Self { claim: Arc::new(claim), late: TaskTracker::new() }
    }

    /// Continues this work whatever happens to the call. No call waits for it, but the daemon must
    /// not exit before it is done.
    pub(super) fn go_on(&self, activity: &Activity, work: impl Future<Output = ()> + Send + 'static) {
        let (at_work, claim) = (activity.begin(), Arc::clone(&self.claim));
        self.late.spawn(async move {
            work.await;
            drop((claim, at_work));
        });
    }

    /// Whether work continues; valid once the attempts of the call have ended.
    pub(super) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Waits until no work continues.
    pub(super) async fn ended(&self) {
        self.late.close();
        self.late.wait().await;
    }
}
