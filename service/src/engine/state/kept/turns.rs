//! One update at a time, and one for all that wait for it: the next that begins serves every task that had asked by then.
//! Must not read the machine.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::timeout,
};

use super::whole::{Freshness, Seen, Whole};

/// How long one update may take. Who has waited for it so long looks by itself: a read may hang in the kernel.
const LONGEST: Duration = Duration::from_secs(5);

/// Whose turn it is. Copies share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    kept: Arc<Mutex<Kept>>,
    /// How many have asked for an update.
    asked: AtomicU64,
    /// How many have had their turn.
    turns: AtomicU64,
    /// Whether something is kept, so that an update is short.
    is_kept: AtomicBool,
}

/// What is kept from one turn to the next.
#[derive(Debug, Default)]
struct Kept {
    /// `None` until the first look.
    whole: Option<Whole>,
    /// The last update, until somebody comes whom it does not serve.
    last: Option<Update>,
}

#[derive(Debug)]
struct Update {
    freshness: Freshness,
    seen: Seen,
    /// How many had asked when it began.
    served: u64,
}

/// What becomes of who asks for an update.
#[derive(Debug)]
pub(super) enum Turn {
    Mine(Mine),
    /// Another's update serves as well.
    Served(Seen),
}

/// The turn of one.
#[derive(Debug)]
pub(super) struct Mine {
    kept: OwnedMutexGuard<Kept>,
    shared: Arc<Shared>,
    /// How many had asked when it began.
    served: u64,
}

impl Turns {
    /// Waits for an update that begins after this, or for the turn to make one. `None` if another's hangs.
    pub(super) async fn take(&self, freshness: &Freshness) -> Option<Turn> {
        let number = self.0.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut turn = pin!(Arc::clone(&self.0.kept).lock_owned());
        let mut kept = loop {
            let turns = self.0.turns.load(Ordering::SeqCst);
            match timeout(LONGEST, &mut turn).await {
                Ok(kept) => break kept,
                Err(_) if self.0.turns.load(Ordering::SeqCst) == turns => return None,
                // There are many in the line, and it moves.
                Err(_) => {}
            }
        };
        self.0.turns.fetch_add(1, Ordering::SeqCst);
        // Otherwise it is in the way: the next update would have to copy what somebody has.
        kept.last.take_if(|last| last.served < number || !last.is_as_fresh_as(freshness));
        Some(match &kept.last {
            Some(last) => Turn::Served(last.seen.clone()),
            None => Turn::Mine(Mine { kept, shared: Arc::clone(&self.0), served: number }),
        })
    }

    /// The same; `None` also where nothing is kept, or everything is being read.
    pub(super) async fn take_if_kept(&self, freshness: &Freshness) -> Option<Turn> {
        match self.0.is_kept.load(Ordering::SeqCst) {
            true => self.take(freshness).await,
            false => None,
        }
    }
}

impl Update {
    fn is_as_fresh_as(&self, freshness: &Freshness) -> bool {
        match (&self.freshness, freshness) {
            (_, Freshness::Events) => true,
            (Freshness::Events, Freshness::Now(_)) => false,
            (Freshness::Now(seen), Freshness::Now(asked)) => seen.is_all() || seen == asked,
        }
    }
}

impl Mine {
    /// Whether there is something that need not be read from the start.
    pub(super) fn is_good_at(&self, now: Instant) -> bool {
        self.kept.whole.as_ref().is_some_and(|whole| whole.is_good_at(now))
    }

    /// The update begins now.
    pub(super) fn begin(&mut self) {
        self.served = self.shared.asked.load(Ordering::SeqCst);
        let is_good = self.is_good_at(Instant::now());
        self.shared.is_kept.store(is_good, Ordering::SeqCst);
    }

    pub(super) fn whole(&mut self) -> &mut Option<Whole> {
        &mut self.kept.whole
    }

    /// It is over; who asked before it began is served.
    pub(super) fn end(&mut self, freshness: &Freshness, seen: &Seen) {
        self.shared.is_kept.store(self.kept.whole.is_some(), Ordering::SeqCst);
        let update = Update { freshness: freshness.clone(), seen: seen.clone(), served: self.served };
        self.kept.last = Some(update);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinSet;

    use super::*;
    use crate::backend::kernel::sysfs::Scope;

    /// Who gets the turn makes an update that is told from others by its time; who is served has another's.
    async fn asked(turns: &Turns, freshness: Freshness, number: u64) -> Option<(bool, Option<Instant>)> {
        match turns.take(&freshness).await? {
            Turn::Served(seen) => Some((false, seen.at)),
            Turn::Mine(mut turn) => {
                turn.begin();
                let at = Instant::now() + Duration::from_secs(number);
                let seen = Seen { at: Some(at), ..Seen::default() };
                turn.end(&freshness, &seen);
                Some((true, Some(at)))
            }
        }
    }

    /// Tasks that ask, each for its freshness, while an update is under way.
    async fn asking(turns: &Turns, all: Vec<Freshness>) -> JoinSet<Option<(bool, Option<Instant>)>> {
        let before = turns.0.asked.load(Ordering::SeqCst);
        let mut asking = JoinSet::new();
        for (number, freshness) in (1..).zip(all) {
            let of_task = turns.clone();
            asking.spawn(async move { asked(&of_task, freshness, number).await });
            while turns.0.asked.load(Ordering::SeqCst) < before + number {
                tokio::task::yield_now().await;
            }
        }
        asking
    }

    async fn mine(turns: &Turns) -> Mine {
        match turns.take(&Freshness::now()).await {
            Some(Turn::Mine(mut turn)) => {
                turn.begin();
                turn
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn those_who_wait_share_the_next_update_and_not_the_one_under_way() {
        let turns = Turns::default();
        let mut under_way = mine(&turns).await;
        let tasks = asking(&turns, vec![Freshness::now(); 50]).await;
        let earlier = Instant::now();
        under_way.end(&Freshness::now(), &Seen { at: Some(earlier), ..Seen::default() });
        drop(under_way);
        let seen: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
        assert_eq!(seen.iter().filter(|(is_mine, _)| *is_mine).count(), 1);
        assert!(seen.iter().all(|(_, at)| *at != Some(earlier)), "it had begun before they asked");
        assert!(asked(&turns, Freshness::now(), 1).await.is_some_and(|(is_mine, _)| is_mine), "it is over");
    }

    #[tokio::test]
    async fn an_update_serves_those_who_asked_for_no_more_than_it() {
        let scope = |sid: u32| Freshness::Now(Scope::numbered([sid]));
        for (first, others, updates) in [
            (Freshness::now(), vec![scope(1), Freshness::Events, Freshness::now()], 1),
            (scope(1), vec![scope(1), Freshness::Events], 1),
            (scope(1), vec![scope(2), Freshness::Events], 2),
            (scope(1), vec![Freshness::now(), scope(1)], 2),
            (Freshness::Events, vec![scope(1), scope(1)], 2),
        ] {
            let turns = Turns::default();
            let under_way = mine(&turns).await;
            let all = [vec![first], others].concat();
            let tasks = asking(&turns, all.clone()).await;
            drop(under_way);
            let seen = tasks.join_all().await;
            let made = seen.iter().flatten().filter(|(is_mine, _)| *is_mine).count();
            assert_eq!(made, updates, "{all:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_one_that_hangs_goes_on_without_and_who_is_in_a_long_line_stays() {
        let turns = Turns::default();
        let hangs = mine(&turns).await;
        assert!(turns.take(&Freshness::now()).await.is_none());
        drop(hangs);
        // Each takes less than an update may, and all together take longer.
        let scopes: Vec<_> = (0..9).map(|sid| Freshness::Now(Scope::numbered([sid]))).collect();
        let mut tasks = JoinSet::new();
        for freshness in scopes {
            let turns = turns.clone();
            tasks.spawn(async move {
                let turn = turns.take(&freshness).await;
                tokio::time::sleep(LONGEST / 2).await;
                turn.is_some()
            });
        }
        assert!(tasks.join_all().await.into_iter().all(|had_its_turn| had_its_turn));
    }

    #[tokio::test]
    async fn where_everything_is_being_read_who_needs_less_does_not_wait() {
        let turns = Turns::default();
        assert!(turns.take_if_kept(&Freshness::Events).await.is_none(), "nothing is kept yet");
        let under_way = mine(&turns).await;
        assert!(turns.take_if_kept(&Freshness::Events).await.is_none());
        drop(under_way);
    }
}
