//! A call, its progress and its end; one task each.
//!
//! | room | what it is |
//! |---|---|
//! | `carry` | what each call is on the wire |

mod carry;

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError},
};

use async_channel::Sender;
use iscsi_initiator_dbus::{Fault, Kind, proxy::InitiatorProxy};
use tokio::sync::{Mutex, Notify};

use super::{
    intents::Intents,
    request::{Answer, Reply, Request},
    stream::next,
    system,
};

/// The calls of one connection. It is not the one that the objects are followed on: their signals must not wait.
#[derive(Debug)]
pub(super) struct Calls {
    daemon: Mutex<Option<InitiatorProxy<'static>>>,
    running: Arc<std::sync::Mutex<HashMap<u32, Sender<Reply>>>>,
    intents: Intents,
    /// Where what the daemon says of itself has changed.
    again: Arc<Notify>,
}

impl Calls {
    pub(super) fn new(again: Arc<Notify>, intents: Intents) -> Self {
        Self { daemon: Mutex::default(), running: Arc::default(), intents, again }
    }

    /// Makes a call, and says what comes of it.
    pub(super) async fn run(&self, job: u32, request: Request, replies: Sender<Reply>) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(job, replies.clone());
        let intended = self.intents.begin(&request);
        let answer = self.answer(job, request).await;
        self.intents.end(intended);
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
        // Nobody may wait for it any more.
        let _ = replies.send(Reply::Answer(answer)).await;
    }

    /// Cancels a call. It answers all the same.
    pub(super) async fn cancel(&self, job: u32) {
        let Ok(daemon) = self.daemon().await else { return };
        // InvalidArgs: it has ended.
        if daemon.cancel(job).await.is_err_and(|fault| fault.kind() == Kind::Failed) {
            report(&self.running, job, Reply::TooLate);
        }
    }

    /// The person does not want a target any more.
    pub(super) fn dismiss(&self, target: String) {
        self.intents.dismiss(target);
    }

    async fn answer(&self, number: u32, request: Request) -> Result<Answer, Fault> {
        let daemon = self.daemon().await?;
        let has_jobs = daemon.features().await?.iter().any(|feature| feature == "jobs");
        let changes_facts = carry::changes_facts(&request);
        let answer = carry::carry(&daemon, has_jobs.then_some(number), request).await;
        if changes_facts {
            self.again.notify_one();
        }
        answer
    }

    /// The daemon, on a connection that is made when it is first needed, or is gone.
    async fn daemon(&self) -> Result<InitiatorProxy<'static>, Fault> {
        let mut known = self.daemon.lock().await;
        if let Some(daemon) = known.as_ref().filter(|daemon| !daemon.inner().connection().is_closed()) {
            return Ok(daemon.clone());
        }
        let daemon = system::connect().await?;
        let mut steps = daemon.receive_progress().await?;
        let running = Arc::clone(&self.running);
        tokio::spawn(async move {
            while let Some(signal) = next(&mut steps).await {
                let Ok(step) = signal.args() else { continue };
                let progress = Reply::Progress { step: step.step.clone(), detail: step.detail.clone() };
                report(&running, step.id, progress);
            }
        });
        Ok(known.insert(daemon).clone())
    }
}

fn report(running: &std::sync::Mutex<HashMap<u32, Sender<Reply>>>, job: u32, reply: Reply) {
    let running = running.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(replies) = running.get(&job) {
        // Unbounded: this fails only where nobody waits for it.
        let _ = replies.try_send(reply);
    }
}
