//! Tells the caller of a long call, and nobody else, how far it has come.
//! It may not hold a call up: a step that cannot be told is left out.

use iscsi_initiator_dbus::results::Step;
use tokio::sync::mpsc;
use zbus::{names::UniqueName, object_server::SignalEmitter};

use super::Manager;
use crate::engine::Progress;

/// Runs the work and tells its steps to whom wants them, under the number that he gave; all of them before
/// this returns, and so before the reply.
pub(super) async fn told<T, W: Future<Output = T>>(
    emitter: SignalEmitter<'_>,
    to: Option<(u32, &UniqueName<'_>)>,
    work: impl FnOnce(Progress) -> W,
) -> T {
    let Some((id, caller)) = to else { return work(Progress::nobody()).await };
    let emitter = emitter.set_destination(caller.clone().into());
    let (steps, mut heard) = mpsc::unbounded_channel::<(Step, String)>();
    let telling = async {
        while let Some((step, detail)) = heard.recv().await {
            tell(&emitter, id, step, &detail).await;
        }
    };
    // The work owns the only sender: the telling ends after it.
    tokio::join!(work(Progress::to(steps)), telling).0
}

async fn tell(emitter: &SignalEmitter<'_>, id: u32, step: Step, detail: &str) {
    if let Err(error) = Manager::progress(emitter, id, step.as_str(), detail).await {
        tracing::warn!(%error, "a step could not be told");
    }
}
