//! The claim on a target, and the logins that go on under it when their call has been answered.
//!
//! Must not be let go before the last of them has ended.

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::engine::turns::{activity::Activity, claims::Claim};

/// A claim that logins which come late keep.
#[derive(Clone)]
pub(super) struct Hold {
    claim: Arc<Claim>,
    late: TaskTracker,
}

impl Hold {
    pub(super) fn new(claim: Claim) -> Self {
        Self { claim: Arc::new(claim), late: TaskTracker::new() }
    }

    /// Goes on with this whatever becomes of the call. No call waits for it, but the daemon may not leave before it is
    /// done.
    pub(super) fn go_on(&self, activity: &Activity, work: impl Future<Output = ()> + Send + 'static) {
        let (at_work, claim) = (activity.begin(), Arc::clone(&self.claim));
        self.late.spawn(async move {
            work.await;
            drop((claim, at_work));
        });
    }

    /// Whether something goes on; to be asked when the attempts of the call have ended.
    pub(super) fn has_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Until nothing goes on.
    pub(super) async fn ended(&self) {
        self.late.close();
        self.late.wait().await;
    }
}
