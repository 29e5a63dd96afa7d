//! A table that is kept up to date, as lines: what fits the terminal, the rest counted, and the last events below.
//! Must not write them, or show a text that was not escaped.

use std::collections::VecDeque;

use iscsi_initiator_dbus::{
    objects::{Disk, Model, Session},
    results::Path,
};
use iscsi_initiator_model::{
    health::{self, Mood, Verdict},
    mirror::Scope,
    news::Happening,
    text::{escape, units},
};

use super::{clock::Clock, rates::Rates};
use crate::language::{self, counted, say};
use crate::show::{
    self, fit,
    table::{Cell, GREEN, RED, Style, Table, Tone},
};

/// Events that are kept: more than a terminal has rows.
const KEPT: usize = 512;
/// Fewer rows than this have no room for blank lines and events.
const SPACIOUS: usize = 12;
/// The fewest rows for events, if there are as many.
const EVENTS: usize = 3;

/// As wide as the longest rate, 1023 KiB/s: what is behind stays where it is.
const RATES: [&str; 2] = ["READ      ", "WRITTEN   "];
/// A terminal with fewer columns gets fewer columns of the tables.
const NARROW: usize = 72;

/// How large the terminal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) columns: usize,
    pub(crate) rows: usize,
}

impl Size {
    fn is_narrow(self) -> bool {
        self.columns < NARROW
    }
}

/// The last events, with their times.
#[derive(Debug, Default)]
pub(crate) struct Log(VecDeque<(f64, Happening)>);

impl Log {
    pub(crate) fn add(&mut self, time: f64, told: impl IntoIterator<Item = Happening>) {
        self.0.extend(told.into_iter().map(|happening| (time, happening)));
        while self.0.len() > KEPT {
            self.0.pop_front();
        }
    }
}

/// Draws the entries at these places.
type Draw<'a> = Box<dyn Fn(&[usize]) -> Table + 'a>;

/// A part of the table: entries, of which those that need attention are shown first if there is no room for all.
pub(crate) struct Section<'a> {
    /// Whether each of them is as it should be.
    is_well: Vec<bool>,
    /// So many of them, and so many more.
    count: fn(usize) -> String,
    more: fn(usize) -> String,
    draw: Draw<'a>,
}

impl<'a> Section<'a> {
    /// The sessions, with their rates.
    pub(crate) fn sessions(
        model: &'a Model,
        scope: &Scope,
        rates: &'a Rates,
        (now, size): (f64, Size),
    ) -> Self {
        let mut sessions: Vec<&Session> = model
            .sessions()
            .map(|(_, session)| session)
            .filter(|session| scope.has_session(session))
            .collect();
        sessions.sort_by_key(|session| (&session.target, &session.portal, session.sid));
        Self {
            is_well: sessions.iter().map(|session| session.state == "LOGGED_IN").collect(),
            count: |n| counted!("{n} session", "{n} sessions", n),
            more: |n| counted!("… and {n} more session", "… and {n} more sessions", n),
            draw: Box::new(move |places| {
                let of = |place: &usize| sessions.get(*place).copied();
                table_of_sessions(&places.iter().filter_map(of).collect::<Vec<_>>(), rates, (now, size))
            }),
        }
    }

    /// The disks, each with its paths.
    pub(crate) fn disks(model: &'a Model, scope: &Scope, size: Size) -> Self {
        let disks: Vec<&Disk> =
            model.disks().map(|(_, disk)| disk).filter(|disk| scope.has_disk(disk)).collect();
        Self {
            is_well: disks.iter().map(|disk| Mood::of_health(disk.health) == Mood::Good).collect(),
            count: |n| counted!("{n} disk", "{n} disks", n),
            more: |n| counted!("… and {n} more disk", "… and {n} more disks", n),
            draw: Box::new(move |places| {
                let some = places.iter().filter_map(|place| disks.get(*place).copied());
                show::disks(some, size.is_narrow())
            }),
        }
    }

    /// Paths, as the command paths lists them.
    pub(crate) fn paths(paths: &'a [Path]) -> Self {
        Self {
            is_well: paths.iter().map(|path| health::path(path).verdict == Verdict::Works).collect(),
            count: |n| counted!("{n} path", "{n} paths", n),
            more: |n| counted!("… and {n} more path", "… and {n} more paths", n),
            draw: Box::new(move |places| {
                let some: Vec<Path> = places.iter().filter_map(|place| paths.get(*place).cloned()).collect();
                show::paths(&some)
            }),
        }
    }

    /// How many there are, and how many need attention.
    fn summary(&self) -> String {
        let (all, odd) = (self.is_well.len(), self.is_well.iter().filter(|is_well| !**is_well).count());
        with_odd((self.count)(all), odd)
    }

    fn lines(&self, places: &[usize], style: Style) -> Vec<String> {
        (self.draw)(places).render(style).lines().map(str::to_owned).collect()
    }

    /// How many rows it takes; one more than there are, if it takes more.
    fn height(&self, most: usize, style: Style) -> usize {
        let count = self.is_well.len();
        if count > most {
            return most + 1;
        }
        self.lines(&(0..count).collect::<Vec<_>>(), style).len().min(most + 1)
    }

    /// As much of it as fits, and how much more there is.
    fn fitted(&self, rows: usize, style: Style) -> Vec<String> {
        let count = self.is_well.len();
        if self.height(rows, style) <= rows {
            return self.lines(&(0..count).collect::<Vec<_>>(), style);
        }
        // What needs attention first.
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|place| self.is_well.get(*place).copied());
        let some = |number: usize| {
            let mut places: Vec<usize> = order.iter().take(number).copied().collect();
            places.sort_unstable();
            self.lines(&places, style)
        };
        let room = rows.saturating_sub(1);
        let (mut fits, mut fails) = (0, room.min(count) + 1);
        while fits + 1 < fails {
            let middle = fits.midpoint(fails);
            if some(middle).len() <= room { fits = middle } else { fails = middle }
        }
        let mut lines = if fits > 0 { some(fits) } else { Vec::new() };
        let left = count - fits;
        let odd = order.iter().skip(fits).filter(|place| self.is_well.get(**place) == Some(&false)).count();
        let columns = style.columns.unwrap_or(usize::MAX);
        lines.push(fit::shortened(&with_odd((self.more)(left), odd), columns));
        lines.truncate(rows);
        lines
    }
}

fn with_odd(count: String, odd: usize) -> String {
    if odd == 0 { count } else { say!("{count}, {odd} not well", count, odd) }
}

/// Everything that is shown.
pub(crate) struct Picture<'a> {
    pub(crate) sections: Vec<Section<'a>>,
    /// What to say if there is nothing.
    pub(crate) nothing: &'a str,
    /// Why what is shown may be out of date.
    pub(crate) trouble: Option<&'a str>,
    pub(crate) log: &'a Log,
    pub(crate) clock: &'a Clock,
    pub(crate) now: f64,
}

impl Picture<'_> {
    /// The lines: not more than there are rows, and none wider than the terminal.
    pub(crate) fn lines(&self, size: Size, colour: bool) -> Vec<String> {
        let style = Style { colour, header: true, columns: Some(size.columns) };
        let mut lines = vec![self.title(size, style)];
        if let Some(trouble) = self.trouble {
            lines.push(toned(&fit::shortened(&escape(trouble), size.columns), Mood::Bad, style));
        }
        let is_spacious = size.rows >= SPACIOUS;
        let mut parts: Vec<&Section<'_>> = Vec::new();
        parts.extend(self.sections.iter().filter(|section| !section.is_well.is_empty()));
        let gaps = if is_spacious { parts.len() } else { 0 };
        let events = if is_spacious { self.log.0.len().min(EVENTS.max(size.rows / 4)) } else { 0 };
        let gap_of_events = usize::from(events > 0);
        let room = size.rows.saturating_sub(lines.len() + gaps + events + gap_of_events);
        if parts.is_empty() {
            lines.push(fit::shortened(self.nothing, size.columns));
        }
        for (part, rows) in parts.iter().zip(shares(&parts, room, style)) {
            if is_spacious {
                lines.push(String::new());
            }
            lines.extend(part.fitted(rows, style));
        }
        let room = size.rows.saturating_sub(lines.len() + gap_of_events);
        if events > 0 && room > 0 {
            lines.push(String::new());
            lines.extend(self.events(room, style, size));
        }
        lines.truncate(size.rows);
        lines
    }

    fn title(&self, size: Size, style: Style) -> String {
        let parts: Vec<String> = self.sections.iter().map(Section::summary).collect();
        let time =
            if size.is_narrow() { self.clock.time_of_day(self.now) } else { self.clock.stamp(self.now) };
        let said = format!("{time}  {}", parts.join("; "));
        let end = say!("q quits");
        let blanks = size.columns.saturating_sub(fit::width(&said) + fit::width(&end));
        let text = match blanks {
            0..2 => fit::shortened(&said, size.columns),
            blanks => format!("{said}{}{end}", " ".repeat(blanks)),
        };
        if style.colour { format!("\x1b[1m{text}\x1b[0m") } else { text }
    }

    /// The last events, the newest at the end.
    fn events(&self, rows: usize, style: Style, size: Size) -> Vec<String> {
        let skipped = self.log.0.len().saturating_sub(rows);
        let events = self.log.0.iter().skip(skipped);
        let line = |(time, happening): &(f64, Happening)| {
            let at = |what: &str| format!("{}  {}", self.clock.time_of_day(*time), escape(what));
            let whole =
                Some(at(&language::spoken(&happening.what))).filter(|text| fit::width(text) <= size.columns);
            let brief = || fit::shortened(&at(&language::spoken(&happening.brief)), size.columns);
            let text = whole.unwrap_or_else(brief);
            toned(&text, happening.mood, style)
        };
        events.map(line).collect()
    }
}

/// The rows of each part: who needs less than their share leaves the rest to the others.
fn shares(parts: &[&Section<'_>], room: usize, style: Style) -> Vec<usize> {
    let mut wanted: Vec<(usize, usize)> =
        parts.iter().map(|part| part.height(room, style)).enumerate().collect();
    wanted.sort_by_key(|(_, height)| *height);
    let (mut left, mut shares) = (room, vec![0; parts.len()]);
    for (number, (place, height)) in wanted.iter().enumerate() {
        let share = (*height).min(left / (parts.len() - number).max(1));
        if let Some(rows) = shares.get_mut(*place) {
            *rows = share;
        }
        left -= share;
    }
    shares
}

fn toned(text: &str, mood: Mood, style: Style) -> String {
    let (begin, end) = match mood {
        _ if !style.colour => return text.to_owned(),
        Mood::Good => GREEN,
        Mood::Bad => RED,
        Mood::Neutral => return text.to_owned(),
    };
    format!("{begin}{text}{end}")
}

/// Columns without a value are left out, and their place is for the others.
fn table_of_sessions(sessions: &[&Session], rates: &Rates, (now, size): (f64, Size)) -> Table {
    let has_since = !size.is_narrow() && sessions.iter().any(|session| session.since > 0);
    let has_rates = sessions.iter().any(|session| rates.of(session.sid).is_some());
    let has_holds = !size.is_narrow() && sessions.iter().any(|session| !session.holds.is_empty());
    let mut header = vec!["TARGET", "PORTAL", "SESSION", "STATE"];
    header.extend(has_since.then_some("SINCE"));
    header.extend(has_rates.then_some(RATES).into_iter().flatten());
    header.extend(has_holds.then_some("HELD BY"));
    let mut table = Table::new(&header);
    for session in sessions {
        let tone = match Mood::of_state(&session.state) {
            Mood::Good => Tone::Good,
            Mood::Bad => Tone::Bad,
            Mood::Neutral => Tone::Plain,
        };
        let state = if session.state.is_empty() { "-" } else { &session.state };
        let mut cells = vec![
            Cell::or_dash(&session.target),
            Cell::or_dash(&session.portal),
            Cell::new(session.sid),
            Cell::toned(state, tone),
        ];
        cells.extend(has_since.then(|| Cell::or_dash(age(session.since, now))));
        if has_rates {
            let rate = rates.of(session.sid);
            let of = |bytes: Option<u64>| Cell::or_dash(bytes.map(per_second).unwrap_or_default());
            cells.extend([of(rate.map(|rate| rate.read)), of(rate.map(|rate| rate.written))]);
        }
        cells.extend(has_holds.then(|| Cell::or_dash(session.holds.join(", "))));
        table.row(cells);
    }
    table
}

fn per_second(bytes: u64) -> String {
    if bytes == 0 {
        return "0 B/s".to_owned();
    }
    let size = units::size(bytes);
    // Three digits are enough, and as many columns.
    match size.split_once('.') {
        Some((whole, rest)) if whole.len() > 2 => {
            format!("{whole}{}/s", rest.trim_start_matches(char::is_numeric))
        }
        _ => format!("{size}/s"),
    }
}

/// How long ago; nothing if that is not known.
fn age(since: u64, now: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds; a cast saturates")]
    let seconds = (now as u64).saturating_sub(since);
    match seconds {
        _ if since == 0 => String::new(),
        0..60 => say!("{n} s", n = seconds),
        60..3600 => say!("{n} min", n = seconds / 60),
        3600..86_400 => say!("{n} h", n = seconds / 3600),
        _ => say!("{n} d", n = seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::{
        objects::{Id, Object},
        results::Health,
    };

    use super::*;
    use crate::live::{
        for_tests::{PORTAL, TARGET, disk, put, session},
        rates::Rate,
    };

    const NOW: f64 = 1_795_730_471.0;

    /// So many sessions, of which the last has failed, and so many disks, of which the last is degraded.
    fn model(sessions: u32, disks: u32) -> Model {
        let mut model = Model::default();
        for sid in 1..=sessions {
            let mut session = session(sid, if sid == sessions && sid > 1 { "FAILED" } else { "LOGGED_IN" });
            session.since = 1_795_730_471 - u64::from(sid) * 100;
            put(&mut model, &Id::session(sid), &Object::Session(session));
        }
        for number in 1..=disks {
            let is_well = number < disks || number == 1;
            let health = if is_well { Health::Optimal } else { Health::Degraded };
            let states = [("sda", "active"), ("sdb", if is_well { "active" } else { "failed" })];
            let disk = disk(&format!("mpath{number}"), &states, health);
            put(&mut model, &Id::disk(&number.to_string(), 1, 0), &Object::Disk(disk));
        }
        model
    }

    fn lines(model: &Model, log: &Log, (columns, rows): (usize, usize)) -> Vec<String> {
        let (scope, rates, size) = (Scope::default(), Rates::of_machine(), Size { columns, rows });
        let picture = Picture {
            sections: vec![
                Section::sessions(model, &scope, &rates, (NOW, size)),
                Section::disks(model, &scope, size),
            ],
            nothing: "no session",
            trouble: None,
            log,
            clock: &Clock::utc(),
            now: NOW,
        };
        picture.lines(size, false)
    }

    #[test]
    fn everything_is_shown_where_there_is_room() {
        let mut log = Log::default();
        log.add(NOW - 60.0, [Happening::new(Mood::Bad, "session 2: FAILED \x1b[2J")]);
        let shown = lines(&model(2, 1), &log, (100, 30));
        let title = "2026-11-26 22:01:11  2 sessions, 1 not well; 1 disk";
        assert_eq!(shown[0], format!("{title}{}q quits", " ".repeat(100 - title.len() - 7)));
        assert_eq!(
            shown[1..],
            [
                "",
                "TARGET                         PORTAL           SESSION  STATE      SINCE",
                &format!("{TARGET}  {PORTAL}  1        LOGGED_IN  1 min"),
                &format!("{TARGET}  {PORTAL}  2        FAILED     3 min"),
                "",
                "  DISK  PORTAL           SESSION  H:C:T:L  GROUP  PRIORITY  STATE",
                &format!("optimal  mpath1  64 MiB  {TARGET}"),
                "  sda   192.0.2.21:3260  1        0:0:0:0  -      -         ok",
                "  sdb   192.0.2.21:3260  2        0:0:0:0  -      -         ok",
                "",
                "22:00:11  session 2: FAILED \\u{1b}[2J",
            ]
        );
        assert_eq!(lines(&Model::default(), &Log::default(), (100, 30))[1..], ["no session"]);
    }

    #[test]
    fn a_narrow_terminal_gets_what_says_whether_it_works() {
        let shown = lines(&model(2, 2), &Log::default(), (60, 30));
        assert_eq!(
            shown[..8],
            [
                "22:01:11  2 sessions, 1 not well; 2 disks, 1 not well",
                "",
                "  PORTAL           SESSION  STATE",
                TARGET,
                "  192.0.2.21:3260  1        LOGGED_IN",
                "  192.0.2.21:3260  2        FAILED",
                "",
                "  DISK  PORTAL           SESSION  STATE",
            ]
        );
        assert_eq!(shown[13], "  sdb   192.0.2.21:3260  2        FAILED: path failed");
    }

    #[test]
    fn an_event_that_does_not_fit_is_said_in_brief() {
        let whole = "disk mpatha: path sda at 192.0.2.21:3260 FAILED: session FREE, path failed (was ok)";
        let mut log = Log::default();
        let event = |what: &str, brief: &str| {
            let mut event = Happening::new(Mood::Bad, what);
            event.brief = brief.into();
            event
        };
        let events = [
            event(whole, "disk mpatha: path sda at 192.0.2.21:3260 FAILED"),
            event("disk mpatha: degraded (was optimal)", "disk mpatha: degraded"),
        ];
        log.add(NOW, events);
        let shown = lines(&model(1, 0), &log, (60, 20));
        let said = ["disk mpatha: path sda at 192.0.2.21:3260 FAILED", "disk mpatha: degraded (was optimal)"];
        assert_eq!(shown[shown.len() - 2..], said.map(|what| format!("22:01:11  {what}")));
        assert!(lines(&model(1, 0), &log, (100, 20)).contains(&format!("22:01:11  {whole}")));
    }

    #[test]
    fn what_does_not_fit_is_counted_and_what_needs_attention_is_shown_first() {
        let mut log = Log::default();
        log.add(NOW, (0..100).map(|number| Happening::new(Mood::Good, format!("event {number}"))));
        let shown = lines(&model(40, 40), &log, (100, 24));
        assert_eq!(shown.len(), 24);
        let has = |text: &str| shown.iter().any(|line| line.contains(text));
        assert!(has("  FAILED  ") && has("degraded  mpath40"), "{shown:#?}");
        assert!(has("… and 35 more sessions") && has("… and 39 more disks"), "{shown:#?}");
        assert!(has("event 99") && has("event 94") && !has("event 91"), "{shown:#?}");
        // Who needs less leaves it to the others.
        let shown = lines(&model(2, 40), &Log::default(), (100, 24));
        assert!(shown.iter().filter(|line| line.contains("optimal")).count() >= 4, "{shown:#?}");
    }

    #[test]
    fn no_picture_is_larger_than_the_terminal() {
        let mut log = Log::default();
        log.add(NOW, (0..9).map(|_| Happening::new(Mood::Good, format!("{TARGET} {TARGET} {TARGET}"))));
        for columns in [20, 40, 60, 80, 200] {
            for rows in [1, 2, 3, 5, 11, 12, 13, 24, 60] {
                for (sessions, disks) in [(0, 0), (1, 0), (2, 1), (40, 40), (300, 100)] {
                    let shown = lines(&model(sessions, disks), &log, (columns, rows));
                    assert!(shown.len() <= rows, "{columns} {rows}: {shown:#?}");
                    let widest = shown.iter().map(|line| fit::width(line)).max();
                    assert!(widest <= Some(columns.max(24)), "{columns} {rows}: {shown:#?}");
                }
            }
        }
    }

    #[test]
    fn what_is_behind_a_rate_stays_where_it_is() {
        let mut session = session(1, "LOGGED_IN");
        session.holds = vec!["backup".to_owned()];
        let line = |read: u64, written: u64| {
            let rates = Rates::known([(1, Rate { read, written })]);
            let size = Size { columns: 120, rows: 30 };
            let table = table_of_sessions(&[&session], &rates, (NOW, size));
            table.render(Style { colour: false, header: true, columns: Some(120) })
        };
        let idle = line(0, 0);
        let place = |text: &str| text.lines().nth(1).unwrap().find("backup").unwrap();
        assert!(idle.lines().next().unwrap().ends_with("  READ        WRITTEN     HELD BY"), "{idle}");
        for (read, written) in [(7, 1_047_552), (123_456_789, 99 << 20), (1023 << 30, 1_200_000_000)] {
            let busy = line(read, written);
            assert_eq!(place(&busy), place(&idle), "{busy}");
        }
    }

    #[test]
    fn ages_and_rates_have_units() {
        for (since, text) in [(0, ""), (999, "1 s"), (880, "2 min"), (1, "16 min")] {
            assert_eq!(age(since, 1000.0), text);
        }
        assert_eq!((age(1, 7300.0).as_str(), age(1, 1e6).as_str()), ("2 h", "11 d"));
        let rates = [0, 1536, 123_456_789, 1_200_000_000].map(per_second);
        assert_eq!(rates.each_ref().map(String::as_str), ["0 B/s", "1.5 KiB/s", "117 MiB/s", "1.1 GiB/s"]);
    }
}
