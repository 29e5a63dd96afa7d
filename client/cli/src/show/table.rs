//! Aligned tables for people.
//! Must not take a text into a cell without escaping it.

use super::escape::escape;

/// The escape sequences around a colour.
pub(crate) const RED: (&str, &str) = ("\x1b[1;31m", "\x1b[0m");
pub(crate) const GREEN: (&str, &str) = ("\x1b[32m", "\x1b[0m");
const YELLOW: (&str, &str) = ("\x1b[33m", "\x1b[0m");
const DIM: (&str, &str) = ("\x1b[2m", "\x1b[0m");
const BOLD: (&str, &str) = ("\x1b[1m", "\x1b[0m");

/// Between two columns.
const GAP: &str = "  ";

/// How to draw.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    pub(crate) colour: bool,
    pub(crate) header: bool,
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

    fn width(&self) -> usize {
        self.text.chars().count()
    }

    fn draw(&self, width: usize, style: Style, line: &mut String) {
        let (begin, end) = match self.tone {
            _ if !style.colour => ("", ""),
            Tone::Plain => ("", ""),
            Tone::Strong => BOLD,
            Tone::Good => GREEN,
            Tone::Doubtful => YELLOW,
            Tone::Bad => RED,
            Tone::Faint => DIM,
        };
        let blanks = " ".repeat(width.saturating_sub(self.width()));
        line.push_str(&format!("{begin}{}{end}{blanks}", self.text));
    }
}

enum Line {
    /// Spans all columns.
    Heading(Cell),
    Row(Vec<Cell>),
    /// Belongs to the row above, and begins below its second cell.
    Note(Cell),
}

/// Columns under a header; rows may stand in groups under headings.
pub(crate) struct Table {
    header: Vec<Cell>,
    lines: Vec<Line>,
    indent: &'static str,
}

impl Table {
    pub(crate) fn new(header: &[&str]) -> Self {
        let header = header.iter().map(|name| Cell::toned(name, Tone::Strong)).collect();
        Self { header, lines: Vec::new(), indent: "" }
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
        self.indent = "  ";
        self.lines.push(Line::Heading(Cell::toned(text, Tone::Strong)));
    }

    /// Nothing for no rows; no blank at a line's end.
    pub(crate) fn render(&self, style: Style) -> String {
        let widths = self.widths(style);
        let mut text = String::new();
        if style.header && !self.lines.is_empty() {
            self.draw_row(&self.header, &widths, style, &mut text);
        }
        for line in &self.lines {
            match line {
                Line::Row(cells) => self.draw_row(cells, &widths, style, &mut text),
                Line::Heading(cell) => {
                    cell.draw(0, style, &mut text);
                    text.push('\n');
                }
                Line::Note(cell) => {
                    text.push_str(self.indent);
                    text.push_str(&" ".repeat(widths.first().map_or(0, |width| width + GAP.len())));
                    cell.draw(0, style, &mut text);
                    text.push('\n');
                }
            }
        }
        text
    }

    fn widths(&self, style: Style) -> Vec<usize> {
        let rows = self.lines.iter().filter_map(|line| match line {
            Line::Row(cells) => Some(cells),
            Line::Heading(_) | Line::Note(_) => None,
        });
        let mut widths: Vec<usize> =
            self.header.iter().map(|cell| if style.header { cell.width() } else { 0 }).collect();
        for cells in rows {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = cell.width().max(*width);
            }
        }
        widths
    }

    fn draw_row(&self, cells: &[Cell], widths: &[usize], style: Style, text: &mut String) {
        text.push_str(self.indent);
        for (place, (cell, width)) in cells.iter().zip(widths).enumerate() {
            let is_last = place + 1 == cells.len();
            cell.draw(if is_last { 0 } else { *width }, style, text);
            text.push_str(if is_last { "\n" } else { GAP });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Style = Style { colour: false, header: true };

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
        assert_eq!(table.render(Style { colour: true, header: false }), "\x1b[1;31m\\u{1b}[2J\x1b[0m  x\n");
    }
}
