//! What people and programs see: the one room that writes to standard output and standard error.
//! Must not write a word from the bus or a target that was not escaped.
//!
//! | room | what it is |
//! |---|---|
//! | `agent` | whether a password may be asked for on this terminal |
//! | `change` | what a setup of multipath changed or would change |
//! | `checks` | what `diagnose` checked |
//! | `findings` | what `doctor` found |
//! | `fit` | text that fits a terminal |
//! | `json` | the answers as JSON, with the keys of the bus |
//! | `nodes` | nodes as a table |
//! | `outcomes` | what became of a login, logout or rescan |
//! | `paths` | maps, each with its paths and their states |
//! | `table` | aligned tables |
//! | `uses` | what holds a target or its disks |

mod agent;
mod change;
mod checks;
mod findings;
pub(crate) mod fit;
mod json;
mod nodes;
mod outcomes;
mod paths;
pub(crate) mod table;
mod uses;

use std::{
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    time::Duration,
};

use iscsi_initiator_dbus::results::MultipathChange;
use iscsi_initiator_model::{connect::step_title, text::escape};
use serde_json::Value;

pub(crate) use self::{
    checks::checks,
    findings::findings,
    json::{line as json_line, properties, rows, text},
    nodes::nodes,
    outcomes::{Remark, logins, logouts, rescans},
    paths::{disks, paths, problems},
    uses::{Held, holders, holds},
};
use crate::{
    exit::Exit,
    language::{self, say},
    problem::Problem,
};
use table::{Style, Table};

/// How the user wants it.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(crate) struct Output {
    /// Write JSON for programs: an array of objects (monitor and --watch: an object a line); errors as one object on
    /// standard error
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Write results only: no header, no remark; nothing at all when an action succeeds
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// What a command found or did, for both kinds of readers.
pub(crate) struct Report {
    /// The contract's keys.
    pub(crate) rows: Vec<Value>,
    /// For people.
    pub(crate) body: Body,
    /// For people, on standard error.
    pub(crate) remarks: Vec<Remark>,
    pub(crate) exit: Exit,
}

/// The part of a report for people.
pub(crate) enum Body {
    /// What was asked for.
    List(Table),
    /// What became of an action; not if quiet.
    Outcome(Table),
    /// One thing that was asked for.
    Line(String),
    /// What became of an action; not if quiet.
    Done(String),
    /// Nothing: it was written as it came.
    Written,
    /// What a setup changed; not if quiet. What it would change was asked for.
    Change { change: MultipathChange, is_dry: bool },
}

/// The two streams.
#[derive(Clone, Copy)]
pub(crate) struct Screen {
    output: Output,
    stdout: Style,
    stderr: Style,
    live: bool,
    draws: bool,
}

impl Screen {
    pub(crate) fn new(output: Output) -> Self {
        let style = |terminal: bool, columns: Option<usize>| Style {
            colour: terminal && colours_wanted(),
            header: !output.quiet,
            columns,
        };
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        // What is drawn again and again needs a terminal that can, and no one else who writes there.
        let is_calm = (out || err) && !output.quiet && !is_dumb() && !agent::may_ask_here();
        Self {
            output,
            stdout: style(out, columns(io::stdout())),
            stderr: style(err, columns(io::stderr())),
            live: err && is_calm,
            draws: out && is_calm && !output.json,
        }
    }

    /// Whether a spinner makes sense.
    pub(crate) fn live(self) -> bool {
        self.live
    }

    /// Whether standard output can show a table that is drawn again and again.
    pub(crate) fn draws(self) -> bool {
        self.draws
    }

    /// Whether standard output has colours.
    pub(crate) fn has_colours(self) -> bool {
        self.stdout.colour
    }

    /// Whether a program reads the results.
    pub(crate) fn is_json(self) -> bool {
        self.output.json
    }

    /// Writes lines as they come: whether there still is a reader.
    pub(crate) fn lines(self, text: &str) -> Result<bool, Problem> {
        let mut stdout = io::stdout();
        match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(Problem::local(say!("output: {error}", error))),
        }
    }

    /// Whether only results and what needs attention are wanted.
    pub(crate) fn is_quiet(self) -> bool {
        self.output.quiet
    }

    /// Whether the steps are shown: to a person, on a terminal or in a log, but not to a program.
    pub(crate) fn shows_steps(self) -> bool {
        !self.output.quiet && !self.output.json
    }

    /// Writes how far a call has come, and after how long, above the spinner. A log has times of its own.
    pub(crate) fn step(self, after: Duration, step: &str, detail: &str) {
        let (clear, time) = match self.live {
            true => ("\r\x1b[K", format!("{:>5.1} s  ", after.as_secs_f64())),
            false => ("", String::new()),
        };
        let columns = self.stderr.columns.unwrap_or(usize::MAX);
        let lines = fit::wrapped_whole(&format!("{time}{}: {}", step_of(step), escape(detail)), columns);
        let _ = write(io::stderr(), &format!("{clear}{}\n", lines.join("\n")));
    }

    /// Writes what a person should know while a call runs, above the spinner.
    pub(crate) fn aside(self, message: &str) {
        if self.live {
            let _ = write(io::stderr(), "\r\x1b[K");
        }
        self.remarks(&[Remark::note(message, "")]);
    }

    /// Writes the report; the exit code is the report's, also if the reader is gone.
    pub(crate) fn report(self, report: &Report) -> Result<Exit, Problem> {
        let text = match &report.body {
            Body::Written => String::new(),
            _ if self.output.json => json::text(&Value::Array(report.rows.clone())),
            Body::Outcome(_) | Body::Done(_) if self.output.quiet => String::new(),
            Body::Change { is_dry: false, .. } if self.output.quiet => String::new(),
            Body::Change { change, is_dry } => change::render(change, *is_dry, self.stdout),
            Body::List(table) | Body::Outcome(table) => table.render(self.stdout),
            Body::Line(line) => format!("{}\n", escape(line)),
            Body::Done(line) => {
                let columns = self.stdout.columns.unwrap_or(usize::MAX);
                format!("{}\n", fit::wrapped_whole(&escape(line), columns).join("\n"))
            }
        };
        write(io::stdout(), &text)?;
        self.remarks(&report.remarks);
        Ok(report.exit)
    }

    /// Writes what a person should know beside a result.
    pub(crate) fn remarks(self, remarks: &[Remark]) {
        let mut said: Vec<&Remark> = Vec::new();
        for remark in remarks {
            // Two portals may have the same to say: once is enough.
            if said.contains(&remark) {
                continue;
            }
            said.push(remark);
            if !self.output.json && (remark.is_failure || !self.output.quiet) {
                self.complain(remark.is_failure, &remark.message, &remark.hint);
            }
        }
    }

    /// Writes a failure of the whole command.
    pub(crate) fn problem(self, problem: &Problem) -> Exit {
        if self.output.json {
            let _ = write(io::stderr(), &json::text(&problem.json()));
        } else {
            self.complain(true, &problem.message, &problem.hint);
        }
        problem.exit
    }

    /// Says that a signal ended it before it had its answer, and what the daemon does about that.
    pub(crate) fn interrupted(self, exit: Exit, had_job: bool) -> Exit {
        if self.live {
            // The terminal may show ^C, or a question, on this line.
            let _ = write(io::stderr(), "\r\x1b[K");
            let message = if had_job {
                say!(
                    "interrupted; the daemon cancels the call and puts back what it has changed, unless it is too late for that"
                )
            } else {
                say!("interrupted; the daemon may still finish what it began")
            };
            self.complain(false, &message, &say!("see the result: iscsictl paths"));
        }
        exit
    }

    /// A failure bears the program's name, as those of all programs do; anything else is a note.
    fn complain(self, is_failure: bool, message: &str, hint: &str) {
        let (begin, end) = if is_failure && self.stderr.colour { table::RED } else { ("", "") };
        let who = if is_failure { "iscsictl:".to_owned() } else { say!("note:") };
        let columns = self.stderr.columns.unwrap_or(usize::MAX);
        let message = fit::wrapped_whole(&format!("{who} {}", escape(message)), columns).join("\n");
        let message = message.replacen(&who, &format!("{begin}{who}{end}"), 1);
        let _ = write(io::stderr(), &format!("{message}\n"));
        if !hint.is_empty() {
            let lines = fit::hint(&say!("hint: {hint}", hint = escape(hint)), columns);
            let _ = write(io::stderr(), &format!("{}\n", lines.join("\n")));
        }
    }
}

/// A step of the daemon's; in English, in its word.
pub(crate) fn step_of(step: &str) -> String {
    if language::is_english() { escape(step) } else { language::spoken(&step_title(step)) }
}

/// How wide the terminal is, if it is one that says so.
pub(crate) fn columns(stream: impl AsFd) -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    (size.ws_col > 0).then(|| size.ws_col.into())
}

/// A reader that closed the other end has seen enough: no failure, no panic.
fn write(mut stream: impl Write, text: &str) -> Result<(), Problem> {
    match stream.write_all(text.as_bytes()).and_then(|()| stream.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Problem::local(say!("output: {error}", error)))
        }
        _ => Ok(()),
    }
}

/// <https://no-color.org>: set and not empty means none.
fn colours_wanted() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && !is_dumb()
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|value| value == "dumb")
}
