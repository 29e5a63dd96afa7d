//! The program `iscsictl`: arguments in, one call to the daemon, an answer and an exit code out.
//! Must not decide anything about iSCSI, start programs or need root.
//!
//! | room | what it is |
//! |---|---|
//! | `advice` | what can be said about CHAP credentials before a gateway is asked |
//! | `args` | the arguments, and the help that explains them |
//! | `bundle` | the support bundle: one JSON document in a file |
//! | `bus` | the connection to the daemon |
//! | `commands` | one call to the daemon each, and the report on its answer |
//! | `exit` | the exit codes |
//! | `language` | the language of what people read |
//! | `live` | what changes, as it changes |
//! | `problem` | a failure of the whole command |
//! | `prompt` | a question on the terminal whose answer is not shown |
//! | `secret` | a CHAP secret, from where it is typed or kept to the daemon |
//! | `show` | all output: tables, JSON, escaped text |
//! | `signals` | the signals that end the program |
//! | `spinner` | a sign of life while a call runs |

mod advice;
mod args;
mod bundle;
mod bus;
mod commands;
mod exit;
mod language;
mod live;
mod problem;
mod prompt;
mod secret;
mod show;
mod signals;
mod spinner;

use std::{
    ffi::OsString,
    pin::pin,
    process::{ExitCode, Termination},
    rc::Rc,
};

use crate::{
    args::Args,
    exit::Exit,
    problem::{Asked, Problem},
    show::Screen,
};

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    language::begin(&words);
    let args = match args::read(&words) {
        Ok(args) => args,
        Err(refused) => return refused.show().report(),
    };
    let screen = Screen::new(args.output);
    let typed: Vec<String> = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let asked = Asked::new(args.command.is_for_administrators(), &typed);
    let exit = match run(args, screen, &asked) {
        Ok(exit) => exit,
        Err(problem) => screen.problem(&problem.with_way_out(&asked)),
    };
    exit.report()
}

/// Runs the command until it is done or a signal comes that is not for its call; either way every guard is
/// dropped: the terminal echoes again, the spinner's line is gone.
fn run(args: Args, screen: Screen, asked: &Asked) -> Result<Exit, Problem> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Problem::local)?;
    let only_looks = args.command.only_looks();
    let ended = runtime.block_on(async {
        let mut signals = signals::Signals::new().map_err(Problem::local)?;
        let interrupts = Rc::new(signals::Interrupts::default());
        let ended = {
            let mut done = pin!(commands::run(args.command, screen, asked, &interrupts));
            loop {
                tokio::select! {
                    report = &mut done => break Ok(report),
                    exit = signals.wait() => {
                        if !interrupts.takes(exit) {
                            break Err(exit);
                        }
                    }
                }
            }
        };
        match ended {
            Ok(report) => report.and_then(|report| screen.report(&report)),
            Err(exit) if only_looks || prompt::is_open() => Ok(exit),
            Err(exit) => Ok(screen.interrupted(exit, interrupts.had_job())),
        }
    });
    // A prompt that a signal ended still blocks its thread in read(2): it is left behind.
    runtime.shutdown_background();
    ended
}
