//! The daemon's events. A daemon that ends is followed by the one that takes its place.

use std::time::Duration;

use iscsi_initiator_dbus::{
    objects::{Event, Model},
    proxy::InitiatorProxy,
    watch::Watcher,
};
use tokio::time::{Instant, sleep_until};
use zbus::Connection;

use crate::{exit::Exit, problem::Problem};

/// How long a daemon that ended is waited for. An update replaces it within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before a daemon that ended is started once more.
const PAUSE: Duration = Duration::from_secs(1);

/// What came.
pub(crate) enum News {
    Event(Event),
    /// The daemon has ended, and could not be started again yet.
    Lost(Problem),
}

/// A watcher that outlives the daemon.
pub(crate) struct Follow {
    connection: Connection,
    watcher: Watcher,
    /// Since when there is no daemon, and when it is started next.
    gone: Option<(Instant, Instant)>,
}

impl Follow {
    /// Subscribes, if the daemon has objects.
    pub(crate) async fn start(daemon: &InitiatorProxy<'static>) -> Result<Self, Problem> {
        if !daemon.features().await?.iter().any(|feature| feature == "objects") {
            return Err(Problem::no_objects(&daemon.version().await?));
        }
        let connection = daemon.inner().connection().clone();
        let watcher = Watcher::start(&connection).await?;
        Ok(Self { connection, watcher, gone: None })
    }

    pub(crate) fn model(&self) -> &Model {
        self.watcher.model()
    }

    /// Waits for the next event. If this is dropped while it waits, nothing is lost.
    pub(crate) async fn next(&mut self) -> Result<News, Problem> {
        loop {
            if let Some((_, next)) = self.gone {
                sleep_until(next).await;
            }
            let fault = match self.watcher.next().await {
                Ok(event) => {
                    self.gone = None;
                    return Ok(News::Event(event));
                }
                Err(fault) => fault,
            };
            if self.connection.is_closed() {
                return Err(Problem::bus_lost());
            }
            let problem = Problem::from(fault);
            if problem.exit != Exit::NoDaemon {
                return Err(problem);
            }
            let now = Instant::now();
            let next = now + PAUSE;
            match self.gone {
                None => {
                    self.gone = Some((now, next));
                    return Ok(News::Lost(problem));
                }
                Some((since, _)) if now - since > PATIENCE => return Err(problem),
                Some((since, _)) => self.gone = Some((since, next)),
            }
        }
    }
}
