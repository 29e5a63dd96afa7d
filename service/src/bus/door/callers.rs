//! Which user a connection on the bus belongs to. It is asked on a connection of its own, one at a time: nothing
//! else is read meanwhile, so that no call waits in memory for the answer.
//! Must not remember more than a fixed number.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use zbus::Connection;

/// How many connections are remembered; the bus has no more at a time by default.
const MOST: usize = 2048;

/// The bus answers at once, unless it is flooded itself.
const LOOKUP: Duration = Duration::from_secs(10);

/// Whose a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    User(u32),
    /// It has left the bus.
    Gone,
    /// The bus did not say in time.
    Unknown,
}

/// Asks the bus, and remembers: it never uses a unique name twice.
#[derive(Debug)]
pub(super) struct Callers {
    bus: Connection,
    known: HashMap<String, u32>,
    order: VecDeque<String>,
}

impl Callers {
    /// Asks on this connection.
    pub(super) fn new(bus: Connection) -> Self {
        Self { bus, known: HashMap::new(), order: VecDeque::new() }
    }

    /// The user of this connection. An error means that the bus has failed.
    pub(super) async fn owner(&mut self, name: &str) -> zbus::Result<Owner> {
        if let Some(uid) = self.known.get(name) {
            return Ok(Owner::User(*uid));
        }
        let bus = "org.freedesktop.DBus";
        let arguments = (name,);
        let asked = self.bus.call_method(
            Some(bus),
            "/org/freedesktop/DBus",
            Some(bus),
            "GetConnectionUnixUser",
            &arguments,
        );
        let reply = match tokio::time::timeout(LOOKUP, asked).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_))) => return Ok(Owner::Gone),
            Ok(Err(error)) => return Err(error),
            // A flood of the bus must not end the daemon.
            Err(_) => return Ok(Owner::Unknown),
        };
        let uid = reply.body().deserialize()?;
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(name.to_owned());
        self.known.insert(name.to_owned(), uid);
        Ok(Owner::User(uid))
    }
}
