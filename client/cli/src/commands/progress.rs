//! A call that is a job: its steps are shown as they come, with their time, and an interrupt cancels it.
//! Must not delay the call, or make it fail: without the steps the answer is the same.

use std::{
    cell::Cell,
    future::{pending, poll_fn, ready},
    pin::{Pin, pin},
    time::Instant,
};

use futures_core::Stream as _;
use iscsi_initiator_dbus::{
    Fault, Kind,
    proxy::{Progress, ProgressStream},
};

use super::call::Call;
use crate::{
    language::say,
    show::step_of,
    spinner::{self, Caption},
};

/// Ours: one program makes one call at a time that is a job.
const ID: u32 = 1;

/// What the spinner says from the interrupt on.
fn cancelling() -> String {
    say!("Cancelling (again to leave at once)")
}

/// Where the steps of a call are shown, besides the spinner's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Steps {
    /// A line each, also in a log.
    Everywhere,
    /// A line each, on a terminal.
    OnTerminal,
    /// Nowhere: the answer has a line for each.
    Listed,
}

/// The number of a call, by the name that the daemon knows it by; none for a daemon that knows neither.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Number {
    pub(super) job: Option<u32>,
    /// For `Connect` alone, and a daemon whose calls cannot be cancelled.
    pub(super) progress: Option<u32>,
}

impl Number {
    async fn at(call: &Call) -> Self {
        // The call itself says what is wrong with the daemon.
        let features = call.daemon.features().await.unwrap_or_default();
        let has = |feature: &str| features.iter().any(|known| known == feature);
        match (has("jobs"), has("connect-progress")) {
            (true, _) => Self { job: Some(ID), progress: None },
            (false, true) => Self { job: None, progress: Some(ID) },
            (false, false) => Self::default(),
        }
    }
}

/// Makes the call, with a spinner.
pub(super) async fn run<T>(
    call: &Call,
    title: &str,
    steps: Steps,
    work: impl AsyncFnOnce(Number) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let caption = Caption::new(title);
    let work = watched(call, (title, &caption), steps, work);
    spinner::during(call.screen.live(), &caption, work).await
}

/// Makes the call, and shows every step that came before its answer. The first interrupt cancels it, and its
/// answer is waited for.
pub(super) async fn watched<T>(
    call: &Call,
    (title, caption): (&str, &Caption),
    steps: Steps,
    work: impl AsyncFnOnce(Number) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let screen = call.screen;
    let number = Number::at(call).await;
    let is_seen = match steps {
        Steps::Everywhere => screen.shows_steps(),
        Steps::OnTerminal => screen.shows_steps() && screen.live(),
        Steps::Listed => screen.live(),
    };
    // Listens before the call is made, so that no step is missed.
    let mut heard = if is_seen { call.daemon.receive_progress().await.ok() } else { None };
    let _armed = number.job.map(|_| call.interrupts.arm());
    let (began, is_cancelling) = (Instant::now(), Cell::new(false));
    let draw = |step: &Progress| {
        let Ok(step) = step.args() else { return };
        if *step.id() != ID {
            return;
        }
        let title = if is_cancelling.get() { cancelling() } else { title.to_owned() };
        caption.set(&format!("{title}: {}", step_of(step.step())));
        if steps != Steps::Listed {
            screen.step(began.elapsed(), step.step(), step.detail());
        }
    };
    let mut cancel = pin!(async {
        call.interrupts.heard().await;
        is_cancelling.set(true);
        caption.set(&cancelling());
        call.daemon.cancel(ID).await
    });
    let (mut work, mut is_told) = (pin!(work(number)), false);
    let answer = loop {
        tokio::select! {
            // In the order in which they are sent.
            biased;
            Some(step) = next(&mut heard) => draw(&step),
            told = &mut cancel, if !is_told => {
                is_told = true;
                // Where it has ended already, its answer says how.
                if let Err(fault) = told && fault.kind() == Kind::Failed {
                    screen.aside(fault.message());
                }
            }
            answer = &mut work => break answer,
        }
    };
    // The bus keeps the order: what was sent before the answer is here, though it may not be read yet.
    loop {
        tokio::select! {
            biased;
            Some(step) = next(&mut heard) => draw(&step),
            () = ready(()) => return answer,
        }
    }
}

async fn next(steps: &mut Option<ProgressStream>) -> Option<Progress> {
    match steps {
        Some(steps) => poll_fn(|context| Pin::new(&mut *steps).poll_next(context)).await,
        None => pending().await,
    }
}
