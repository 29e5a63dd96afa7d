//! Sets multipath up for iSCSI disks, shows what that would change, and undoes it. No configuration
//! takes effect that multipath's parser has not checked, and a failed setup leaves nothing behind.
//!
//! | room | what it is |
//! |---|---|
//! | `in_force` | waits until multipathd has read its configuration |
//! | `own_file` | this service's file, as it is and as it will be |
//! | `setup` | a setup |
//! | `take_back` | undoes a setup that failed, or whose daemon was killed |
//! | `undo` | restores the state before the first setup |
//! | `units` | the units that must run |
//! | `why_none` | why a disk has no map, and what to do about it |

mod in_force;
mod own_file;
mod setup;
pub(super) mod take_back;
mod undo;
mod units;
pub(super) mod why_none;

use std::sync::Arc;

use iscsi_initiator_dbus::{Fault, Kind, fault::Result, options::MultipathOptions, results::MultipathChange};
use iscsi_initiator_polkit::Action;

use super::{
    Engine,
    call::{Call, act},
};

impl Engine {
    /// Sets multipath up, reports what that would change, or undoes it.
    pub(crate) async fn setup_multipath(
        self: &Arc<Self>,
        call: &Call,
        options: MultipathOptions,
    ) -> Result<MultipathChange> {
        act(self, call, Action::Configure, move |engine, call| {
            Box::pin(async move {
                let _turn = engine.turns.acts.multipath.try_lock().map_err(|_| {
                    Fault::new(Kind::Busy, "another call is setting multipath up")
                        .hint("try again when it is done")
                })?;
                if !options.dry_run {
                    take_back::all_left(engine, call.limit()).await?;
                }
                if options.undo {
                    undo::undo(engine, options.dry_run, call.progress(), call.limit()).await
                } else {
                    setup::setup(engine, &options, call.progress(), call.limit()).await
                }
            })
        })
        .await
    }
}
