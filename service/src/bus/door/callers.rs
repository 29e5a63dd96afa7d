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

/// The bus answers at once.
const LOOKUP: Duration = Duration::from_secs(5);

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

    /// The user of this connection; `None` if it has left. An error means that the bus has failed.
    pub(super) async fn uid(&mut self, name: &str) -> zbus::Result<Option<u32>> {
        if let Some(uid) = self.known.get(name) {
            return Ok(Some(*uid));
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
            Ok(Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_))) => return Ok(None),
            Ok(Err(error)) => return Err(error),
            Err(_) => return Err(zbus::Error::Failure(format!("the bus did not answer within {LOOKUP:?}"))),
        };
        let uid = reply.body().deserialize()?;
        if self.order.len() >= MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        self.order.push_back(name.to_owned());
        self.known.insert(name.to_owned(), uid);
        Ok(Some(uid))
    }
}
