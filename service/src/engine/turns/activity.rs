//! Tracks whether a call, or work that continues after one, is running, so that the daemon can exit
//! when idle.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

/// Counts what is running. Shared by the interface, the engine and `main`.
#[derive(Clone)]
pub struct Activity(Arc<watch::Sender<State>>);

#[derive(Clone, Copy)]
struct State {
    calls: usize,
    since: Instant,
}

/// Held for the duration of a call, or of work that continues after it.
#[must_use]
pub(crate) struct Call(Activity);

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State { calls: 0, since: Instant::now() })))
    }
}

impl Activity {
    pub(crate) fn begin(&self) -> Call {
        self.0.send_modify(|state| {
            *state = State { calls: state.calls.saturating_add(1), since: Instant::now() }
        });
        Call(self.clone())
    }

    /// Returns once no call has been running for this long.
    pub async fn idle_for(&self, quiet: Duration) {
        let mut states = self.0.subscribe();
        loop {
            let State { calls, since } = *states.borrow_and_update();
            if calls == 0 && since.elapsed() >= quiet {
                return;
            }
            // A change restarts the wait. While a call is running, only a change can end it.
            let quiet_at = (calls == 0).then_some(since + quiet);
            tokio::select! {
                changed = states.changed() => if changed.is_err() { return },
                () = sleep_until(quiet_at) => {}
            }
        }
    }
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| {
            *state = State { calls: state.calls.saturating_sub(1), since: Instant::now() };
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_daemon_is_idle_only_after_the_last_call() {
        let activity = Activity::default();
        let call = activity.begin();
        let quiet = Duration::from_secs(30);
        let waiting = tokio::spawn({
            let activity = activity.clone();
            async move { activity.idle_for(quiet).await }
        });
        tokio::time::sleep(Duration::from_secs(300)).await;
        assert!(!waiting.is_finished(), "a call is at work");
        let end = Instant::now();
        drop(call);
        waiting.await.unwrap();
        assert!(end.elapsed() >= quiet && end.elapsed() < quiet * 2);
    }
}
