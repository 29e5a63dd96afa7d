//! One look for several tasks that need one at about the same time: the next that begins serves all that
//! wait for it. One that had begun before a task asked does not serve that task, since it may have missed
//! what the task did.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use iscsi_initiator_dbus::fault::Result;
use tokio::sync::Mutex;

use super::{reader::State, snapshot::Snapshot};
use crate::backend::kernel::sysfs::Scope;

/// The looks that some tasks share; all of the same sessions.
pub(in crate::engine) struct SharedLook {
    scope: Scope,
    /// How often one was asked for.
    asked: AtomicU64,
    /// The last one, and how many had asked when it began.
    last: Mutex<(u64, Arc<Snapshot>)>,
}

impl SharedLook {
    pub(in crate::engine) fn of(scope: Scope) -> Self {
        Self { scope, asked: AtomicU64::new(0), last: Mutex::default() }
    }

    /// A look that begins after this.
    pub(in crate::engine) async fn look(&self, state: &State) -> Result<Arc<Snapshot>> {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = self.last.lock().await;
        if last.0 < number {
            let served = self.asked.load(Ordering::SeqCst);
            let now = state.sessions(self.scope.clone()).await?;
            *last = (served, Arc::new(now));
        }
        Ok(Arc::clone(&last.1))
    }

    /// One that begins later, on a thread where that is allowed; what it sees is then noted.
    pub(in crate::engine) fn later(&self, state: &State) -> impl FnOnce() -> (u64, Snapshot) + Send + use<> {
        // It serves those that have asked by now.
        let served = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let (sysfs, scope) = (state.sysfs.clone(), self.scope.clone());
        move || (served, Snapshot::of_sessions(sysfs.sessions_in(&scope)))
    }

    pub(in crate::engine) async fn note(&self, (served, now): (u64, Snapshot)) -> Arc<Snapshot> {
        let (mut last, now) = (self.last.lock().await, Arc::new(now));
        if last.0 < served {
            *last = (served, Arc::clone(&now));
        }
        now
    }

    /// The last one, if there was any.
    pub(in crate::engine) async fn last(&self) -> Option<Arc<Snapshot>> {
        let last = self.last.lock().await;
        (last.0 > 0).then(|| Arc::clone(&last.1))
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;
    use crate::backend::{
        host::layout::Layout, kernel::sysfs::tests::sample, open_iscsi::database::Database,
    };

    #[tokio::test]
    async fn tasks_that_ask_while_a_look_is_under_way_share_the_next_one() {
        let folder = sample();
        // The sample is sysfs itself.
        std::os::unix::fs::symlink(folder.path(), folder.path().join("sys")).unwrap();
        let layout = Layout::below(folder.path());
        let database = Database::new(&layout.find_database(), &layout.config, &layout.lock);
        let state = State::new(&layout, &database);
        let looks = Arc::new(SharedLook::of(Scope::all()));
        assert!(looks.last().await.is_none());
        // One that is under way holds this, and had begun when one task had asked.
        let first = looks.look(&state).await.unwrap();
        let under_way = looks.last.lock().await;
        let mut asking = JoinSet::new();
        for _ in 0..50 {
            let (looks, state) = (Arc::clone(&looks), state.clone());
            asking.spawn(async move { looks.look(&state).await.unwrap() });
        }
        while looks.asked.load(Ordering::SeqCst) < 51 {
            tokio::task::yield_now().await;
        }
        drop(under_way);
        let mut seen = asking.join_all().await;
        assert!(seen.iter().all(|look| look.session(1).is_some()));
        assert!(!seen.iter().any(|look| Arc::ptr_eq(look, &first)), "it had begun before the others asked");
        seen.dedup_by(|one, other| Arc::ptr_eq(one, other));
        assert_eq!(seen.len(), 1, "one serves all that waited for it");
        let begun = looks.later(&state);
        let later = looks.look(&state).await.unwrap();
        assert!(looks.note(begun()).await.session(1).is_some());
        assert!(
            Arc::ptr_eq(&looks.last().await.unwrap(), &later),
            "who asked after that is not served by it"
        );
        assert!(!seen.iter().any(|look| Arc::ptr_eq(look, &later)), "what is over serves no one any more");
        let noted = looks.note(looks.later(&state)()).await;
        assert!(Arc::ptr_eq(&looks.last().await.unwrap(), &noted));
    }
}
