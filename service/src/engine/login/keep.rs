//! Keeps the nodes logged in to that are set to log in automatically: while one has no session, the daemon stays and
//! tries again. What is missing, and when it is tried, is in `turns/missing`.
//! Must not log in to a node that somebody has logged out of, or that was never up and not set so at the boot.
//!
//! | room | what it is |
//! |---|---|
//! | `attempt` | one try: a connection to the portal, then the login of all its targets |
//! | `boot` | the wait of the boot, in a process of its own |
//! | `task` | looks for what is missing, and tries |

mod attempt;
mod boot;
mod task;

use std::{sync::Arc, time::Duration};

pub(crate) use self::boot::await_automatic;
use crate::engine::Engine;

/// How long the first look may keep the start.
const FIRST: Duration = Duration::from_millis(500);

impl Engine {
    /// Begins to keep the nodes logged in to. Must be called once. Returns after the first look, or soon if that takes
    /// long: calls that come then are told what is missing.
    pub(crate) async fn keep_logged_in(self: &Arc<Self>) {
        tokio::spawn(task::run(Arc::clone(self)));
        let mut looked = self.turns.missing.has_looked.subscribe();
        let first = async { looked.wait_for(|has_looked| *has_looked).await.is_ok() };
        // What is late is known by the next calls.
        let _ = tokio::time::timeout(FIRST, first).await;
    }
}

#[cfg(test)]
mod tests;
