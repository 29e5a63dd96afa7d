//! Aligned tables for people, as wide as their text or as the terminal.
//! Must not take a text into a cell without escaping it, or cut one off at its end.

use std::collections::BTreeSet;

use iscsi_initiator_model::text::escape;

use super::fit::{hint, parts, shortened, width, wrapped};
use crate::language;

/// The escape sequences around a colour.
pub(crate) const RED: (&str, &str) = ("\x1b[1;31m", "\x1b[0m");
pub(crate) const GREEN: (&str, &str) = ("\x1b[32m", "\x1b[0m");
const YELLOW: (&str, &str) = ("\x1b[33m", "\x1b[0m");
const DIM: (&str, &str) = ("\x1b[2m", "\x1b[0m");
const BOLD: (&str, &str) = ("\x1b[1m", "\x1b[0m");

/// Between two columns.
const GAP: &str = "  ";
/// Before the rows of a group, and once more before what belongs to a row.
const INDENT: &str = "  ";
/// The header of the column that can stand above its rows instead.
const TARGET: &str = "TARGET";
/// The headers of names: what does not fit is left out in the middle, as wrapping would make two of one.
const NAMES: [&str; 4] = [TARGET, "PORTAL", "SUBJECT", "HOLDER"];
/// The fewest columns of a name, and of sentences that still read well.
const NAME: usize = 16;
const SENTENCE: usize = 20;

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) colour: bool,
    pub(crate) header: bool,
    /// Those of the terminal; a file and a pipe have none, and everything is drawn whole.
    pub(crate) columns: Option<usize>,
}

/// What a cell says at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Strong,
    Good,
    Doubtful,
    Bad,
    Faint,
}

/// A text fit for a terminal.
#[derive(Clone)]
pub(crate) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(crate) fn new(text: impl ToString) -> Self {
        Self::toned(text, Tone::Plain)
    }

    pub(crate) fn toned(text: impl ToString, tone: Tone) -> Self {
        Self { text: escape(&text.to_string()), tone }
    }

    /// A dash stands for nothing, so that a program that splits at blanks finds every column.
    pub(crate) fn or_dash(text: impl ToString) -> Self {
        let text = text.to_string();
        Self::new(if text.is_empty() { "-".to_owned() } else { text })
    }

    /// A word of the contract; a dash for none.
    pub(crate) fn word(word: impl ToString) -> Self {
        Self::or_dash(language::word(word))
    }

    pub(crate) fn word_toned(word: impl ToString, tone: Tone) -> Self {
        Self::toned(language::word(word), tone)
    }

    fn width(&self) -> usize {
        width(&self.text)
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty() || self.text == "-"
    }

    /// The widest part that stays on one line.
    fn widest_part(&self) -> usize {
        self.text.split(' ').flat_map(parts).map(width).max().unwrap_or(0)
    }

    /// One line of this cell.
    fn draw(&self, text: &str, columns: usize, style: Style, line: &mut String) {
        let (begin, end) = match self.tone {
            _ if !style.colour || text.is_empty() => ("", ""),
            Tone::Plain => ("", ""),
            Tone::Strong => BOLD,
            Tone::Good => GREEN,
            Tone::Doubtful => YELLOW,
            Tone::Bad => RED,
            Tone::Faint => DIM,
        };
        let blanks = " ".repeat(columns.saturating_sub(width(text)));
        line.push_str(&format!("{begin}{text}{end}{blanks}"));
    }
}

#[derive(Clone)]
enum Line {
    /// Spans all columns.
    Heading(Cell),
    Row(Vec<Cell>),
    /// Belongs to the row above, and begins below its second cell.
    Note(Cell),
}

/// Columns under a header; rows may stand in groups under headings.
pub(crate) struct Table {
    /// The names of the columns in English, by which they are known.
    names: Vec<&'static str>,
    header: Vec<Cell>,
    lines: Vec<Line>,
    indent: &'static str,
}

impl Table {
    /// The columns by their names in English; one that ends with blanks is as wide as they are, at least.
    pub(crate) fn new(names: &[&'static str]) -> Self {
        let shown = |name: &&str| {
            let word = language::word(name.trim_end());
            let blanks = " ".repeat(width(name).saturating_sub(width(&word)));
            Cell::toned(if name.ends_with(' ') { word + &blanks } else { word }, Tone::Strong)
        };
        Self {
            names: names.to_vec(),
            header: names.iter().map(shown).collect(),
            lines: Vec::new(),
            indent: "",
        }
    }

    /// A row, with a cell for each column.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.lines.push(Line::Row(cells));
    }

    /// More about the row above.
    pub(crate) fn note(&mut self, text: impl ToString) {
        self.lines.push(Line::Note(Cell::new(text)));
    }

    /// Begins a group; rows are set in from here on.
    pub(crate) fn heading(&mut self, text: impl ToString) {
        self.heading_toned(text, Tone::Strong);
    }

    /// The same, where the group has something to say at a glance.
    pub(crate) fn heading_toned(&mut self, text: impl ToString, tone: Tone) {
        self.indent = INDENT;
        self.lines.push(Line::Heading(Cell::toned(text, tone)));
    }

    /// Nothing for no rows; no blank at a line's end. On a terminal that is too narrow, targets move above
    /// their rows, sentences and lists are wrapped, names are shortened in the middle; as the last means, each
    /// row gets lines of its own.
    pub(crate) fn render(&self, style: Style) -> String {
        let natural = self.widths(style, Cell::width);
        let Some(columns) = style.columns.filter(|columns| self.total(&natural) > *columns) else {
            // What spans all columns may still be wider.
            return self.draw(&natural, style, style.columns.unwrap_or(usize::MAX));
        };
        match self.grouped() {
            Some(grouped) => grouped.render(style),
            None => match self.narrowed(natural, style, columns) {
                Some(widths) => self.draw(&widths, style, columns),
                None => self.draw_blocks(style, columns),
            },
        }
    }

    fn total(&self, widths: &[usize]) -> usize {
        width(self.indent) + widths.iter().sum::<usize>() + GAP.len() * widths.len().saturating_sub(1)
    }

    fn is_name(&self, place: usize) -> bool {
        self.names.get(place).is_some_and(|name| NAMES.contains(name))
    }

    fn rows(&self) -> impl Iterator<Item = &Vec<Cell>> {
        self.lines.iter().filter_map(|line| match line {
            Line::Row(cells) => Some(cells),
            Line::Heading(_) | Line::Note(_) => None,
        })
    }

    /// With each target above its rows, if they have a column for it.
    fn grouped(&self) -> Option<Self> {
        if !self.indent.is_empty() || *self.names.first()? != TARGET {
            return None;
        }
        let mut table = Self {
            names: self.names.get(1..)?.to_vec(),
            header: self.header.get(1..)?.to_vec(),
            lines: Vec::new(),
            indent: INDENT,
        };
        let mut last = None;
        for line in &self.lines {
            let Line::Row(cells) = line else {
                table.lines.push(line.clone());
                continue;
            };
            let (target, rest) = cells.split_first()?;
            if last != Some(&target.text) {
                table.heading(&target.text);
                last = Some(&target.text);
            }
            table.row(rest.to_vec());
        }
        Some(table)
    }

    /// The widths with which the table fits, if there are any.
    fn narrowed(&self, mut widths: Vec<usize>, style: Style, columns: usize) -> Option<Vec<usize>> {
        let mut least = self.widths(style, Cell::widest_part);
        for (place, least) in least.iter_mut().enumerate() {
            let natural = widths.get(place).copied().unwrap_or(0);
            *least = if self.is_name(place) { natural.min(NAME) } else { (*least).max(natural.min(4)) };
        }
        // The last column has the sentences, if there are any.
        if let (Some(least), Some(natural)) = (least.last_mut(), widths.last()) {
            *least = (*least).min(SENTENCE).max((*natural).min(SENTENCE));
        }
        // First what can be wrapped, then names; the widest first.
        for names in [false, true] {
            while self.total(&widths) > columns {
                let over = self.total(&widths) - columns;
                let can_shrink = widths.iter().enumerate().filter(|(place, width)| {
                    self.is_name(*place) == names && **width > least.get(*place).copied().unwrap_or(0)
                });
                let Some(place) = can_shrink.max_by_key(|(_, width)| **width).map(|(place, _)| place) else {
                    break;
                };
                let least = least.get(place).copied().unwrap_or(0);
                let width = widths.get_mut(place)?;
                *width = width.saturating_sub(over).max(least);
            }
        }
        (self.total(&widths) <= columns).then_some(widths)
    }

    fn widths(&self, style: Style, of: impl Fn(&Cell) -> usize) -> Vec<usize> {
        let mut widths: Vec<usize> =
            self.header.iter().map(|cell| if style.header { cell.width() } else { 0 }).collect();
        for cells in self.rows() {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = of(cell).max(*width);
            }
        }
        widths
    }

    fn draw(&self, widths: &[usize], style: Style, columns: usize) -> String {
        let mut text = String::new();
        let whole = self.colliding(widths);
        if style.header && !self.lines.is_empty() {
            self.draw_row(&self.header, widths, &whole, style, &mut text);
        }
        let beside = widths.first().map_or(0, |width| width + GAP.len());
        for line in &self.lines {
            match line {
                Line::Row(cells) => self.draw_row(cells, widths, &whole, style, &mut text),
                Line::Heading(cell) => draw_heading(cell, columns, style, &mut text),
                Line::Note(cell) => draw_note(cell, width(self.indent) + beside, columns, style, &mut text),
            }
        }
        text
    }

    /// The columns of names that would look alike if they were shortened: these are wrapped instead.
    fn colliding(&self, widths: &[usize]) -> BTreeSet<usize> {
        let places = widths.iter().enumerate().filter(|(place, _)| self.is_name(*place));
        let collide = |place: usize, columns: usize| {
            let texts: BTreeSet<&str> =
                self.rows().filter_map(|cells| cells.get(place)).map(|cell| cell.text.as_str()).collect();
            let short: BTreeSet<String> = texts.iter().map(|text| shortened(text, columns)).collect();
            short.len() < texts.len()
        };
        places.filter(|(place, columns)| collide(*place, **columns)).map(|(place, _)| place).collect()
    }

    fn draw_row(
        &self,
        cells: &[Cell],
        widths: &[usize],
        whole: &BTreeSet<usize>,
        style: Style,
        text: &mut String,
    ) {
        let lines = |(place, (cell, columns)): (usize, (&Cell, &usize))| {
            if cell.width() <= *columns {
                vec![cell.text.clone()]
            } else if whole.contains(&place) {
                broken(&cell.text, *columns)
            } else if self.is_name(place) {
                vec![shortened(&cell.text, *columns)]
            } else {
                wrapped(&cell.text, *columns)
            }
        };
        let parts: Vec<Vec<String>> = cells.iter().zip(widths).enumerate().map(lines).collect();
        let height = parts.iter().map(Vec::len).max().unwrap_or(0);
        for number in 0..height {
            let mut line = self.indent.to_owned();
            for (place, ((cell, columns), part)) in cells.iter().zip(widths).zip(&parts).enumerate() {
                let shown = part.get(number).map_or("", String::as_str);
                let is_last = place + 1 == cells.len();
                cell.draw(shown, if is_last { 0 } else { *columns }, style, &mut line);
                line.push_str(if is_last { "" } else { GAP });
            }
            text.push_str(line.trim_end_matches(' '));
            text.push('\n');
        }
    }

    /// For a terminal that is too narrow for the columns: the first cells of a row in a line, below them its
    /// sentences, or its other cells with their headers.
    fn draw_blocks(&self, style: Style, columns: usize) -> String {
        let mut text = String::new();
        let has_sentences = self.names.last() == Some(&"DETAIL");
        for line in &self.lines {
            match line {
                Line::Heading(cell) => draw_heading(cell, columns, style, &mut text),
                Line::Note(cell) => {
                    draw_note(cell, width(self.indent) + INDENT.len(), columns, style, &mut text);
                }
                Line::Row(cells) => {
                    let leading = if has_sentences { cells.len().saturating_sub(1) } else { 1 };
                    let (first, rest) = cells.split_at_checked(leading).unwrap_or((cells, &[]));
                    let first: Vec<Item<'_>> = first.iter().map(|cell| Item { label: "", cell }).collect();
                    draw_items(&first, self.indent, columns, style, &mut text);
                    let labels = self.header.iter().skip(leading);
                    let rest: Vec<Item<'_>> = labels
                        .zip(rest)
                        .filter(|(_, cell)| !cell.is_empty())
                        .map(|(label, cell)| Item {
                            label: if has_sentences { "" } else { &label.text },
                            cell,
                        })
                        .collect();
                    draw_items(&rest, &format!("{}{INDENT}", self.indent), columns, style, &mut text);
                }
            }
        }
        text
    }
}

/// A cell in a line of its own, with the name of its column where that is not clear.
struct Item<'a> {
    label: &'a str,
    cell: &'a Cell,
}

/// Items beside each other as long as they fit; a wider one is wrapped in lines of its own.
fn draw_items(items: &[Item<'_>], indent: &str, columns: usize, style: Style, text: &mut String) {
    let room = columns.saturating_sub(width(indent)).max(NAME);
    let mut used = 0;
    for item in items {
        let label = if item.label.is_empty() { String::new() } else { format!("{} ", item.label) };
        let needed = width(&label) + item.cell.width();
        let fits = used > 0 && used + GAP.len() + needed <= room;
        text.push_str(if fits {
            GAP
        } else if used > 0 {
            "\n"
        } else {
            ""
        });
        if !fits {
            text.push_str(indent);
            used = 0;
        }
        text.push_str(&label);
        let lines = wrapped(&item.cell.text, room.saturating_sub(width(&label)).max(1));
        for (number, line) in lines.iter().enumerate() {
            if number > 0 {
                text.push_str(&format!("\n{indent}"));
            }
            item.cell.draw(line, 0, style, text);
        }
        used += needed + if fits { GAP.len() } else { 0 };
    }
    if !items.is_empty() {
        text.push('\n');
    }
}

/// Parts of a heading beside each other as long as they fit.
fn draw_heading(cell: &Cell, columns: usize, style: Style, text: &mut String) {
    let mut lines: Vec<String> = Vec::new();
    for part in cell.text.split(GAP) {
        match lines.last_mut() {
            Some(line) if width(line) + GAP.len() + width(part) <= columns => {
                line.push_str(GAP);
                line.push_str(part);
            }
            Some(_) => {
                let room = columns.saturating_sub(2 * INDENT.len()).max(1);
                lines.push(format!("{INDENT}{INDENT}{}", shortened(part, room)));
            }
            None => lines.push(shortened(part, columns)),
        }
    }
    for line in lines {
        cell.draw(&line, 0, style, text);
        text.push('\n');
    }
}

fn draw_note(cell: &Cell, indent: usize, columns: usize, style: Style, text: &mut String) {
    // Beside a wide column there would be too little room to read.
    let indent = if columns.saturating_sub(indent) < SENTENCE { 2 * INDENT.len() } else { indent };
    for line in hint(&cell.text, columns.saturating_sub(indent)) {
        text.push_str(&" ".repeat(indent));
        cell.draw(&line, 0, style, text);
        text.push('\n');
    }
}

/// A name in as many lines as it needs.
fn broken(name: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for c in name.chars() {
        match lines.last_mut() {
            Some(line) if width(line) + width(c.encode_utf8(&mut [0; 4])) <= columns.max(1) => line.push(c),
            _ => lines.push(c.to_string()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colour: false, header: true, columns: None };

    fn sample() -> Table {
        let mut table = Table::new(&["TARGET", "N", "STATE"]);
        table.row(vec![Cell::new("iqn.a"), Cell::new(1), Cell::toned("ok", Tone::Good)]);
        table.row(vec![Cell::new("iqn.longer"), Cell::or_dash(""), Cell::toned("FAILED", Tone::Bad)]);
        table
    }

    #[test]
    fn columns_are_aligned_and_lines_end_without_blanks() {
        assert_eq!(
            sample().render(PLAIN),
            "TARGET      N  STATE\n\
             iqn.a       1  ok\n\
             iqn.longer  -  FAILED\n"
        );
    }

    #[test]
    fn without_a_header_columns_are_as_wide_as_their_rows() {
        let mut table = sample();
        table.heading("group\u{1b}");
        assert_eq!(
            table.render(Style { header: false, ..PLAIN }),
            "  iqn.a       1  ok\n  iqn.longer  -  FAILED\ngroup\\u{1b}\n"
        );
    }

    #[test]
    fn a_note_stands_below_its_row_and_widens_nothing() {
        let mut table = Table::new(&["A", "B"]);
        table.heading("group");
        table.row(vec![Cell::new("failed"), Cell::new("x")]);
        table.note("hint: \u{1b}[2J and more than the row");
        assert_eq!(
            table.render(PLAIN),
            "  A       B\ngroup\n  failed  x\n          hint: \\u{1b}[2J and more than the row\n"
        );
    }

    #[test]
    fn nothing_has_no_header() {
        assert_eq!(Table::new(&["TARGET"]).render(PLAIN), "");
    }

    #[test]
    fn colour_is_only_drawn_around_what_is_escaped() {
        let mut table = Table::new(&["A", "B"]);
        table.row(vec![Cell::toned("\x1b[2J", Tone::Bad), Cell::new("x")]);
        assert_eq!(
            table.render(Style { colour: true, header: false, columns: None }),
            "\x1b[1;31m\\u{1b}[2J\x1b[0m  x\n"
        );
    }

    fn at(columns: usize) -> Style {
        Style { columns: Some(columns), ..PLAIN }
    }

    fn nodes() -> Table {
        let mut table = Table::new(&["TARGET", "PORTAL", "OUTCOME", "DISKS"]);
        for (target, portal) in
            [("disks", "192.0.2.21:3260"), ("disks", "[2001:db8::21]:3260"), ("tapes", "p")]
        {
            table.row(vec![
                Cell::new(format!("iqn.2003-01.com.example:{target}")),
                Cell::new(portal),
                Cell::new("logged-in"),
                Cell::new("sda,sdb,sdc"),
            ]);
        }
        table
    }

    fn assert_fits(text: &str, columns: usize) {
        for line in text.lines() {
            assert!(width(line) <= columns, "{columns}: {line:?}\n{text}");
            assert_eq!(line.trim_end(), line);
        }
    }

    #[test]
    fn a_wide_terminal_changes_nothing() {
        assert_eq!(nodes().render(at(200)), nodes().render(PLAIN));
        assert_eq!(nodes().render(at(75)), nodes().render(PLAIN));
    }

    #[test]
    fn targets_move_above_their_rows_and_lists_are_wrapped() {
        assert_eq!(
            nodes().render(at(60)),
            "  PORTAL               OUTCOME    DISKS
iqn.2003-01.com.example:disks
  192.0.2.21:3260      logged-in  sda,sdb,sdc
  [2001:db8::21]:3260  logged-in  sda,sdb,sdc
iqn.2003-01.com.example:tapes
  p                    logged-in  sda,sdb,sdc
"
        );
        assert_fits(&nodes().render(at(40)), 40);
        assert!(nodes().render(at(40)).contains("iqn.2003-01.com.example:disks"));
    }

    #[test]
    fn names_are_shortened_in_the_middle_unless_that_makes_them_alike() {
        let table = |names: [&str; 2]| {
            let mut table = Table::new(&["SUBJECT", "N"]);
            for name in names {
                table.row(vec![Cell::new(name), Cell::new(1)]);
            }
            table.render(at(24))
        };
        let text = table(["iqn.2003-01.com.example:disks", "iqn.2003-01.com.example:tapes"]);
        assert!(text.contains("…") && text.contains("disks ") && text.contains("tapes "), "{text}");
        let text =
            table(["iqn.2003-01.com.example:a.of.2003-01.com", "iqn.2003-01.com.example:b.of.2003-01.com"]);
        assert!(!text.contains('…') && text.contains("le:a.of"), "{text}");
        assert_fits(&text, 24);
    }

    #[test]
    fn where_columns_do_not_fit_each_row_has_lines_of_its_own() {
        let mut table = Table::new(&["DISK", "PORTAL", "SESSION", "H:C:T:L", "GROUP", "PRIORITY", "STATE"]);
        table.heading(
            "mpatha  dm-0  10 GiB  LIO-ORG  TCMU device  naa.6001405f  iqn.2003-01.com.example:disks",
        );
        let cells =
            ["sda", "192.0.2.21:3260", "1", "2:0:0:0", "1", "50", "FAILED: session FREE, path failed"];
        table.row(cells.map(Cell::new).into());
        assert_eq!(
            table.render(at(60)),
            "mpatha  dm-0  10 GiB  LIO-ORG  TCMU device  naa.6001405f
    iqn.2003-01.com.example:disks
  sda
    PORTAL 192.0.2.21:3260  SESSION 1  H:C:T:L 2:0:0:0
    GROUP 1  PRIORITY 50
    STATE FAILED: session FREE, path failed
"
        );
        let mut table = Table::new(&["STATE", "LOOKED AT", "SUBJECT", "DETAIL"]);
        let detail = "its mode 0644 lets other users read it, and a secret is in it";
        table.row(["warning", "secret-files", "/etc/iscsi/iscsid.conf", detail].map(Cell::new).into());
        table.note("hint: make it private: chmod 0600 /etc/iscsi/iscsid.conf.of.an.older.version");
        assert_eq!(
            table.render(at(60)),
            "warning  secret-files  /etc/iscsi/iscsid.conf
  its mode 0644 lets other users read it, and a secret is in
  it
  hint: make it private:
  chmod 0600 /etc/iscsi/iscsid.conf.of.an.older.version
"
        );
        assert_fits(&table.render(at(80)), 80);
    }
}
