//! Reports to the caller of a long call, and to no one else, how far it has come. A step that cannot be reported holds
//! nothing up.

use iscsi_initiator_dbus::results::Step;
use tokio::sync::mpsc;
use zbus::{names::UniqueName, object_server::SignalEmitter};

use super::Manager;
use crate::engine::call::Progress;

/// Runs the work and reports its steps to the caller that asked for them, under its own number; all of them before
/// this returns, and so before the reply.
pub(super) async fn reported<T, W: Future<Output = T>>(
    emitter: SignalEmitter<'_>,
    to: Option<(u32, &UniqueName<'_>)>,
    work: impl FnOnce(Progress) -> W,
) -> T {
    let Some((id, caller)) = to else { return work(Progress::none()).await };
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
