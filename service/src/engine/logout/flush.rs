//! Writes cached data to the disks before anything is torn down.

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};

use super::{maps, plan::Plan};
use crate::{
    backend::{
        host::{limit::Limit, threads::writing},
        kernel::buffers::write_back,
    },
    engine::Engine,
};

/// Writes back maps, then disks. An error is a failure.
pub(super) async fn flush(engine: &Engine, plan: &Plan, limit: &Limit) -> Result<()> {
    let (dev, devices) = (engine.layout.dev.clone(), plan.flushable());
    let mut work = tokio::spawn(writing(move || {
        devices.into_iter().try_for_each(|device| {
            write_back(&dev.join(&device)).map_err(|error| {
                Fault::new(
                    Kind::Failed,
                    format!("cannot write the cached data of {device} to the disk ({error})"),
                )
            })
        })
    }));
    let result = match limit.wait(&mut work).await {
        Some(done) => done
            .unwrap_or_else(|_| Err(Fault::new(Kind::Failed, "an internal task failed")))
            .and_then(|flushed| flushed),
        None => {
            // Otherwise the daemon's own wait would hold the map open as long as it has no path.
            // Nothing else waits, since nothing uses the map.
            maps::stop_queueing(engine, plan).await?;
            let (multipathd, maps, at_work) =
                (engine.state.multipathd.clone(), plan.maps.clone(), engine.turns.activity.begin());
            tokio::spawn(async move {
                let _ = work.await;
                // The map stays.
                let _ = maps::queue_again(&multipathd, &maps).await;
                drop(at_work);
            });
            Err(limit.fault("timed out writing the cached data to the disks"))
        }
    };
    result.map_err(|fault| {
        let what = format!("{}; nothing was torn down", fault.message());
        Fault::new(fault.kind(), what).hint("see the state of the disks: iscsictl paths")
    })
}
