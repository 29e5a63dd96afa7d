//! Reports the progress of a long call to its caller only. A step that cannot be reported delays
//! nothing.

use std::pin::Pin;

use tokio::sync::mpsc;
use zbus::{names::UniqueName, object_server::SignalEmitter};

use crate::engine::call::{Progress, Reported};

/// Emits the signal: the number that the caller gave, the step and its detail.
pub(super) type Emit = for<'a> fn(&'a SignalEmitter<'a>, u32, &'a str, &'a str) -> Emitted<'a>;
/// The result of the work.
pub(super) type Emitted<'a> = Pin<Box<dyn Future<Output = zbus::Result<()>> + Send + 'a>>;

/// Runs the work and reports its steps to the caller that asked for them, under the caller's
/// number. All of them are sent before this returns, and so before the reply.
pub(super) async fn reported<T, W: Future<Output = T>>(
    emitter: &SignalEmitter<'_>,
    to: Option<(u32, &UniqueName<'_>)>,
    emit: Emit,
    work: impl FnOnce(Progress) -> W,
) -> T {
    // On the heap: it would be copied from caller to caller.
    let work = |progress| Box::pin(work(progress));
    let Some((id, caller)) = to else { return work(Progress::none()).await };
    let emitter = emitter.clone().set_destination(caller.clone().into());
    let (steps, mut heard) = mpsc::unbounded_channel::<Reported>();
    let emit = async |(step, detail): Reported| {
        if let Err(error) = emit(&emitter, id, &step, &detail).await {
            tracing::warn!(%error, "a step could not be reported");
        }
    };
    let mut work = work(Progress::to(steps));
    let result = loop {
        tokio::select! {
            biased;
            Some(step) = heard.recv() => emit(step).await,
            result = &mut work => break result,
        }
    };
    // What is stuck may still report, but nothing listens any more.
    heard.close();
    while let Some(step) = heard.recv().await {
        emit(step).await;
    }
    result
}
