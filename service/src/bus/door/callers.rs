//! Which user a connection on the bus belongs to. It is asked on a connection of its own, one at a time: nothing
//! else is read meanwhile, so that no call waits in memory for the answer.
//! Must not wait for anything but the bus.

use std::{sync::Arc, time::Duration};

use iscsi_initiator_polkit::Callers;
use zbus::Connection;

/// The bus answers at once, unless it is flooded itself.
const LOOKUP: Duration = Duration::from_secs(10);

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    User(u32),
    /// It has left the bus, or the bus cannot say.
    Gone,
    /// The bus did not say in time.
    Unknown,
}

/// Asks the bus, unless the caller is known. The connection must take descriptors: some buses send one with the answer
/// without asking whether it does, and end it if not. What it says is remembered for those that the call comes to next.
#[derive(Debug)]
pub(super) struct Asking {
    bus: Connection,
    callers: Arc<Callers>,
}

impl Asking {
    /// Asks on this connection.
    pub(super) fn new(bus: Connection, callers: Arc<Callers>) -> Self {
        Self { bus, callers }
    }

    /// The user of this connection. An error means that the bus has failed.
    pub(super) async fn owner(&self, name: &str) -> zbus::Result<Owner> {
        match tokio::time::timeout(LOOKUP, self.callers.find(&self.bus, name)).await {
            Ok(Ok(caller)) => Ok(Owner::User(caller.uid())),
            Ok(Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_))) => Ok(Owner::Gone),
            Ok(Err(error)) => Err(error),
            // A flood of the bus must not end the daemon.
            Err(_) => Ok(Owner::Unknown),
        }
    }
}
