//! Lets a few log lines of each user through, and counts the rest: any local user can cause them.
//! Must not lose a count: it is logged at the end of the time, or of the program.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// How many users are counted apart; more are counted together.
const USERS: usize = 256;

/// A limit for one kind of log line.
#[derive(Debug)]
pub struct Rate {
    what: &'static str,
    most: u32,
    window: Duration,
    seen: Mutex<HashMap<Option<u32>, u32>>,
}

/// Ends a user's time, and says what was not logged in it.
struct Window {
    rate: Arc<Rate>,
    uid: Option<u32>,
}

impl Rate {
    /// So many lines of one user within the window; `what` they are about is for the summary.
    pub fn new(what: &'static str, most: u32, window: Duration) -> Arc<Self> {
        Arc::new(Self { what, most, window, seen: Mutex::default() })
    }

    /// Whether to log this user's line. The first one begins the time, on the current runtime.
    pub fn admits(self: &Arc<Self>, uid: Option<u32>) -> bool {
        let mut seen = self.lock();
        let uid = if seen.len() < USERS || seen.contains_key(&uid) { uid } else { None };
        let count = seen.entry(uid).or_insert(0);
        *count = count.saturating_add(1);
        let (is_first, is_admitted) = (*count == 1, *count <= self.most);
        drop(seen);
        if is_first {
            let window = Window { rate: Arc::clone(self), uid };
            match tokio::runtime::Handle::try_current() {
                Ok(runtime) => drop(runtime.spawn(window.end())),
                Err(_) => drop(window),
            }
        }
        is_admitted
    }

    /// Counting cannot leave the map half written, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, HashMap<Option<u32>, u32>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    async fn end(self) {
        tokio::time::sleep(self.rate.window).await;
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let count = self.rate.lock().remove(&self.uid).unwrap_or(0);
        let more = count.saturating_sub(self.rate.most);
        if more > 0 {
            tracing::info!(uid = self.uid, what = self.rate.what, "{more} more refused");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_user_gets_so_many_lines_a_minute_and_others_get_theirs() {
        let rate = Rate::new("authorizations", 3, MINUTE);
        let admitted = |uid| (0..100).filter(|_| rate.admits(Some(uid))).count();
        assert_eq!((admitted(1000), admitted(1000), admitted(1001)), (3, 0, 3));
        tokio::time::sleep(MINUTE * 2).await;
        assert!(rate.lock().is_empty());
        assert_eq!(admitted(1000), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn so_many_users_are_counted_together() {
        let rate = Rate::new("authorizations", 1, MINUTE);
        for uid in 0..10_000 {
            rate.admits(Some(uid));
        }
        assert_eq!(rate.lock().len(), USERS + 1);
    }
}
