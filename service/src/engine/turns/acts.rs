//! The turns of acts that must not run twice at the same time.

use std::sync::Arc;

use tokio::sync::{Mutex, RwLock};

/// A lock for each.
#[derive(Default)]
pub(in crate::engine) struct Acts {
    /// One logout at a time tears down: two that share a map would each leave it to the other.
    pub(in crate::engine) logout: Mutex<()>,
    /// One setup of multipath at a time, and no fix meanwhile.
    pub(in crate::engine) multipath: Mutex<()>,
    /// One examination at a time: any local user may ask for one, and each starts programs.
    pub(in crate::engine) examination: Mutex<()>,
    /// One at a time removes stale sessions.
    pub(in crate::engine) stale_sessions: Arc<Mutex<()>>,
    /// Held, shared, by each call that asks iscsid for a session: it is not restarted under them. An iscsiadm that goes
    /// on after its call is seen among the processes.
    pub(in crate::engine) iscsid: Arc<RwLock<()>>,
}
