//! Work that blocks, on threads where that is allowed.

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};

/// Runs it on a thread for blocking work and waits for its end. `Failed` only if it panicked.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Fault::new(Kind::Failed, "an internal task failed; the journal has the details"))
}
