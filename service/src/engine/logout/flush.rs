//! What was written and is still in memory goes to the disks, before anything is torn down.
//! It may not wait longer than the caller, nor take an error for done.

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use rustix::fs::{CWD, Mode, OFlags};
use tokio::time::{Instant, timeout_at};

use super::{
    super::{Engine, blocking},
    maps,
    plan::Plan,
};

impl Engine {
    /// Writes back maps, then disks. No program is needed for it: `fsync` on a block device writes its buffers and
    /// has the disk empty its cache, and unlike `blockdev --flushbufs` it tells that it failed.
    pub(super) async fn flush(&self, plan: &Plan, deadline: Instant) -> Result<()> {
        let (dev, devices) = (self.layout.dev.clone(), plan.flushable());
        let work = blocking(move || {
            devices.into_iter().try_for_each(|device| {
                flush(&dev.join(&device)).map_err(|error| {
                    Fault::new(
                        Kind::Failed,
                        format!("what was written to {device} could not be brought to the disk ({error})"),
                    )
                })
            })
        });
        let mut work = tokio::spawn(work);
        let result = match timeout_at(deadline, &mut work).await {
            Ok(done) => done
                .unwrap_or_else(|_| Err(Fault::new(Kind::Failed, "an internal task failed")))
                .and_then(|flushed| flushed),
            Err(_) => {
                // Or our own wait would hold the map open as long as it finds no path. Nobody else waits: nobody
                // uses it.
                self.stop_queueing(plan).await?;
                let (multipathd, maps, at_work) =
                    (self.multipathd.clone(), plan.maps.clone(), self.activity.begin());
                tokio::spawn(async move {
                    let _ = work.await;
                    // The map stays: multipathd would let nothing wait in it any more until somebody told it so.
                    let _ = blocking(move || maps::queue_again(&multipathd, &maps)).await;
                    drop(at_work);
                });
                Err(Fault::new(Kind::TimedOut, "the disks did not take what was written within the deadline"))
            }
        };
        result.map_err(|fault| {
            let what = format!("{}; nothing was torn down", fault.message());
            Fault::new(fault.kind(), what).hint("iscsictl paths shows how the disks are")
        })
    }
}

/// A node that is gone has nothing to write.
fn flush(device: &std::path::Path) -> rustix::io::Result<()> {
    use rustix::io::Errno;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    match rustix::fs::openat(CWD, device, flags, Mode::empty()) {
        Ok(file) => rustix::fs::fsync(file),
        Err(Errno::NOENT | Errno::NXIO | Errno::NODEV) => Ok(()),
        Err(error) => Err(error),
    }
}
