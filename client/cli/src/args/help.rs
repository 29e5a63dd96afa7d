//! The examples of the help, as wide as the terminal: a command that is broken in the middle cannot be pasted.
//! Must not change what an example does.
//!
//! | room | what it is |
//! |---|---|
//! | `translated` | the help in another language |

use std::io;

use clap::Command;

use crate::{
    language,
    show::{columns, fit},
};

mod translated;

/// As wide as clap's own text.
const MOST: usize = 100;
/// Where the meaning of an exit code begins.
const ENTRY: usize = 7;

/// A command whose help fits the terminal, with its commands.
pub(super) fn fitted(command: Command) -> Command {
    let columns = columns(io::stdout()).unwrap_or(MOST).min(MOST);
    if language::is_english() {
        fit_to(command, columns)
    } else {
        fit_to(translated::help(command, columns), columns)
    }
}

fn fit_to(command: Command, columns: usize) -> Command {
    let fit = |text: Option<&clap::builder::StyledStr>| text.map(|text| fit_text(&text.to_string(), columns));
    let (long, after) = (fit(command.get_long_about()), fit(command.get_after_help()));
    let after_long = fit(command.get_after_long_help());
    // The same width for clap's part.
    let command = command.term_width(columns);
    let command = if let Some(text) = long { command.long_about(text) } else { command };
    let command = if let Some(text) = after { command.after_help(text) } else { command };
    let command = if let Some(text) = after_long { command.after_long_help(text) } else { command };
    command.mut_subcommands(|command| fit_to(command, columns))
}

/// Paragraphs are wrapped by clap. An example that is too long gets its remark above it, and is continued after
/// a backslash.
fn fit_text(text: &str, columns: usize) -> String {
    let lines = text.split('\n').flat_map(|line| match line.trim_start() {
        _ if !line.starts_with("  ") || fit::width(line) <= columns => vec![line.to_owned()],
        text if text.starts_with(|c: char| c.is_ascii_digit()) => entry(line, columns),
        _ => example(line, columns),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// A number and its meaning.
fn entry(line: &str, columns: usize) -> Vec<String> {
    let (number, meaning) = line.split_at_checked(ENTRY).unwrap_or((line, ""));
    let lines = fit::wrapped_whole(meaning, columns.saturating_sub(ENTRY));
    let number = |place: usize| if place == 0 { number.to_owned() } else { " ".repeat(ENTRY) };
    lines.iter().enumerate().map(|(place, text)| format!("{}{text}", number(place))).collect()
}

fn example(line: &str, columns: usize) -> Vec<String> {
    let (command, remark) = match line.split_once(" # ") {
        Some((command, remark)) => (command.trim_end(), Some(remark)),
        None => (line, None),
    };
    let mut lines: Vec<String> = remark.map(|remark| format!("  # {remark}")).into_iter().collect();
    let begin = command.len() - command.trim_start().len();
    // Two columns for the backslash.
    let parts = fit::wrapped_whole(command.trim_start(), columns.saturating_sub(begin + 4 + 2));
    // A quoted word may have blanks in it.
    if parts.iter().any(|part| part.matches('\'').count() % 2 == 1) {
        lines.push(command.to_owned());
        return lines;
    }
    let last = parts.len().saturating_sub(1);
    lines.extend(parts.iter().enumerate().map(|(number, part)| {
        let indent = " ".repeat(if number == 0 { begin } else { begin + 4 });
        format!("{indent}{part}{}", if number == last { "" } else { " \\" })
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_example_is_continued_and_its_remark_stands_above() {
        let text = "Examples:\n  iscsictl paths\n  iscsictl connect 192.0.2.21 --startup automatic    # and at every boot";
        assert_eq!(fit_text(text, 100), text);
        assert_eq!(
            fit_text(text, 44),
            "Examples:\n  iscsictl paths\n  # and at every boot\n  iscsictl connect 192.0.2.21 \\\n      --startup automatic"
        );
    }
}
