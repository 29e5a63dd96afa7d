//! The daemon's events. A daemon that ends is followed by the one that takes its place.

use std::time::Duration;

use iscsi_initiator_dbus::{
    Kind,
    objects::{Event, Model},
    proxy::InitiatorProxy,
    watch::Watcher,
};
use tokio::time::{Instant, sleep_until};
use zbus::Connection;

use crate::{exit::Exit, problem::Problem};

/// How long a daemon that ended is waited for. An update replaces it within this.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long to wait before a daemon that ended is started once more, or one that refuses is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// What came.
pub(crate) enum News {
    Event(Event),
    /// The daemon has ended and could not be started again yet, or does not let anyone watch for now.
    Lost(Problem),
}

/// Whether the daemon is there, and may answer another time.
pub(crate) fn passes(problem: &Problem) -> bool {
    [Kind::Busy, Kind::TimedOut].iter().any(|kind| problem.error == kind.name())
}

/// A watcher that outlives the daemon.
pub(crate) struct Follow {
    connection: Connection,
    watcher: Watcher,
    gone: Option<Gone>,
}

/// A daemon that cannot be followed.
struct Gone {
    since: Instant,
    /// When it is tried again.
    next: Instant,
    /// Whether it answers. One that does is tried for as long as it takes.
    is_there: bool,
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
            if let Some(gone) = &self.gone {
                sleep_until(gone.next).await;
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
            let is_there = passes(&problem);
            if problem.exit != Exit::NoDaemon && !is_there {
                return Err(problem);
            }
            let now = Instant::now();
            let next = now + PAUSE;
            match &mut self.gone {
                Some(gone) if gone.is_there == is_there => {
                    if !is_there && now - gone.since > PATIENCE {
                        return Err(problem);
                    }
                    gone.next = next;
                }
                gone => {
                    *gone = Some(Gone { since: now, next, is_there });
                    return Ok(News::Lost(problem));
                }
            }
        }
    }
}
