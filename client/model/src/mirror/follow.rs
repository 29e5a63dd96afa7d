//! The daemon's events. A daemon that ends is followed by the one that takes its place.

use std::time::Instant;

use iscsi_initiator_dbus::{
    objects::{Event, Model},
    proxy::InitiatorProxy,
    watch::Watcher,
};
use tokio::time::sleep_until;
use zbus::Connection;

use super::{
    retry::{Next, Retry},
    trouble::Trouble,
};

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Something is other than before. [`Mirror::model`] has it already.
    Event(Event),
    /// The daemon has ended and could not be started again yet, or does not let anyone watch for now. It is tried
    /// again; until [`Event::Restarted`] the model is what was known last.
    Lost(Trouble),
}

/// A watcher that outlives the daemon.
#[derive(Debug)]
pub struct Mirror {
    connection: Connection,
    watcher: Watcher,
    retry: Retry,
}

impl Mirror {
    /// Subscribes, if the daemon has objects. polkit may ask a person. The connection is best used for this alone.
    ///
    /// # Errors
    ///
    /// Why there is nothing to follow.
    pub async fn start(daemon: &InitiatorProxy<'static>) -> Result<Self, Trouble> {
        let of_bus = |error: zbus::Error| Trouble::from(iscsi_initiator_dbus::Fault::from(error));
        if !daemon.features().await.map_err(of_bus)?.iter().any(|feature| feature == "objects") {
            return Err(Trouble::Old { version: daemon.version().await.map_err(of_bus)? });
        }
        let connection = daemon.inner().connection().clone();
        let watcher = Watcher::start(&connection).await?;
        Ok(Self { connection, watcher, retry: Retry::default() })
    }

    /// What is there, as far as is known.
    pub fn model(&self) -> &Model {
        self.watcher.model()
    }

    /// Waits for the next event. If this is dropped while it waits, nothing is lost.
    ///
    /// # Errors
    ///
    /// The daemon refuses, the bus is lost, or a daemon that ended was tried for 30 s. The next call tries it once
    /// more, except on a lost bus, which takes a new connection.
    pub async fn next(&mut self) -> Result<Heard, Trouble> {
        loop {
            if let Some(next) = self.retry.next() {
                sleep_until(next.into()).await;
            }
            let fault = match self.watcher.next().await {
                Ok(event) => {
                    self.retry.succeeded();
                    return Ok(Heard::Event(event));
                }
                Err(fault) => fault,
            };
            let trouble = if self.connection.is_closed() { Trouble::Bus } else { Trouble::from(fault) };
            match self.retry.failed(&trouble, Instant::now()) {
                Next::Tell => return Ok(Heard::Lost(trouble)),
                Next::Again => {}
                Next::GiveUp => return Err(trouble),
            }
        }
    }
}
