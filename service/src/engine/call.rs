//! One call: what was granted, until when, and where its steps are reported. The only way to act on
//! a grant.
//!
//! | room | what it is |
//! |---|---|
//! | `consent` | questions to polkit in the middle of a call |

pub(crate) mod consent;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, Portal,
    fault::Result,
    results::{Check, Step},
};
use iscsi_initiator_polkit::{Action, Grant};
use tokio::sync::{mpsc, oneshot};

use super::Engine;
use crate::backend::host::{cancel::Cancel, limit::Limit};

/// Shorter than the 25 s after which common D-Bus clients give up.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// What acts ends by itself soon after its deadline, also when it is taken back. If it has not ended
/// this long after it, it is stuck: the caller gets a reply, and the daemon may stop when it is idle.
const STUCK: Duration = Duration::from_secs(90);

/// The same for what only reads.
const LATE: Duration = Duration::from_secs(5);

/// What an operation does for a call.
pub(super) type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// What every operation gets. Inner steps take plain values from it, because operations share their
/// steps.
#[derive(Clone)]
pub(crate) struct Call {
    grant: Arc<Grant>,
    /// What else was granted before the call: further targets, or another action for an option.
    also: Arc<[Grant]>,
    limit: Limit,
    progress: Progress,
}

impl Call {
    /// An authorized call. The default timeout is 20 s.
    pub(crate) fn new(grant: Grant, timeout: Option<Duration>, cancel: Cancel, progress: Progress) -> Self {
        let limit = Limit::new(timeout.unwrap_or(DEFAULT_TIMEOUT), cancel).for_user(grant.caller().uid());
        Self { grant: Arc::new(grant), also: Arc::default(), limit, progress }
    }

    /// The same with further grants.
    pub(crate) fn also(self, also: Vec<Grant>) -> Self {
        Self { also: also.into(), ..self }
    }

    /// The targets that were granted by name for this action, in the order in which they were asked
    /// for.
    pub(super) fn granted(&self, action: Action) -> Vec<Iqn> {
        let grants = std::iter::once(&*self.grant).chain(&*self.also);
        grants.filter(|grant| grant.action() == action).filter_map(Grant::target).cloned().collect()
    }

    /// The target that was granted; `InvalidArgs` if there is none.
    pub(super) fn target(&self) -> Result<&Iqn> {
        self.grant.target().ok_or_else(|| Fault::invalid("target", "an iSCSI name is missing"))
    }

    /// The same; `None` means all targets.
    pub(super) fn any_target(&self) -> Option<&Iqn> {
        self.grant.target()
    }

    /// The portal that was granted; `InvalidArgs` if there is none.
    pub(super) fn portal(&self) -> Result<&Portal> {
        self.grant.portal().ok_or_else(|| Fault::invalid("portal", "is missing"))
    }

    /// The same; `None` means all portals.
    pub(super) fn any_portal(&self) -> Option<&Portal> {
        self.grant.portal()
    }

    /// The user who called.
    pub(super) fn uid(&self) -> u32 {
        self.grant.caller().uid()
    }

    fn check(&self, action: Action) -> Result<()> {
        if self.grant.action() != action {
            return Err(Fault::new(Kind::AccessDenied, "this was not what was allowed"));
        }
        Ok(())
    }

    pub(super) fn limit(&self) -> &Limit {
        &self.limit
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.progress
    }
}

/// Where a call reports its steps and their details.
#[derive(Clone)]
pub(crate) struct Progress(Option<mpsc::UnboundedSender<Reported>>);

/// A step and its detail.
pub(crate) type Reported = (String, String);

impl Progress {
    /// Reports to no caller.
    pub(crate) fn none() -> Self {
        Self(None)
    }

    pub(crate) fn to(listener: mpsc::UnboundedSender<Reported>) -> Self {
        Self(Some(listener))
    }

    pub(super) fn report(&self, step: Step, detail: impl Into<String>) {
        self.send(step.as_str(), detail.into());
    }

    /// Reports a check of `Diagnose`, as a step of its name.
    pub(super) fn report_check(&self, check: &Check) {
        let Check { name, state, portal, detail, .. } = check;
        let at = if portal.is_empty() { String::new() } else { format!("{portal}: ") };
        self.send(name, format!("{at}{state}: {detail}"));
    }

    fn send(&self, step: &str, detail: String) {
        if let Some(listener) = &self.0 {
            // A listener that has gone misses nothing.
            let _ = listener.send((step.to_owned(), detail));
        }
    }
}

/// Does what a call was granted for, and logs who did what, where, and how it ended. A grant for
/// another action opens nothing. The work is a task of its own: it is brought to its end whatever
/// becomes of the call, which gets `TimedOut` if the work is stuck. Watchers know what it changed before
/// the call is answered.
pub(super) async fn act<T: Send + 'static>(
    engine: &Arc<Engine>,
    call: &Call,
    action: Action,
    work: impl for<'a> FnOnce(&'a Arc<Engine>, &'a Call) -> Work<'a, T> + Send + 'static,
) -> Result<T> {
    call.check(action)?;
    let (answer, mut answered) = oneshot::channel();
    tokio::spawn({
        let (engine, call) = (Arc::clone(engine), call.clone());
        async move {
            let result = ended(&call, work(&engine, &call).await);
            // Also if it failed: it may have changed something and put it back.
            engine.kept.acted_on(call.any_target());
            let end = End::of(&result);
            // The caller may have left.
            let _ = answer.send(result);
            // The caller first: where there is one processor, the journal takes it.
            tokio::task::yield_now().await;
            log(&call, &end);
        }
    });
    loop {
        let until = call.limit.deadline_with_persons() + STUCK;
        match tokio::time::timeout_at(until, &mut answered).await {
            Ok(Ok(result)) => {
                // Also if it failed: it may have changed something and put it back.
                engine.show().await;
                return result;
            }
            Ok(Err(_)) => {
                return Err(Fault::new(Kind::Failed, "an internal task failed; the journal has the details"));
            }
            // A person had been asked meanwhile.
            Err(_) if call.limit.deadline_with_persons() + STUCK > until => {}
            Err(_) => {
                let stuck =
                    Err(Fault::new(Kind::TimedOut, "the daemon is stuck in this call, which goes on")
                        .hint("see the details: journalctl -u iscsi-initiatord"));
                log(call, &End::of(&stuck));
                return stuck;
            }
        }
    }
}

/// The same for operations that only read. Any local user may call them, so they are not logged.
/// What is stuck is dropped.
pub(super) async fn look<T>(call: &Call, action: Action, work: impl Future<Output = Result<T>>) -> Result<T> {
    call.check(action)?;
    // On the heap: it would be copied from caller to caller.
    let looking = tokio::time::timeout_at(call.limit.deadline() + LATE, Box::pin(work));
    let looked = looking.await.unwrap_or_else(|_| {
        Err(Fault::new(Kind::TimedOut, "the state of this machine could not be read in time"))
    });
    ended(call, looked)
}

/// A call whose caller has cancelled it has no success, and its waits have not timed out.
fn ended<T>(call: &Call, result: Result<T>) -> Result<T> {
    match result {
        Ok(done) => call.limit.decide().map(|()| done),
        Err(fault) if fault.kind() == Kind::TimedOut && call.limit.is_cancelled() => {
            Err(call.limit.fault(""))
        }
        Err(fault) => Err(fault),
    }
}

/// How an act ended, for the log.
struct End {
    outcome: &'static str,
    /// Shown with its unsafe characters escaped, like every text in the log.
    error: Option<String>,
}

impl End {
    fn of<T>(result: &Result<T>) -> Self {
        match result {
            Ok(_) => Self { outcome: "done", error: None },
            Err(fault) => Self { outcome: fault.kind().short(), error: Some(fault.message().to_owned()) },
        }
    }
}

fn log(Call { grant, also, .. }: &Call, End { outcome, error }: &End) {
    let caller = grant.caller();
    let also = also.iter().filter(|also| also.action() == grant.action());
    let targets: Vec<&str> =
        std::iter::once(&**grant).chain(also).filter_map(Grant::target).map(Iqn::as_str).collect();
    let target = if targets.is_empty() { "any".to_owned() } else { targets.join(",") };
    let portal = grant.portal().map_or_else(|| "any".to_owned(), Portal::to_string);
    tracing::info!(
        uid = caller.uid(),
        pid = caller.pid(),
        unit = caller.unit(),
        action = %grant.action(),
        target,
        portal,
        outcome,
        error = error.as_deref(),
        "act"
    );
}

#[cfg(test)]
mod tests;
