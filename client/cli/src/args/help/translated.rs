//! The help in another language than English: clap has its texts in the arguments, and wraps and heads them in English.
//! Must not change what the arguments mean.

use clap::{Arg, Command, builder::StyledStr};

use crate::{
    language::{self, say},
    show::fit,
};

/// Before and behind the longest option in clap's lists.
const AROUND: usize = 10;
/// The fewest columns of an explanation; clap puts it into a line of its own then.
const LEAST: usize = 24;

/// The headings, which clap wants for as long as the program runs.
#[derive(Clone, Copy)]
struct Headings {
    arguments: &'static str,
    options: &'static str,
    commands: &'static str,
    usage: &'static str,
}

/// The command with its texts in the language that is spoken, for so many columns.
pub(super) fn help(mut command: Command, columns: usize) -> Command {
    // With clap's own: --help, --version, help.
    command.build();
    let headings = Headings {
        arguments: say!("Arguments").leak(),
        options: say!("Options").leak(),
        commands: say!("Commands").leak(),
        usage: say!("Usage:").leak(),
    };
    one(command, headings, columns)
}

fn one(command: Command, headings: Headings, columns: usize) -> Command {
    let of = |text: Option<&StyledStr>| text.map(|text| block(&text.to_string(), columns));
    let (long, after) = (of(command.get_long_about()), of(command.get_after_help()));
    let (about, after_long) = (of(command.get_about()), of(command.get_after_long_help()));
    // The list has less room for it than the help of the command itself.
    let begin =
        if long.is_some() { "{about-with-newline}".to_owned() } else { about.unwrap_or_default() + "\n" };
    let template = format!("{begin}\n{} {{usage}}\n\n{{all-args}}{{after-help}}", headings.usage);
    let longest = command.get_arguments().map(|arg| fit::width(&arg.to_string())).max().unwrap_or(0);
    let names = command.get_subcommands().map(|command| fit::width(command.get_name())).max().unwrap_or(0);
    let room = |longest: usize| columns.saturating_sub(longest + AROUND).max(LEAST);
    let listed = |about: String| lines(&language::translated(&about), room(names));
    let command = command
        .help_template(template)
        .subcommand_help_heading(headings.commands)
        .mut_args(|arg| argument(arg, headings, room(longest)))
        .mut_subcommands(|command| {
            let about = command.get_about().map(ToString::to_string);
            let command = one(command, headings, columns);
            if let Some(about) = about { command.about(listed(about)) } else { command }
        });
    let command = if let Some(text) = long { command.long_about(text) } else { command };
    let command = if let Some(text) = after { command.after_help(text) } else { command };
    if let Some(text) = after_long { command.after_long_help(text) } else { command }
}

fn argument(arg: Arg, headings: Headings, room: usize) -> Arg {
    let values: Vec<String> = match arg.get_action().takes_values() {
        true => arg.get_possible_values().iter().map(|value| value.get_name().to_owned()).collect(),
        false => Vec::new(),
    };
    let of = |text: Option<&StyledStr>| {
        let text = language::translated(&text?.to_string()).into_owned();
        let text = match values.as_slice() {
            [] => text,
            values => say!("{text} (one of: {values})", text, values = values.join(", ")),
        };
        Some(lines(&text, room))
    };
    let (short, long) = (of(arg.get_help()), of(arg.get_long_help()));
    let heading = if arg.is_positional() { headings.arguments } else { headings.options };
    let arg = arg.help_heading(heading).hide_possible_values(true);
    let arg = if let Some(text) = short { arg.help(text) } else { arg };
    if let Some(text) = long { arg.long_help(text) } else { arg }
}

/// Paragraphs and examples; clap wraps at blanks alone, of which Chinese has none.
fn block(text: &str, columns: usize) -> String {
    let translated = language::help(text);
    let of_line = |line: &str| if line.starts_with("  ") { line.to_owned() } else { lines(line, columns) };
    translated.split('\n').map(of_line).collect::<Vec<_>>().join("\n")
}

fn lines(text: &str, columns: usize) -> String {
    fit::wrapped_whole(text, columns).join("\n")
}
