//! The command monitor, and paths with --watch: what changes, as it changes, until it is ended.
//! Must not change anything.

use std::{io, pin::pin};

use iscsi_initiator_dbus::objects::Event;
use iscsi_initiator_model::{
    mirror::{Heard, Mirror, Scope, Trouble},
    news::{Happening, Story},
    text::escape,
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};

use super::{
    call::{Call, filter},
    living::{self, List, Subject},
};
use crate::{
    args::Place,
    bus,
    exit::Exit,
    language::{self, say},
    live::{Clock, Kind, Record, Terminal, found, lost, now},
    problem::Problem,
    show::{Body, Report, Screen},
};

pub(super) async fn monitor(call: &Call, place: &Place) -> Result<Report, Problem> {
    let scope = scope(place, true)?;
    let mirror = Mirror::start(&call.daemon).await?;
    follow_on(call, mirror, scope, Subject::Everything).await
}

/// The list of the command paths, each time something changes.
pub(super) async fn paths(call: &Call, place: &Place) -> Result<Report, Problem> {
    let scope = scope(place, false)?;
    let mirror = Mirror::start(&call.daemon).await?;
    // Of its own: on the other one, nothing is read while the list is waited for.
    let subject = Subject::Paths(List::new(bus::connect().await?, filter(place)));
    follow_on(call, mirror, scope, subject).await
}

/// Until it is ended.
async fn follow_on(call: &Call, mirror: Mirror, scope: Scope, subject: Subject) -> Result<Report, Problem> {
    // A terminal that cannot be taken over gets lines.
    match call.screen.draws().then(Terminal::open) {
        Some(Ok(terminal)) => living::table(call.screen, mirror, scope, subject, terminal).await?,
        _ => lines(call.screen, mirror, scope).await?,
    }
    Ok(Report { rows: Vec::new(), body: Body::Written, remarks: Vec::new(), exit: Exit::Done })
}

/// What the words on the command line limit it to.
fn scope(place: &Place, with_nodes: bool) -> Result<Scope, Problem> {
    let portal = place.portal_address();
    // As the daemon says it of a list.
    if let Some(portal) = portal.filter(|portal| portal.address().is_none()) {
        let why = say!("{portal}: the portal is numeric here: records have no host names", portal);
        return Err(Problem::usage(why, &say!("see the portals: iscsictl nodes")));
    }
    Ok(Scope { target: place.target_name().cloned(), portal: portal.cloned(), with_nodes })
}

/// A line for each event, until the reader is gone or the daemon cannot be followed.
async fn lines(screen: Screen, mut mirror: Mirror, scope: Scope) -> Result<(), Problem> {
    let mut story = Story::new(scope.clone(), mirror.model());
    let writer = Writer { screen, clock: Clock::of_machine() };
    let begin = if screen.is_json() { present(&mirror, &scope) } else { writer.told(&story.present()) };
    if !screen.lines(&begin)? {
        return Ok(());
    }
    let mut left = pin!(reader_left());
    loop {
        let heard = tokio::select! {
            heard = mirror.next() => heard?,
            () = &mut left => return Ok(()),
        };
        let text = match &heard {
            Heard::Event(event) => writer.event(event, &mut story, &mirror),
            Heard::Lost(trouble) => writer.lost(trouble),
            Heard::Found => writer.found(),
        };
        if !text.is_empty() && !screen.lines(&text)? {
            return Ok(());
        }
    }
}

/// All that is there, for a program.
fn present(mirror: &Mirror, scope: &Scope) -> String {
    let time = now();
    let wanted = mirror.model().objects().filter(|(_, object)| scope.has(object));
    let records = wanted.map(|(id, object)| Record::of_object(Kind::Present, time, id, object));
    let end = Record::of_daemon(Kind::Watching, time, "");
    records.chain([end]).map(|record| record.line()).collect()
}

struct Writer {
    screen: Screen,
    clock: Clock,
}

impl Writer {
    fn event(&self, event: &Event, story: &mut Story, mirror: &Mirror) -> String {
        let Some(told) = story.tell(event, mirror.model()) else { return String::new() };
        if !self.screen.is_json() {
            return self.told(&told);
        }
        let object = match event {
            Event::Added(id) | Event::Changed(id, _) => mirror.model().get(id),
            _ => None,
        };
        Record::of_event(event, object, now()).map(|record| record.line()).unwrap_or_default()
    }

    fn lost(&self, trouble: &Trouble) -> String {
        if self.screen.is_json() {
            let why = Problem::from(trouble.clone()).message;
            return Record::of_daemon(Kind::Lost, now(), &why).line();
        }
        self.told(&[lost(trouble)])
    }

    fn found(&self) -> String {
        if self.screen.is_json() {
            return Record::of_daemon(Kind::Found, now(), "").line();
        }
        self.told(&[found()])
    }

    /// Each with the time: a log may have none.
    fn told(&self, told: &[Happening]) -> String {
        let time = self.clock.stamp(now());
        told.iter()
            .map(|happening| format!("{time}  {}\n", escape(&language::spoken(&happening.what))))
            .collect()
    }
}

/// Waits until no one reads standard output any more: without an event, nothing is written that would fail.
async fn reader_left() {
    let waiting = tokio::task::spawn_blocking(|| {
        let output = io::stdout();
        // Without a question: that the other end is closed is reported in any case.
        let mut asked = [PollFd::new(&output, PollFlags::empty())];
        let left = PollFlags::ERR | PollFlags::HUP;
        loop {
            match poll(&mut asked, None) {
                Err(Errno::INTR) => {}
                Err(_) => return false,
                Ok(_) => return asked.iter().any(|output| output.revents().intersects(left)),
            }
        }
    });
    if !waiting.await.unwrap_or(false) {
        std::future::pending().await
    }
}
