//! Shows the machine on the bus: the only emitter, and the one place that reading objects is answered from, so that
//! signals and replies are sent in the order of what they say.
//! Must not decide who may read, or know what is asked.
//!
//! | room | what it is |
//! |---|---|
//! | `initiator_name` | reports a changed initiator name |
//! | `signals` | a change as signals to a watcher |

mod initiator_name;
mod signals;

use std::{sync::Arc, time::Duration};

use iscsi_initiator_dbus::{Fault, fault::Result};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};
use zbus::{Connection, Message};

use super::watchers::Watchers;
use crate::engine::{
    Engine,
    state::{
        picture::{Freshness, Picture, Scope},
        watch::{Events, Happened},
    },
    turns::{activity::Activity, audience::ToShow},
};

/// From an event to the look that it causes, where none was right before: what the kernel reports is there then. (A
/// device that goes has its event a moment before it is gone.)
const SOON: Duration = Duration::from_millis(5);
/// The shortest pause after a look. Events within it count as one: a new disk comes with dozens.
const FLURRY: Duration = Duration::from_millis(20);
/// After a look of its own, the mirror pauses for as long as the look took. Where one look follows another, because
/// events go on, that grows to this many times as long: the processor is needed by who causes them.
const SHARE: u32 = 4;
/// The longest pause. After as long without a look, the next pause is short again.
const LONGEST: Duration = Duration::from_secs(1);
/// After the look that a device event caused, more follow: multipathd and udev are a moment behind the kernel. The time
/// is doubled from one to the next.
const ECHO: Duration = Duration::from_millis(25);
/// The last of them is this long after the one before.
const LAST_ECHO: Duration = Duration::from_millis(400);
/// Between two looks while something does not work or is on its way: a session's state has no event. The time is
/// doubled while nothing changes.
const TICK: Duration = Duration::from_millis(250);
/// What that grows to; also the time between two looks while they fail.
const LONGEST_TICK: Duration = Duration::from_secs(4);
/// How long it looks so after the network lost something: a session fails when its target does not answer.
const SUSPECT: Duration = Duration::from_secs(60);
/// Readers get what was seen within this time, if no event has come since.
const FRESH: Duration = Duration::from_millis(100);

/// Makes a reply of what there is, or of why that could not be seen.
pub(super) type Answer =
    Box<dyn FnOnce(std::result::Result<&Picture, &Fault>) -> zbus::Result<Message> + Send>;

/// The way to the mirror.
#[derive(Clone)]
pub(crate) struct Mirror(mpsc::UnboundedSender<ToAnswer>);

/// A reply to be made. It is answered when that is sent.
type ToAnswer = (Answer, oneshot::Sender<()>);

impl Mirror {
    /// Starts the task that emits.
    pub(crate) fn start(
        connection: &Connection,
        engine: &Arc<Engine>,
        watchers: &Watchers,
        activity: &Activity,
    ) -> Self {
        // No more wait in it than calls are in flight.
        let (questions, to_answer) = mpsc::unbounded_channel();
        let name = initiator_name::report(connection.clone(), Arc::clone(engine), engine.file_events());
        let emitter = Emitter {
            connection: connection.clone(),
            engine: Arc::clone(engine),
            watchers: watchers.clone(),
            to_answer,
            // An engine has one mirror.
            to_show: engine.to_show().unwrap_or_else(|| mpsc::unbounded_channel().1),
            events: engine.events(),
            shown: None,
            due: None,
            rested: Instant::now(),
            in_a_row: 0,
            echo: None,
            tick: TICK,
            owes_records: false,
            suspect: None,
            ahead: None,
            failure: None,
        };
        let both = async move {
            tokio::join!(name, emitter.run());
        };
        tokio::spawn(guarded(both, activity.clone()));
        Self(questions)
    }

    /// Sends a reply. Returns when it is sent.
    pub(super) async fn answer(&self, answer: Answer) {
        let (done, sent) = oneshot::channel();
        // The mirror ends with the daemon; what could not be sent is logged.
        if self.0.send((answer, done)).is_ok() {
            let _ = sent.await;
        }
    }
}

/// What the watchers know.
struct Shown {
    picture: Picture,
    /// When the last look at everything began.
    at: Instant,
}

/// The task.
struct Emitter {
    connection: Connection,
    engine: Arc<Engine>,
    watchers: Watchers,
    to_answer: mpsc::UnboundedReceiver<ToAnswer>,
    to_show: mpsc::UnboundedReceiver<ToShow>,
    events: Events,
    /// Kept while there are watchers.
    shown: Option<Shown>,
    /// The next look of its own.
    due: Option<Instant>,
    /// When the pause after the last look is over.
    rested: Instant,
    /// How many looks there were without a rest between.
    in_a_row: u32,
    /// How long after the last look the next one follows, because of a device event.
    echo: Option<Duration>,
    tick: Duration,
    /// Whether the records have to be read again, because that failed.
    owes_records: bool,
    /// Until when a connection may turn out to be lost.
    suspect: Option<Instant>,
    /// Since when looks went no further than events.
    ahead: Option<Instant>,
    /// Why the last look failed, as it was logged.
    failure: Option<String>,
}

impl Emitter {
    async fn run(mut self) {
        let mut traffic = self.watchers.traffic();
        loop {
            let is_watched = self.watchers.are_any();
            if !is_watched {
                (self.shown, self.due) = (None, None);
            }
            tokio::select! {
                Some(question) = self.to_answer.recv() => self.serve(vec![question], Vec::new()).await,
                Some(request) = self.to_show.recv() => self.serve(Vec::new(), vec![request]).await,
                () = self.events.next(), if is_watched => self.look_after(SOON),
                () = sleep_until(self.due) => self.look_by_itself().await,
                () = traffic.next() => {}
            }
        }
    }

    fn look_after(&mut self, pause: Duration) {
        let then = self.rested.max(Instant::now() + pause);
        self.due = Some(self.due.map_or(then, |due| due.min(then)));
    }

    async fn look_by_itself(&mut self) {
        self.due = None;
        let echo = self.echo.take();
        let happened = self.take_events();
        let scope = if happened.files || self.owes_records { Scope::Everything } else { Scope::Devices };
        // What has no event is looked at with the last of the looks that an event causes, or while they go on.
        let is_of_event = happened.devices || echo.is_some_and(|echo| echo < LAST_ECHO);
        let is_behind = self.ahead.is_some_and(|since| since.elapsed() >= LONGEST);
        let freshness = if is_of_event && !is_behind { Freshness::Events } else { Freshness::now() };
        // The failure is logged, and the next look comes.
        let _ = self.look(scope, &freshness).await;
        if let (None, Some(echo)) = (self.echo, echo.map(|echo| echo * 2).filter(|echo| *echo <= LAST_ECHO)) {
            self.echo_after(echo);
        }
    }

    fn echo_after(&mut self, pause: Duration) {
        self.echo = Some(pause);
        self.look_after(pause);
    }

    /// Whoever takes them, the looks that they call for follow.
    fn take_events(&mut self) -> Happened {
        let happened = self.events.take();
        if happened.devices {
            self.echo_after(ECHO);
        }
        if happened.network {
            self.suspect = Some(Instant::now() + SUSPECT);
            self.tick = TICK;
            self.look_after(FLURRY);
        }
        happened
    }

    /// Everything that waits for a look gets the same one.
    async fn serve(&mut self, mut questions: Vec<ToAnswer>, mut requests: Vec<ToShow>) {
        questions.extend(std::iter::from_fn(|| self.to_answer.try_recv().ok()));
        requests.extend(std::iter::from_fn(|| self.to_show.try_recv().ok()));
        let happened = self.take_events();
        // A look that failed has taken the events that it followed.
        let is_fresh = !happened.devices
            && !happened.files
            && self.failure.is_none()
            && self.shown.as_ref().is_some_and(|shown| shown.at.elapsed() < FRESH);
        let looked = if is_fresh && requests.is_empty() {
            Ok(())
        } else {
            self.look(Scope::Everything, &Freshness::now()).await
        };
        let nothing = Picture::default();
        let picture = self.shown.as_ref().map_or(&nothing, |shown| &shown.picture);
        // Who asked may have given up.
        for request in requests {
            let _ = request.send(());
        }
        for (answer, done) in questions {
            let reply = answer(looked.as_ref().map(|()| picture));
            if let Err(error) = send(&self.connection, reply).await {
                tracing::warn!(%error, "cannot reply");
            }
            let _ = done.send(());
        }
    }

    /// Looks, and tells the watchers what is other than before.
    async fn look(&mut self, scope: Scope, freshness: &Freshness) -> Result<()> {
        let begun = Instant::now();
        let (mut picture, shown_at) = match self.shown.take() {
            Some(Shown { picture, at }) => (picture, Some(at)),
            None => (Picture::default(), None),
        };
        let looked = self.engine.look_for(&mut picture, scope, freshness).await;
        self.in_a_row = if begun > self.rested + LONGEST { 1 } else { (self.in_a_row + 1).min(SHARE) };
        self.rested = Instant::now() + begun.elapsed().saturating_mul(self.in_a_row).clamp(FLURRY, LONGEST);
        self.ahead = match freshness {
            Freshness::Events => self.ahead.or(Some(begun)),
            Freshness::Now(_) => None,
        };
        let changes = match looked {
            Ok(changes) => changes,
            Err(fault) => {
                // What was shown stays.
                self.shown = shown_at.map(|at| Shown { picture, at });
                self.report(Some(&fault));
                self.owes_records |= scope == Scope::Everything;
                self.look_after(LONGEST_TICK);
                return Err(fault);
            }
        };
        let at = shown_at.filter(|_| scope == Scope::Devices).unwrap_or(begun);
        self.report(None);
        self.owes_records &= scope == Scope::Devices;
        self.suspect = self.suspect.filter(|until| *until > Instant::now());
        let is_settled = picture.is_settled() && self.suspect.is_none();
        self.shown = Some(Shown { picture, at });
        if is_settled {
            self.tick = TICK;
        } else {
            self.tick = if changes.is_empty() { (self.tick * 2).min(LONGEST_TICK) } else { TICK };
            self.look_after(self.tick);
        }
        for watcher in self.watchers.names() {
            for change in &changes {
                if let Err(error) = signals::emit(&self.connection, &watcher, change).await {
                    tracing::warn!(%error, "a change could not be reported");
                }
            }
        }
        Ok(())
    }

    /// Logs why looks fail, once for each reason.
    fn report(&mut self, failure: Option<&Fault>) {
        let failure = failure.map(|fault| fault.message().to_owned());
        if let Some(why) = &failure
            && failure != self.failure
        {
            tracing::warn!(%why, "the objects cannot be brought up to date");
        }
        self.failure = failure;
    }
}

/// Runs what never ends. If it ends nevertheless, watchers would wait for ever for what a daemon reports that looks
/// alive: so the daemon stops, and the next call starts another.
async fn guarded(task: impl Future<Output = ()> + Send + 'static, activity: Activity) {
    let ended = tokio::spawn(task).await;
    tracing::error!(?ended, "the objects are not shown any more");
    activity.give_up();
}

async fn send(connection: &Connection, message: zbus::Result<Message>) -> zbus::Result<()> {
    connection.send(&message?).await
}

async fn sleep_until(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_task_that_ends_has_the_daemon_stop() {
        for does_panic in [false, true] {
            let activity = Activity::default();
            guarded(async move { assert!(!does_panic, "for the test") }, activity.clone()).await;
            activity.given_up().await;
        }
    }
}
