//! A table that is drawn again and again, with the last events below it, until it is quit.
//! Must not change anything.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep_until},
};

use crate::{
    live::{
        Clock, Follow, Happening, Key, Keys, Log, News, Picture, Rates, Scope, Section, Story, Terminal, now,
    },
    problem::Problem,
    show::Screen,
};

/// How often rates and ages are looked at.
const TICK: Duration = Duration::from_secs(1);
/// The shortest time between two pictures: of many events in a row, no eye sees more.
const PAUSE: Duration = Duration::from_millis(50);

/// What is shown.
pub(super) enum Subject {
    /// Sessions with their rates, and disks with their paths.
    Everything,
}

/// Shows it until it is quit or the daemon cannot be followed.
pub(super) async fn table(
    screen: Screen,
    mut follow: Follow,
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
        story: Story::new(scope.clone(), follow.model()),
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
            news = follow.next() => {
                table.take(&news?, &follow);
                is_due = true;
            }
            _ = ticks.tick() => {
                table.look(&follow);
                is_due = true;
            }
            key = keys.next() => match key {
                Key::Quit => return Ok(()),
                Key::Redraw => {
                    terminal.forget().map_err(Problem::local)?;
                    is_due = true;
                }
            },
            _ = resized.recv() => {
                terminal.forget().map_err(Problem::local)?;
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
                table.draw(&follow, &mut terminal)?;
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
    fn take(&mut self, news: &News, follow: &Follow) {
        match news {
            News::Event(event) => {
                self.trouble = None;
                self.log.add(now(), self.story.tell(event, follow.model()).unwrap_or_default());
            }
            News::Lost(problem) => {
                let lost = Happening::lost(&problem.message);
                self.trouble = Some(lost.what.clone());
                self.log.add(now(), [lost]);
            }
        }
    }

    fn look(&mut self, follow: &Follow) {
        self.rates.look(follow.model(), Instant::now());
    }

    fn draw(&self, follow: &Follow, terminal: &mut Terminal) -> Result<(), Problem> {
        let (model, now) = (follow.model(), now());
        let sections = match &self.subject {
            Subject::Everything => vec![
                Section::sessions(model, &self.scope, &self.rates, now),
                Section::disks(model, &self.scope),
            ],
        };
        let picture = Picture {
            sections,
            nothing: "no session; see what is recorded: iscsictl nodes",
            trouble: self.trouble.as_deref(),
            log: &self.log,
            clock: &self.clock,
            now,
        };
        terminal.draw(picture.lines(terminal.size(), self.has_colours)).map_err(Problem::local)
    }
}
