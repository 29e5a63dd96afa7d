//! What a killed daemon, a killed iscsid and a logout by force left behind.
//!
//! | room | what it is |
//! |---|---|
//! | `pathless_maps` | maps that outlived the sessions of their target |
//! | `programs` | what an iscsiadm goes on with after its daemon |
//! | `stale_holds` | leases of virtual machines that are gone |
//! | `stale_sessions` | sessions that a killed iscsid left behind |
//! | `undo` | restores what a killed daemon had changed |

pub(super) mod pathless_maps;
mod programs;
pub(super) mod stale_holds;
pub(super) mod stale_sessions;
pub(super) mod undo;

use std::sync::Arc;

use super::Engine;
use crate::{
    backend::host::limit::Limit,
    engine::{call::DEFAULT_TIMEOUT, leftovers::stale_sessions::Reach, turns::held},
};

impl Engine {
    /// Cleans up what a killed daemon left half done. Must be called once, before the first call
    /// can arrive.
    pub(crate) fn clean_up(self: &Arc<Self>) {
        self.database.recover();
        self.known_luns.recover();
        self.turns.leases.recover();
        let later = undo::at_once(self);
        programs::claim(self);
        let engine = Arc::clone(self);
        let at_work = self.turns.activity.begin();
        tokio::spawn(async move {
            undo::later(&engine, later).await;
            // Any local user can have the daemon started, so that alone must not restart iscsid.
            stale_sessions::remove(&engine, Reach::Remove, &Limit::of(DEFAULT_TIMEOUT)).await;
            pathless_maps::at_the_start(&engine).await;
            held::drop_stale(&engine).await;
            drop(at_work);
        });
    }
}
