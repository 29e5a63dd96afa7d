//! The steps of a call as the daemon reports them, shown as they come.
//! Must not delay the call, or make it fail: without the steps the answer is the same.

use std::{
    future::{poll_fn, ready},
    pin::{Pin, pin},
};

use futures_core::Stream as _;
use iscsi_initiator_dbus::{
    options::ConnectOptions,
    proxy::{Progress, ProgressStream},
};

use super::call::Call;
use crate::{problem::Problem, show::Screen, spinner::Caption};

/// Ours: one program makes one call that has steps.
const ID: u32 = 1;

/// Listens before the call is made, so that no step is missed; does not ask for steps that are not shown.
pub(super) async fn ask(
    call: &Call,
    options: &mut ConnectOptions,
) -> Result<Option<ProgressStream>, Problem> {
    if !call.screen.shows_steps() {
        return Ok(None);
    }
    let steps = call.daemon.receive_progress().await?;
    options.progress = Some(ID);
    Ok(Some(steps))
}

/// Waits for `work`, and shows every step that came before its answer.
pub(super) async fn show<T>(
    steps: Option<ProgressStream>,
    screen: Screen,
    title: &str,
    caption: &Caption,
    work: impl Future<Output = T>,
) -> T {
    let Some(mut steps) = steps else { return work.await };
    let mut work = pin!(work);
    let draw = |step: &Progress| {
        let Ok(step) = step.args() else { return };
        if *step.id() == ID {
            caption.set(&format!("{title}: {}", step.step()));
            screen.step(step.step(), step.detail());
        }
    };
    let answer = loop {
        tokio::select! {
            Some(step) = next(&mut steps) => draw(&step),
            answer = &mut work => break answer,
        }
    };
    // The bus keeps the order: what was sent before the answer is here, though it may not be read yet.
    loop {
        tokio::select! {
            biased;
            Some(step) = next(&mut steps) => draw(&step),
            () = ready(()) => return answer,
        }
    }
}

async fn next(steps: &mut ProgressStream) -> Option<Progress> {
    poll_fn(|context| Pin::new(&mut *steps).poll_next(context)).await
}
