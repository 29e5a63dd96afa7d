//! A table that is drawn again and again, with the last events below it, until it is quit.
//! Must not change anything.

use std::{
    future::pending,
    pin::Pin,
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::{Fault, options::PathFilter, proxy::InitiatorProxy, results::Path};
use iscsi_initiator_model::{
    mirror::{Heard, Mirror, Scope, Trouble},
    news::Story,
};
use rustix::process::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{
    language::{self, say},
    live::{Clock, Key, Keys, Log, Picture, Rates, Section, Terminal, found, lost, now, refused},
    problem::Problem,
    show::Screen,
};

/// How often rates and ages are looked at.
const TICK: Duration = Duration::from_secs(1);
/// The shortest time between two pictures: of many events in a row, no eye sees more.
const PAUSE: Duration = Duration::from_millis(50);
/// How long to wait before the list of paths is asked for again that was refused for now.
const RETRY: Duration = Duration::from_secs(1);
/// How often the list of paths is asked for while it has a target without a session: its lease ends without an event.
const WITHOUT_EVENTS: Duration = Duration::from_secs(5);

/// What is shown.
pub(super) enum Subject {
    /// Sessions with their rates, and disks with their paths.
    Everything,
    /// The list of paths.
    Paths(List),
}

type Listing = Pin<Box<dyn Future<Output = Result<Vec<Path>, Fault>>>>;

/// The list of paths: asked for anew when something has changed.
pub(super) struct List {
    daemon: InitiatorProxy<'static>,
    filter: PathFilter,
    /// Nothing before the first answer.
    paths: Option<Vec<Path>>,
    /// When to ask for it next; nothing if it is as it was.
    due: Option<Instant>,
    /// The call that is waited for.
    listing: Option<Listing>,
    /// Why it is out of date.
    trouble: Option<String>,
}

impl List {
    pub(super) fn new(daemon: InitiatorProxy<'static>, filter: PathFilter) -> Self {
        Self { daemon, filter, paths: None, due: Some(Instant::now()), listing: None, trouble: None }
    }

    /// Waits until it is other than before. If this is dropped while it waits, nothing is lost.
    async fn renew(&mut self) -> Result<(), Problem> {
        if self.listing.is_none() {
            let Some(due) = self.due else { return pending().await };
            sleep_until(due.into()).await;
            let (daemon, filter) = (self.daemon.clone(), self.filter.clone());
            self.listing = Some(Box::pin(async move { daemon.list_paths(filter).await }));
            self.due = None;
        }
        let Some(listing) = &mut self.listing else { return pending().await };
        let listed = listing.await;
        self.listing = None;
        match listed.map_err(Trouble::from) {
            Ok(paths) => {
                self.trouble = None;
                if paths.iter().any(|path| path.sid == 0) {
                    self.due.get_or_insert_with(|| Instant::now() + WITHOUT_EVENTS);
                }
                self.paths = Some(paths);
                return Ok(());
            }
            // Whoever follows the daemon hears of it, and of the next one.
            Err(Trouble::Gone(_)) => {}
            Err(Trouble::Later(fault)) => {
                self.trouble = Some(language::spoken(&refused(&Problem::from(fault).message).what));
            }
            Err(trouble) => return Err(trouble.into()),
        }
        self.due = Some(Instant::now() + RETRY);
        Ok(())
    }

    /// Something has changed. One that was refused is not asked for sooner.
    fn is_stale(&mut self) {
        let due = self.due.filter(|_| self.trouble.is_some());
        self.due = Some(due.unwrap_or_else(Instant::now));
    }
}

impl Subject {
    /// Waits for what is not in the objects.
    async fn renew(&mut self) -> Result<(), Problem> {
        match self {
            Self::Everything => pending().await,
            Self::Paths(list) => list.renew().await,
        }
    }

    /// Something has changed.
    fn is_stale(&mut self) {
        if let Self::Paths(list) = self {
            list.is_stale();
        }
    }
}

/// Shows it until it is quit or the daemon cannot be followed.
pub(super) async fn table(
    screen: Screen,
    mut mirror: Mirror,
    scope: Scope,
    subject: Subject,
    (mut terminal, mut keys): (Terminal, Keys),
) -> Result<(), Problem> {
    let of = |kind: SignalKind| signal(kind).map_err(Problem::local);
    let mut resized = of(SignalKind::window_change())?;
    let mut stopped = of(SignalKind::from_raw(Signal::TSTP.as_raw()))?;
    let mut continued = of(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut table = Table {
        story: Story::new(scope.clone(), mirror.model()),
        scope,
        subject,
        rates: Rates::of_machine(),
        log: Log::default(),
        trouble: None,
        clock: Clock::of_machine(),
        has_colours: screen.has_colours(),
    };
    let (mut is_due, mut next) = (true, tokio::time::Instant::now());
    loop {
        tokio::select! {
            heard = mirror.next() => {
                table.take(&heard?, &mirror);
                is_due = true;
            }
            renewed = table.subject.renew() => {
                renewed?;
                is_due = true;
            }
            _ = ticks.tick() => {
                table.look(&mirror);
                is_due = true;
            }
            key = keys.next() => match key {
                Key::Quit => return Ok(()),
                Key::Redraw => {
                    terminal.forget();
                    is_due = true;
                }
            },
            _ = resized.recv() => {
                terminal.forget();
                is_due = true;
            }
            _ = stopped.recv() => {
                terminal.stop().map_err(Problem::local)?;
                is_due = true;
            }
            // It may have been stopped by another program, and others have written on the terminal since.
            _ = continued.recv() => {
                terminal.resume().map_err(Problem::local)?;
                is_due = true;
            }
            () = sleep_until(next), if is_due => {
                table.draw(&mirror, &mut terminal)?;
                (is_due, next) = (false, tokio::time::Instant::now() + PAUSE);
            }
        }
    }
}

/// What is known for the next picture, besides the objects.
struct Table {
    story: Story,
    scope: Scope,
    subject: Subject,
    rates: Rates,
    log: Log,
    trouble: Option<String>,
    clock: Clock,
    has_colours: bool,
}

impl Table {
    fn take(&mut self, heard: &Heard, mirror: &Mirror) {
        match heard {
            Heard::Event(event) => {
                if let Some(told) = self.story.tell(event, mirror.model()) {
                    self.subject.is_stale();
                    self.log.add(now(), told);
                }
            }
            Heard::Lost(trouble) => {
                let lost = lost(trouble);
                self.trouble = Some(language::spoken(&lost.what));
                self.log.add(now(), [lost]);
            }
            Heard::Found => {
                self.trouble = None;
                self.log.add(now(), [found()]);
            }
        }
    }

    fn look(&mut self, mirror: &Mirror) {
        self.rates.look(mirror.model(), Instant::now());
    }

    fn draw(&self, mirror: &Mirror, terminal: &mut Terminal) -> Result<(), Problem> {
        let (model, now, size) = (mirror.model(), now(), terminal.size());
        let mut nothing = say!("no session; see what is recorded: iscsictl nodes");
        let mut trouble = self.trouble.as_deref();
        let sections = match &self.subject {
            Subject::Everything => vec![
                Section::sessions(model, &self.scope, &self.rates, (now, size)),
                Section::disks(model, &self.scope, size),
            ],
            Subject::Paths(list) => {
                trouble = trouble.or(list.trouble.as_deref());
                if list.paths.is_none() {
                    nothing = say!("reading the list of paths …");
                }
                list.paths.iter().map(|paths| Section::paths(paths)).collect()
            }
        };
        let picture =
            Picture { sections, nothing: &nothing, trouble, log: &self.log, clock: &self.clock, now };
        terminal.draw(picture.lines(size, self.has_colours)).map_err(Problem::local)
    }
}
