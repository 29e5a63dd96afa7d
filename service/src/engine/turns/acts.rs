//! Locks for operations that must not run in parallel.

use std::sync::Arc;

use tokio::sync::{Mutex, RwLock};

use super::{
    places::{AT_ONCE, Places},
    teardowns::Teardowns,
};

/// One lock each.
pub(in crate::engine) struct Acts {
    /// One logout at a time tears down a disk.
    pub(in crate::engine) teardowns: Teardowns,
    /// How many sessions are ended at a time, by all calls: no login is in the way of a logout.
    pub(in crate::engine) leaving: Places,
    /// One setup of multipath at a time, and no fix meanwhile.
    pub(in crate::engine) multipath: Mutex<()>,
    /// One examination at a time: any local user may request one, and each starts programs.
    pub(in crate::engine) examination: Mutex<()>,
    /// One call at a time removes stale sessions.
    pub(in crate::engine) stale_sessions: Arc<Mutex<()>>,
    /// Held, shared, by each call that asks iscsid for a session, so that iscsid is not restarted
    /// meanwhile. An iscsiadm that continues after its call is visible among the processes.
    pub(in crate::engine) iscsid: Arc<RwLock<()>>,
}

impl Default for Acts {
    fn default() -> Self {
        Self {
            teardowns: Teardowns::default(),
            leaving: Places::of(AT_ONCE),
            multipath: Mutex::default(),
            examination: Mutex::default(),
            stale_sessions: Arc::default(),
            iscsid: Arc::default(),
        }
    }
}
