//! Shows the watchers what an act has changed before its result is replied.
//! Must not keep a result back if there is no watcher, or for long.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{
    mpsc::{self, UnboundedReceiver, UnboundedSender},
    oneshot,
};

use super::activity::Activity;

/// How long a result may be kept back.
const SHOW: Duration = Duration::from_secs(4);

/// A request to look, and to report what is other than before. It is answered when that is done.
pub(crate) type ToShow = oneshot::Sender<()>;

/// The watchers, as acts know them.
pub(in crate::engine) struct Audience {
    activity: Activity,
    /// No more of them wait than calls are running.
    requests: UnboundedSender<ToShow>,
    /// For who shows.
    incoming: Mutex<Option<UnboundedReceiver<ToShow>>>,
}

impl Audience {
    pub(super) fn new(activity: Activity) -> Self {
        let (requests, incoming) = mpsc::unbounded_channel();
        Self { activity, requests, incoming: Mutex::new(Some(incoming)) }
    }

    /// The requests, for the first who asks.
    pub(in crate::engine) fn requests(&self) -> Option<UnboundedReceiver<ToShow>> {
        // Taking something cannot leave it half taken, so a poisoned lock is usable.
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Returns when what is there now has been shown to the watchers, or after 4 s.
    pub(in crate::engine) async fn show(&self) {
        if !self.activity.is_watched() {
            return;
        }
        let (done, shown) = oneshot::channel();
        if self.requests.send(done).is_ok() && tokio::time::timeout(SHOW, shown).await.is_err() {
            tracing::warn!("the watchers could not be told in time what a call has changed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_result_waits_for_the_watchers_and_only_for_them() {
        let activity = Activity::default();
        let audience = Audience::new(activity.clone());
        let mut requests = audience.requests().unwrap();
        assert!(audience.requests().is_none());
        audience.show().await;
        assert!(requests.try_recv().is_err(), "no one watches");
        let _watcher = activity.attend();
        let (request, ()) = tokio::join!(
            async {
                let request: ToShow = requests.recv().await.unwrap();
                request.send(())
            },
            audience.show()
        );
        assert_eq!(request, Ok(()));
        // Who shows is stuck.
        audience.show().await;
    }
}
