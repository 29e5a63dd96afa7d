//! Threads for work that may hang: in the kernel, in a library, or in what another process serves.
//! They are bounded, and apart from those that read sysfs and the records.
//! Must not be used for work that has to be seen to its end: what is not done by its deadline is
//! abandoned.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Mutex, MutexGuard, PoisonError, mpsc},
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use tokio::sync::{Notify, oneshot};

use super::limit::Limit;

/// How long a thread without a job waits for the next one: as long as the runtime's own.
const IDLE: Duration = Duration::from_secs(10);

/// A job, as a thread runs it. It calls what it is given once the thread is free, and then tells who waits: the next job
/// may come at once.
type Work = Box<dyn FnOnce(&dyn Fn()) + Send>;

/// Threads for one kind of work. Each job has one of its own, and keeps its place until it ends,
/// also after nothing waits for it any more.
pub(crate) struct Lane {
    /// What its jobs do, for a message: `host names are being resolved`.
    what: &'static str,
    /// How many may run.
    most: usize,
    /// How many of them for one user.
    share: usize,
    jobs: Mutex<Jobs>,
    /// A place has become free, or a job was abandoned.
    changed: Notify,
}

struct Jobs {
    next: u64,
    running: BTreeMap<u64, Job>,
    /// The threads without a job, by the numbers of their first ones.
    idle: BTreeMap<u64, mpsc::Sender<Work>>,
}

struct Job {
    user: Option<u32>,
    is_abandoned: bool,
}

/// The place of a job, held by its thread.
struct Place {
    lane: &'static Lane,
    id: u64,
}

/// The wait for a job.
struct Wait {
    lane: &'static Lane,
    id: u64,
}

/// Why a job has no place.
#[derive(Debug, PartialEq, Eq)]
enum Full {
    /// Until a job ends.
    Taken,
    /// Until a job ends that nothing waits for any more: that may be never.
    Stuck,
}

impl Lane {
    pub(crate) const fn new(what: &'static str, most: usize, share: usize) -> Self {
        let jobs = Mutex::new(Jobs { next: 0, running: BTreeMap::new(), idle: BTreeMap::new() });
        Self { what, most, share, jobs, changed: Notify::const_new() }
    }

    /// Runs the work within the limit, for the limit's user. Waits for a place, except where every
    /// job that is in the way was abandoned: then it is `Busy` at once. `late` says what did not
    /// happen in time.
    pub(crate) async fn run<T: Send + 'static>(
        &'static self,
        limit: &Limit,
        late: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let place = loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            match self.enter(limit.user()) {
                Ok(place) => break place,
                Err(Full::Stuck) => return Err(self.busy()),
                Err(Full::Taken) if limit.wait(changed).await.is_none() => {
                    return Err(if limit.is_cancelled() { limit.fault(late) } else { self.busy() });
                }
                Err(Full::Taken) => {}
            }
        };
        self.run_at(place, limit, late, work).await
    }

    /// The same, but `Busy` if no place is free.
    pub(crate) async fn run_now<T: Send + 'static>(
        &'static self,
        limit: &Limit,
        late: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let place = self.enter(limit.user()).map_err(|_| self.busy())?;
        self.run_at(place, limit, late, work).await
    }

    async fn run_at<T: Send + 'static>(
        &'static self,
        place: Place,
        limit: &Limit,
        late: &str,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        let id = place.id;
        let _wait = Wait { lane: self, id };
        let (send, done) = oneshot::channel();
        let job = move |is_free: &dyn Fn()| {
            // In a panic the last is dropped first: whoever hears of the end may want the place.
            let (send, place) = (send, place);
            let result = work();
            if send.is_closed() {
                // Nothing waits for it any more, and to drop it may hang as well.
                drop(result);
                drop(place);
                return is_free();
            }
            drop(place);
            is_free();
            let _ = send.send(result);
        };
        self.begin(id, Box::new(job)).map_err(|error| {
            Fault::new(Kind::Busy, format!("cannot start a thread ({error})")).hint("try again in a moment")
        })?;
        match limit.wait(done).await {
            Some(Ok(result)) => Ok(result),
            Some(Err(_)) => {
                Err(Fault::new(Kind::Failed, "an internal task failed; the journal has the details"))
            }
            None => Err(limit.fault(late)),
        }
    }

    /// Has a thread that is idle run the job, or another one.
    fn begin(&'static self, id: u64, mut job: Work) -> std::io::Result<()> {
        loop {
            let idle = self.jobs().idle.pop_last();
            let Some((_, thread)) = idle else { break };
            match thread.send(job) {
                Ok(()) => return Ok(()),
                Err(mpsc::SendError(unsent)) => job = unsent,
            }
        }
        std::thread::Builder::new().spawn(move || self.work(id, job)).map(drop)
    }

    /// Runs this job, and those that come within some time after it.
    fn work(&'static self, id: u64, job: Work) {
        let (next, jobs) = mpsc::channel();
        let is_free = || drop(self.jobs().idle.insert(id, next.clone()));
        job(&is_free);
        loop {
            let job = match jobs.recv_timeout(IDLE) {
                Ok(job) => job,
                Err(_) if self.jobs().idle.remove(&id).is_some() => return,
                // One is on its way.
                Err(_) => match jobs.recv() {
                    Ok(job) => job,
                    Err(_) => return,
                },
            };
            job(&is_free);
        }
    }

    fn enter(&'static self, user: Option<u32>) -> std::result::Result<Place, Full> {
        let mut jobs = self.jobs();
        let is_its = |job: &&Job| user.is_some() && job.user == user;
        let of_user = || jobs.running.values().filter(is_its);
        let are_stuck = if of_user().count() >= self.share {
            of_user().all(|job| job.is_abandoned)
        } else if jobs.running.len() >= self.most {
            jobs.running.values().all(|job| job.is_abandoned)
        } else {
            let id = jobs.next;
            jobs.next = id.wrapping_add(1);
            jobs.running.insert(id, Job { user, is_abandoned: false });
            return Ok(Place { lane: self, id });
        };
        Err(if are_stuck { Full::Stuck } else { Full::Taken })
    }

    /// How many jobs a user has.
    #[cfg(test)]
    pub(super) fn number_of(&self, uid: u32) -> usize {
        self.jobs().running.values().filter(|job| job.user == Some(uid)).count()
    }

    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        // It is whole after every statement.
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy(&self) -> Fault {
        Fault::new(Kind::Busy, format!("too many {}", self.what)).hint("try again in a moment")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lane.jobs().running.remove(&self.id);
        self.lane.changed.notify_waiters();
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if let Some(job) = self.lane.jobs().running.get_mut(&self.id) {
            job.is_abandoned = true;
            tracing::warn!(kind = self.lane.what, "a thread is late and is not waited for any more");
        }
        self.lane.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_millis(50);
    const LONG: Duration = Duration::from_secs(60);

    fn hang(ends: &mut Vec<mpsc::Sender<()>>) -> impl FnOnce() + Send + use<> {
        let (end, ended) = mpsc::channel();
        ends.push(end);
        move || {
            let _ = ended.recv();
        }
    }

    #[tokio::test]
    async fn what_hangs_is_abandoned_and_over_the_bound_nothing_waits_for_it() {
        static LANE: Lane = Lane::new("jobs hang", 3, 3);
        let mut ends = Vec::new();
        for _ in 0..3 {
            let fault = LANE.run(&Limit::of(SOON), "timed out", hang(&mut ends)).await.unwrap_err();
            assert_eq!(fault.kind(), Kind::TimedOut);
        }
        let fault = LANE.run(&Limit::of(LONG), "timed out", || ()).await.unwrap_err();
        assert_eq!((fault.kind(), fault.message()), (Kind::Busy, "too many jobs hang"));
        ends.pop();
        // Its thread ends, and its place is free again.
        while LANE.jobs().running.len() > 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(LANE.run(&Limit::of(LONG), "timed out", || 7).await.unwrap(), 7);
    }

    #[tokio::test]
    async fn a_place_that_will_be_free_is_waited_for() {
        static LANE: Lane = Lane::new("jobs run", 1, 1);
        let mut ends = Vec::new();
        let work = hang(&mut ends);
        let one = tokio::spawn(async move { LANE.run(&Limit::of(LONG), "timed out", work).await });
        while LANE.jobs().running.is_empty() {
            tokio::task::yield_now().await;
        }
        let two = tokio::spawn(async { LANE.run(&Limit::of(LONG), "timed out", || 2).await });
        let now = LANE.run_now(&Limit::of(LONG), "timed out", || 3).await;
        assert_eq!(now.unwrap_err().kind(), Kind::Busy);
        ends.clear();
        one.await.unwrap().unwrap();
        assert_eq!(two.await.unwrap().unwrap(), 2);
    }

    #[tokio::test]
    async fn one_user_does_not_get_more_than_a_share() {
        static LANE: Lane = Lane::new("jobs are shared", 4, 2);
        let of = |user: u32, time| Limit::of(time).for_user(user);
        let mut ends = Vec::new();
        for _ in 0..2 {
            LANE.run(&of(1, SOON), "timed out", hang(&mut ends)).await.unwrap_err();
        }
        let fault = LANE.run(&of(1, LONG), "timed out", || ()).await.unwrap_err();
        assert_eq!(fault.kind(), Kind::Busy);
        LANE.run(&of(2, LONG), "timed out", || ()).await.unwrap();
    }

    #[tokio::test]
    async fn a_thread_runs_one_job_after_the_other_and_ends_where_none_comes() {
        static LANE: Lane = Lane::new("jobs follow", 2, 2);
        let thread = || std::thread::current().id();
        let first = LANE.run(&Limit::of(LONG), "timed out", thread).await.unwrap();
        for _ in 0..9 {
            assert_eq!(LANE.run(&Limit::of(LONG), "timed out", thread).await.unwrap(), first);
        }
        let mut ends = Vec::new();
        LANE.run(&Limit::of(SOON), "timed out", hang(&mut ends)).await.unwrap_err();
        let second = LANE.run(&Limit::of(LONG), "timed out", thread).await.unwrap();
        assert_ne!(first, second, "it hangs");
        ends.clear();
        while LANE.jobs().idle.len() < 2 {
            tokio::task::yield_now().await;
        }
        while !LANE.jobs().idle.is_empty() {
            tokio::time::sleep(SOON).await;
        }
        let third = LANE.run(&Limit::of(LONG), "timed out", thread).await.unwrap();
        assert!(third != first && third != second);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_frees_its_place() {
        static LANE: Lane = Lane::new("jobs panic", 1, 1);
        for _ in 0..20 {
            LANE.run(&Limit::of(LONG), "timed out", || ()).await.unwrap();
            let fault = LANE.run(&Limit::of(LONG), "timed out", || panic!("on purpose")).await.unwrap_err();
            assert_eq!(fault.kind(), Kind::Failed);
            LANE.run(&Limit::of(LONG), "timed out", || ()).await.unwrap();
            assert_eq!(LANE.jobs().idle.len(), 1, "its thread has ended");
        }
    }
}
