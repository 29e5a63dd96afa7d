//! Whose check is next: polkit is asked so many things at a time, and no user takes more than a share of that.
//! Must not decide how long a check waits: its caller does.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns, first come first served among those who have not used up their share.
#[derive(Debug)]
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    /// Root's own, besides those of all.
    root: Arc<Semaphore>,
    each: usize,
    users: Mutex<HashMap<u32, Weak<Semaphore>>>,
    /// How many turns have ended.
    ended: AtomicUsize,
}

/// A turn; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Turn {
    turns: Arc<Turns>,
    _own: Option<OwnedSemaphorePermit>,
    _all: Option<OwnedSemaphorePermit>,
}

impl Turns {
    pub(crate) fn new(all: usize, each: usize, root: usize) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(all)),
            root: Arc::new(Semaphore::new(root)),
            each,
            users: Mutex::default(),
            ended: AtomicUsize::new(0),
        })
    }

    /// Waits for a turn of this user's.
    pub(crate) async fn take(self: &Arc<Self>, uid: u32) -> Turn {
        // No code closes these semaphores. If one were closed, checks would be unbounded, but not skipped.
        let (own, all) = if uid == 0 {
            (Arc::clone(&self.root).acquire_owned().await.ok(), None)
        } else {
            // In this order: who waits for a share does not wait among the others.
            let own = self.share(uid).acquire_owned().await.ok();
            (own, Arc::clone(&self.all).acquire_owned().await.ok())
        };
        Turn { turns: Arc::clone(self), _own: own, _all: all }
    }

    /// How many turns have ended so far: if none does for long, polkit does not answer.
    pub(crate) fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }

    /// Exists as long as somebody holds or waits for a part of it.
    fn share(&self, uid: u32) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = users.get(&uid).and_then(Weak::upgrade) {
            return share;
        }
        users.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Semaphore::new(self.each));
        users.insert(uid, Arc::downgrade(&share));
        share
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.turns.ended.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Context};

    use super::*;

    /// The turn, if it can be had now.
    fn now(turns: &Arc<Turns>, uid: u32) -> Option<Turn> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        match pin!(turns.take(uid)).poll(&mut context) {
            std::task::Poll::Ready(turn) => Some(turn),
            std::task::Poll::Pending => None,
        }
    }

    #[test]
    fn one_user_has_a_share_of_the_turns_and_the_others_theirs() {
        let turns = Turns::new(64, 8, 16);
        let held: Vec<Turn> = std::iter::from_fn(|| now(&turns, 1000)).collect();
        assert_eq!(held.len(), 8);
        assert!(now(&turns, 1001).is_some() && now(&turns, 0).is_some());
        drop(held);
        assert!(now(&turns, 1000).is_some());
    }

    #[test]
    fn all_users_together_leave_root_its_turns() {
        let turns = Turns::new(64, 8, 16);
        let held: Vec<Turn> = (1..100).flat_map(|uid| now(&turns, uid)).collect();
        assert_eq!(held.len(), 64);
        let root: Vec<Turn> = std::iter::from_fn(|| now(&turns, 0)).collect();
        assert_eq!(root.len(), 16);
        drop((held, root));
        assert_eq!(turns.ended(), 80);
        drop(now(&turns, 7));
        assert_eq!(turns.users.lock().unwrap().len(), 1, "who has left is forgotten");
    }

    #[tokio::test]
    async fn who_waits_gets_the_next_turn_however_many_calls_another_user_has_waiting() {
        let turns = Turns::new(2, 1, 1);
        let (first, second) = (turns.take(1000).await, turns.take(1001).await);
        let greedy: Vec<_> = (0..50)
            .map(|_| {
                let turns = Arc::clone(&turns);
                tokio::spawn(async move { turns.take(1000).await })
            })
            .collect();
        let waiting = tokio::spawn({
            let turns = Arc::clone(&turns);
            async move { turns.take(1002).await }
        });
        tokio::task::yield_now().await;
        drop(second);
        let turn = waiting.await.unwrap();
        drop((first, turn));
        for task in greedy {
            drop(task.await.unwrap());
        }
    }
}
