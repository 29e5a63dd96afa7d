//! Tracks whether a call, or work that continues after one, is running, and whether anyone watches, so that
//! the daemon can exit when idle; and whether it has to exit because a part of it has ended.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

/// Counts what is running. Shared by the interface, the engine and `main`.
#[derive(Clone)]
pub struct Activity(Arc<watch::Sender<State>>);

#[derive(Clone, Copy)]
struct State {
    calls: usize,
    watchers: usize,
    /// Something is waited for that the daemon has to do by itself.
    is_needed: bool,
    is_stopping: bool,
    has_given_up: bool,
    since: Instant,
}

/// Held for the duration of a call, or of work that continues after it.
#[must_use]
pub(crate) struct Call(Activity);

/// Held while a watcher is on the bus.
#[must_use]
pub(crate) struct Attendance(Activity);

impl Default for Activity {
    fn default() -> Self {
        let state = State {
            calls: 0,
            watchers: 0,
            is_needed: false,
            is_stopping: false,
            has_given_up: false,
            since: Instant::now(),
        };
        Self(Arc::new(watch::Sender::new(state)))
    }
}

impl Activity {
    pub(crate) fn begin(&self) -> Call {
        self.change(|state| state.calls = state.calls.saturating_add(1));
        Call(self.clone())
    }

    pub(crate) fn attend(&self) -> Attendance {
        self.change(|state| state.watchers = state.watchers.saturating_add(1));
        Attendance(self.clone())
    }

    /// Whether something is waited for that keeps the daemon.
    pub(crate) fn need(&self, is_needed: bool) {
        if self.0.borrow().is_needed != is_needed {
            self.change(|state| state.is_needed = is_needed);
        }
    }

    /// The daemon stops: what it does by itself is not begun any more.
    pub(crate) fn stop(&self) {
        self.0.send_modify(|state| state.is_stopping = true);
    }

    /// Returns once the daemon stops.
    pub(crate) async fn stopping(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|state| state.is_stopping).await;
    }

    /// A part has ended that the daemon cannot do without.
    pub(crate) fn give_up(&self) {
        self.0.send_modify(|state| state.has_given_up = true);
    }

    /// Returns once the daemon has to stop for that.
    pub(crate) async fn given_up(&self) {
        // The sender lives as long as this.
        let _ = self.0.subscribe().wait_for(|state| state.has_given_up).await;
    }

    /// Whether a watcher is there.
    pub(super) fn is_watched(&self) -> bool {
        self.0.borrow().watchers > 0
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        self.0.send_modify(|state| {
            change(state);
            state.since = Instant::now();
        });
    }

    /// Returns once no call has been running, no watcher was there, and nothing was waited for, for this long.
    pub async fn idle_for(&self, quiet: Duration) {
        self.without(quiet, |state| state.calls > 0 || state.watchers > 0 || state.is_needed).await;
    }

    /// Returns once no call has been running for this long: watchers do not keep a daemon that is asked
    /// to stop.
    pub(crate) async fn without_calls_for(&self, quiet: Duration) {
        self.without(quiet, |state| state.calls > 0).await;
    }

    async fn without(&self, quiet: Duration, is_busy: fn(&State) -> bool) {
        let mut states = self.0.subscribe();
        loop {
            let state = *states.borrow_and_update();
            let is_busy = is_busy(&state);
            if !is_busy && state.since.elapsed() >= quiet {
                return;
            }
            // A change restarts the wait. While something is going on, only a change can end it.
            let quiet_at = (!is_busy).then_some(state.since + quiet);
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
        self.0.change(|state| state.calls = state.calls.saturating_sub(1));
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.0.change(|state| state.watchers = state.watchers.saturating_sub(1));
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

    #[tokio::test(start_paused = true)]
    async fn what_is_waited_for_keeps_the_daemon_but_not_one_that_is_asked_to_stop() {
        let activity = Activity::default();
        let quiet = Duration::from_secs(30);
        activity.need(true);
        assert!(tokio::time::timeout(quiet * 9, activity.idle_for(quiet)).await.is_err());
        activity.without_calls_for(quiet).await;
        activity.need(false);
        activity.idle_for(quiet).await;
        activity.stop();
        activity.stopping().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_keeps_the_daemon_but_not_one_that_is_asked_to_stop() {
        let activity = Activity::default();
        let watcher = activity.attend();
        let quiet = Duration::from_secs(30);
        assert!(tokio::time::timeout(quiet * 9, activity.idle_for(quiet)).await.is_err());
        activity.without_calls_for(quiet).await;
        drop(watcher);
        activity.idle_for(quiet).await;
    }
}
