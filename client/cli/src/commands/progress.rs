//! The steps of a call as the daemon tells them, shown as they come.
//! It may not hold the call up, or fail it: who does not read the steps gets the same answer.

use std::{
    future::{poll_fn, ready},
    pin::{Pin, pin},
};

use futures_core::Stream as _;
use iscsi_initiator_dbus::proxy::{Options, Progress, ProgressStream};

use super::call::Call;
use crate::{problem::Problem, show::Screen, spinner::Caption};

/// Ours: one program makes one call that has steps.
const ID: u32 = 1;

/// Listens before the call is made, so that no step is missed; does not ask for steps that nobody reads.
pub(super) async fn ask(
    call: &Call,
    options: &mut Options<'static>,
) -> Result<Option<ProgressStream>, Problem> {
    if !call.screen.tells_steps() {
        return Ok(None);
    }
    let steps = call.daemon.receive_progress().await?;
    options.insert("progress", ID.into());
    Ok(Some(steps))
}

/// Waits for `work`, and shows every step that came before its answer.
pub(super) async fn tell<T>(
    steps: Option<ProgressStream>,
    screen: Screen,
    title: &str,
    caption: &Caption,
    work: impl Future<Output = T>,
) -> T {
    let Some(mut steps) = steps else { return work.await };
    let mut work = pin!(work);
    let show = |step: &Progress| {
        let Ok(step) = step.args() else { return };
        if *step.id() == ID {
            caption.set(&format!("{title}: {}", step.step()));
            screen.step(step.step(), step.detail());
        }
    };
    let answer = loop {
        tokio::select! {
            Some(step) = next(&mut steps) => show(&step),
            answer = &mut work => break answer,
        }
    };
    // The bus keeps the order: what was sent before the answer is here, though it may not be read yet.
    loop {
        tokio::select! {
            biased;
            Some(step) = next(&mut steps) => show(&step),
            () = ready(()) => return answer,
        }
    }
}

async fn next(steps: &mut ProgressStream) -> Option<Progress> {
    poll_fn(|context| Pin::new(&mut *steps).poll_next(context)).await
}
