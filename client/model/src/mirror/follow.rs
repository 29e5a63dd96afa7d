//! The daemon's events. A daemon that ends is followed by the one that takes its place.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Instant,
};

use iscsi_initiator_dbus::{
    Fault,
    objects::{Event, Model},
    proxy::InitiatorProxy,
    watch::Watcher,
};
use tokio::time::sleep_until;

use super::{
    retry::{Next, Patience, Retry},
    trouble::Trouble,
};

/// What came.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// Something is other than before. [`Mirror::model`] has it already.
    Event(Event),
    /// The daemon has ended and could not be started again yet, or does not let anyone watch for now. It is tried
    /// again; until [`Heard::Found`] the model is what was known last.
    Lost(Trouble),
    /// It is followed again, and the model is as the daemon's. The events that say what is other than before follow.
    Found,
}

/// A watcher that outlives the daemon.
#[derive(Debug)]
pub struct Mirror {
    daemon: InitiatorProxy<'static>,
    /// Nothing until the daemon is there for the first time.
    watcher: Option<Watcher>,
    starting: Option<Starting>,
    /// Before that.
    nothing: Model,
    retry: Retry,
}

impl Mirror {
    /// Subscribes, if the daemon has objects. polkit may ask a person. The connection is best used for this alone. A
    /// daemon that ends is waited for as long as a command may take.
    ///
    /// # Errors
    ///
    /// Why there is nothing to follow.
    pub async fn start(daemon: &InitiatorProxy<'static>) -> Result<Self, Trouble> {
        let mut mirror = Self::with(daemon.clone(), Patience::Short);
        mirror.watcher = Some(watcher(daemon.clone()).await?);
        Ok(mirror)
    }

    /// The same for a process that stays: also a daemon that is not there yet is waited for, without end, with a growing
    /// pause. The first [`next`](Self::next) subscribes; its first word is [`Heard::Lost`] or [`Heard::Found`].
    pub fn endless(daemon: InitiatorProxy<'static>) -> Self {
        Self::with(daemon, Patience::Endless)
    }

    fn with(daemon: InitiatorProxy<'static>, patience: Patience) -> Self {
        let (watcher, starting, nothing) = (None, None, Model::default());
        Self { daemon, watcher, starting, nothing, retry: Retry::new(patience) }
    }

    /// What is there, as far as is known.
    pub fn model(&self) -> &Model {
        self.watcher.as_ref().map_or(&self.nothing, Watcher::model)
    }

    /// The next attempt is not waited for: someone has a reason to try again.
    pub fn hurry(&mut self) {
        self.retry.hurry(Instant::now());
    }

    /// Waits for the next event. If this is dropped while it waits, nothing is lost.
    ///
    /// # Errors
    ///
    /// The person may not watch, or the bus is lost. Of a mirror that was [started](Self::start), also any other error
    /// of the daemon, and one that ended and was tried for 30 s. The next call tries it once more, at once, except on a
    /// lost bus, which takes a new connection.
    pub async fn next(&mut self) -> Result<Heard, Trouble> {
        loop {
            if let Some(next) = self.retry.next() {
                sleep_until(next.into()).await;
            }
            let heard = match &mut self.watcher {
                None => self.begin().await.map(|()| Heard::Found),
                Some(watcher) if self.retry.is_lost() => {
                    watcher.catch_up().await.map(|()| Heard::Found).map_err(Trouble::from)
                }
                Some(watcher) => watcher.next().await.map(Heard::Event).map_err(Trouble::from),
            };
            let trouble = match heard {
                Ok(heard) => {
                    self.retry.succeeded();
                    return Ok(heard);
                }
                Err(_) if self.daemon.inner().connection().is_closed() => Trouble::Bus,
                Err(trouble) => trouble,
            };
            match self.retry.failed(&trouble, Instant::now()) {
                Next::Tell => return Ok(Heard::Lost(trouble)),
                Next::Again => {}
                Next::GiveUp => return Err(trouble),
            }
        }
    }

    /// Subscribes for the first time. What was begun goes on when this is called again.
    async fn begin(&mut self) -> Result<(), Trouble> {
        let starting = self.starting.get_or_insert_with(|| Starting::begin(self.daemon.clone()));
        let started = poll_fn(|context| starting.calls().as_mut().poll(context)).await;
        self.starting = None;
        self.watcher = Some(started?);
        Ok(())
    }
}

async fn watcher(daemon: InitiatorProxy<'static>) -> Result<Watcher, Trouble> {
    let of_bus = |error: zbus::Error| Trouble::from(Fault::from(error));
    if !daemon.features().await.map_err(of_bus)?.iter().any(|feature| feature == "objects") {
        return Err(Trouble::Old { version: daemon.version().await.map_err(of_bus)? });
    }
    Ok(Watcher::start(daemon.inner().connection()).await?)
}

type Calls = Pin<Box<dyn Future<Output = Result<Watcher, Trouble>> + Send>>;

/// The calls of a subscription, under way. The mutex is never locked: with it, other threads may look at the model.
struct Starting(Mutex<Calls>);

impl Starting {
    fn begin(daemon: InitiatorProxy<'static>) -> Self {
        Self(Mutex::new(Box::pin(watcher(daemon))))
    }

    fn calls(&mut self) -> &mut Calls {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Starting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Starting")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mirror_can_be_moved_to_and_looked_at_from_another_thread() {
        fn is_so<T: Send + Sync>() {}
        is_so::<Mirror>();
    }
}
