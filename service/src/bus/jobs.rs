//! The long calls: each can report its steps, and is cancelled by its caller's word or departure.
//! Must not drop what a call has begun: a cancel only ends its waits.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use iscsi_initiator_polkit::{Grant, caller};
use tokio_util::task::AbortOnDropHandle;
use zbus::{message::Header, names::UniqueName, object_server::SignalEmitter};

use super::{door, progress};
use crate::{
    backend::host::cancel::Cancel,
    engine::call::{Call, Progress},
};

/// A call that is over sooner is not watched for its caller's departure: that costs the bus and the daemon a part of a call.
const QUICK: Duration = Duration::from_millis(750);

/// Whose call, by its caller's own number.
type Name = (UniqueName<'static>, u32);

/// The jobs that have a number.
#[derive(Clone, Default)]
pub(super) struct Jobs(Arc<Mutex<HashMap<Name, Cancel>>>);

impl Jobs {
    /// A call begins. `argument` is what gave it its number.
    pub(super) fn begin<'a>(
        &self,
        call: &Header<'_>,
        emitter: SignalEmitter<'a>,
        (argument, id): (&str, Option<u32>),
    ) -> Result<Job<'a>> {
        let cancel = Cancel::default();
        let Some(caller) = call.sender() else { return Err(nameless()) };
        let caller = caller.to_owned();
        let numbered = match id {
            Some(id) => Some(self.number(argument, (caller.clone(), id), &cancel)?),
            None => None,
        };
        let watch = door::expects_reply(call).then(|| {
            let (connection, caller, cancel) = (emitter.connection().clone(), caller.clone(), cancel.clone());
            AbortOnDropHandle::new(tokio::spawn(async move {
                tokio::time::sleep(QUICK).await;
                // Where the bus cannot say it, the daemon ends soon.
                if caller::departure(&connection, &caller).await.is_ok() {
                    cancel.cancel();
                }
            }))
        });
        Ok(Job { cancel, emitter, caller, id, _numbered: numbered, _watch: watch })
    }

    fn number(&self, argument: &str, name: Name, cancel: &Cancel) -> Result<Numbered> {
        match self.lock().entry(name.clone()) {
            Entry::Occupied(_) => {
                let why = format!("another call of this caller has the number {}", name.1);
                Err(Fault::invalid(argument, why))
            }
            Entry::Vacant(place) => {
                place.insert(cancel.clone());
                Ok(Numbered { jobs: self.clone(), name })
            }
        }
    }

    /// Cancels the caller's own job of this number.
    pub(super) fn cancel(&self, call: &Header<'_>, id: u32) -> Result<()> {
        let Some(caller) = call.sender() else { return Err(nameless()) };
        let job = self.lock().get(&(caller.to_owned(), id)).cloned();
        let Some(job) = job else {
            let why = format!("no call of this caller has the number {id}; it may have ended");
            return Err(Fault::invalid("id", why));
        };
        if job.cancel() {
            return Ok(());
        }
        Err(Fault::new(Kind::Failed, "too late: the call cannot go back any more, and goes on to its end"))
    }

    /// A map cannot be half changed.
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, Cancel>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bus writes a sender into every message.
fn nameless() -> Fault {
    Fault::new(Kind::Failed, "the message has no sender")
}

/// The number is free again when this is dropped.
struct Numbered {
    jobs: Jobs,
    name: Name,
}

impl Drop for Numbered {
    fn drop(&mut self) {
        self.jobs.lock().remove(&self.name);
    }
}

/// A call that can be cancelled, from its arguments to its reply.
pub(super) struct Job<'a> {
    cancel: Cancel,
    emitter: SignalEmitter<'a>,
    caller: UniqueName<'static>,
    id: Option<u32>,
    _numbered: Option<Numbered>,
    _watch: Option<AbortOnDropHandle<()>>,
}

impl Job<'_> {
    /// What ends its waits.
    pub(super) fn cancelled(&self) -> &Cancel {
        &self.cancel
    }

    /// What comes before the call's work: polkit's answers, a secret. It changes nothing, and is
    /// dropped when the call is cancelled, with which a dialog closes.
    pub(super) async fn ask<T>(&self, asking: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            biased;
            answer = asking => answer,
            () = self.cancel.cancelled() => Err(Fault::new(Kind::Cancelled, "the call was cancelled")),
        }
    }

    /// The authorized call.
    pub(super) fn call(&self, grant: Grant, timeout: Option<Duration>, steps: Progress) -> Call {
        Call::new(grant, timeout, self.cancel.clone(), steps)
    }

    /// Does the work, and reports its steps if the caller gave a number.
    pub(super) async fn run<T, W: Future<Output = T>>(
        &self,
        emit: progress::Emit,
        work: impl FnOnce(Progress) -> W,
    ) -> T {
        progress::reported(&self.emitter, self.id.map(|id| (id, &self.caller)), emit, work).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(caller: &'static str, id: u32) -> Name {
        (UniqueName::try_from(caller).unwrap(), id)
    }

    #[test]
    fn a_number_is_of_one_call_of_its_caller_at_a_time() {
        let (jobs, cancel) = (Jobs::default(), Cancel::default());
        let number = |caller: &'static str, id| jobs.number("options.job", name(caller, id), &cancel);
        let one = number(":1.7", 1).ok().unwrap();
        let _others = (number(":1.7", 2).ok().unwrap(), number(":1.8", 1).ok().unwrap());
        let taken = number(":1.7", 1).err().unwrap();
        assert_eq!(taken.kind(), Kind::InvalidArgs);
        assert_eq!(taken.message(), "options.job: another call of this caller has the number 1");
        drop(one);
        assert!(number(":1.7", 1).is_ok());
    }

    #[test]
    fn only_its_caller_cancels_a_job_and_not_when_it_is_too_late() {
        let (jobs, cancel) = (Jobs::default(), Cancel::default());
        let _numbered = jobs.number("options.job", name(":1.7", 1), &cancel).ok().unwrap();
        let by = |caller: &str, id| {
            let message = zbus::Message::method_call("/", "Cancel").sender(caller).build(&(id,)).unwrap();
            jobs.cancel(&message.header(), id)
        };
        for unknown in [by(":1.8", 1), by(":1.7", 2)] {
            assert_eq!(unknown.unwrap_err().kind(), Kind::InvalidArgs);
        }
        assert!(!cancel.is_cancelled());
        assert!(by(":1.7", 1).is_ok() && cancel.is_cancelled());
        let late = Cancel::default();
        let _numbered = jobs.number("options.job", name(":1.7", 2), &late).ok().unwrap();
        assert!(late.decide());
        assert!(by(":1.7", 2).unwrap_err().message().starts_with("too late: "));
    }
}
