//! What multipathd last said of the paths, and when it is asked again.
//! Must not read the kernel's view.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

use tokio::sync::Mutex;

use super::whole::{Freshness, SETTLES, Seen};
use crate::{
    backend::multipath::daemon::FEW,
    engine::state::{
        path_states::PathStates,
        reader::{Asked, State},
    },
};

/// While all is well, multipathd is not asked more often; nor after it did not answer.
const PAUSE: Duration = Duration::from_secs(1);
/// Nor for more than a tenth of the time: while it answers, a list waits, and it checks no path.
const SHARE: u32 = 10;
/// Up to this; everything is as old at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The last reply. Those who wait for one share the next, so that one at a time is asked for, in nobody's name.
#[derive(Debug, Default)]
pub(super) struct Replies {
    /// How often one was asked for.
    asked: AtomicU64,
    last: Mutex<Option<Reply>>,
}

#[derive(Clone, Debug)]
struct Reply {
    paths: PathStates,
    /// Whether multipathd answered.
    is_answer: bool,
    /// When it was asked for all paths, and when that was over.
    asked: Instant,
    over: Instant,
    /// How many had asked by then.
    served: u64,
}

/// What multipathd has to be asked.
#[derive(Debug, PartialEq, Eq)]
enum Question {
    Nothing,
    /// For these maps.
    Few,
    Everything,
}

impl Replies {
    /// The states of the paths of what was seen.
    pub(super) async fn paths(&self, state: &State, seen: &Seen, freshness: &Freshness) -> PathStates {
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let mut last = self.last.lock().await;
        let question = match &*last {
            Some(reply) if reply.served >= number => Question::Nothing,
            Some(reply) => reply.question(seen, freshness, Instant::now()),
            None => Question::Everything,
        };
        let (served, asked) = (self.asked.load(Ordering::SeqCst), Instant::now());
        let answer = match (question, &mut *last) {
            (Question::Nothing, Some(reply)) => return reply.paths.clone(),
            (Question::Few, Some(reply)) => {
                let maps = seen.touched.maps.clone();
                match state.ask_paths(None, move |multipathd| multipathd.paths_of(&maps)).await {
                    Asked::Answered(paths) => {
                        reply.paths.replace(&seen.touched.disks, paths);
                        return reply.paths.clone();
                    }
                    answer => answer,
                }
            }
            _ => state.ask_paths(None, |multipathd| multipathd.paths()).await,
        };
        let (paths, is_answer) = match answer {
            Asked::Answered(paths) => (paths, true),
            Asked::Failed => (HashMap::new(), false),
            // That is found out at once.
            Asked::NotRunning => {
                *last = None;
                return PathStates::default();
            }
        };
        let paths = PathStates::from(paths);
        *last = Some(Reply { paths: paths.clone(), is_answer, asked, over: Instant::now(), served });
        paths
    }

    /// The same, if multipathd need not be asked.
    pub(super) async fn known(&self, seen: &Seen) -> Option<PathStates> {
        // Where another asks, its reply may do for this, too; multipathd answers one after the other.
        let last = self.last.lock().await;
        let reply = last.as_ref()?;
        let question = reply.question(seen, &Freshness::now(), Instant::now());
        (question == Question::Nothing).then(|| reply.paths.clone())
    }
}

impl Reply {
    fn question(&self, seen: &Seen, freshness: &Freshness, now: Instant) -> Question {
        if !self.is_answer {
            return if now < self.over + PAUSE { Question::Nothing } else { Question::Everything };
        }
        if seen.is_anew {
            return Question::Everything;
        }
        // It hears of what happens in the kernel a moment later than this daemon.
        let is_touched = seen.at.is_some_and(|at| self.asked < at + SETTLES);
        match freshness {
            Freshness::Events if !is_touched => Question::Nothing,
            Freshness::Events if seen.touched.maps.len() <= FEW => Question::Few,
            Freshness::Now(_) if !is_touched && self.is_well(seen) && now < self.asked + self.pause() => {
                Question::Nothing
            }
            _ => Question::Everything,
        }
    }

    fn pause(&self) -> Duration {
        let took = self.over.saturating_duration_since(self.asked);
        took.saturating_mul(SHARE).clamp(PAUSE, LONGEST_PAUSE)
    }

    /// Whether nothing is out of order. What follows on that in multipathd has no event.
    fn is_well(&self, seen: &Seen) -> bool {
        seen.is_steady && !self.paths.iter().any(|(_, state)| state.has_failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backend::multipath::daemon::PathState, engine::state::kept::whole::Touched};

    fn reply(asked: Instant) -> Reply {
        Reply { paths: PathStates::default(), is_answer: true, asked, over: asked, served: 0 }
    }

    fn seen(at: Option<Instant>, maps: usize) -> Seen {
        let maps = (0..maps).map(|number| format!("mpath{number}")).collect();
        Seen { at, touched: Touched { maps, ..Touched::default() }, is_steady: true, ..Seen::default() }
    }

    #[test]
    fn multipathd_is_asked_again_after_an_event_until_it_has_settled_and_while_all_is_well_once_a_second() {
        let begun = Instant::now();
        let at = |milliseconds| begun + Duration::from_millis(milliseconds);
        let (now, events) = (Freshness::now(), Freshness::Events);
        for (asked, event, freshness, then, expected) in [
            (at(0), None, &now, at(900), Question::Nothing),
            (at(0), None, &now, at(1000), Question::Everything),
            (at(0), None, &events, at(60_000), Question::Nothing),
            // Asked before it had settled.
            (at(1900), Some(at(1000)), &now, at(2100), Question::Everything),
            (at(2000), Some(at(1000)), &now, at(2100), Question::Nothing),
            (at(1900), Some(at(1000)), &events, at(9000), Question::Few),
        ] {
            assert_eq!(reply(asked).question(&seen(event, FEW), freshness, then), expected, "{then:?}");
        }
        let many = seen(Some(at(0)), FEW + 1);
        let anew = Seen { is_anew: true, ..seen(None, 0) };
        assert_eq!(reply(at(0)).question(&many, &events, at(1)), Question::Everything);
        for freshness in [&now, &events] {
            assert_eq!(reply(at(0)).question(&anew, freshness, at(1)), Question::Everything);
        }
    }

    #[test]
    fn a_multipathd_that_is_slow_is_asked_less_often() {
        let begun = Instant::now();
        for (took, pause) in [(0, 1000), (300, 3000), (1000, 10_000), (4000, 10_000)] {
            let over = begun + Duration::from_millis(took);
            let reply = Reply { over, ..reply(begun) };
            let question = |then| reply.question(&seen(None, 0), &Freshness::now(), begun + then);
            assert_eq!(question(Duration::from_millis(pause - 1)), Question::Nothing, "{took}");
            assert_eq!(question(Duration::from_millis(pause)), Question::Everything, "{took}");
        }
    }

    #[test]
    fn multipathd_is_asked_each_time_while_something_is_out_of_order() {
        let begun = Instant::now();
        let (well, unsteady) = (seen(None, 0), Seen { is_steady: false, ..seen(None, 0) });
        let now = Freshness::now();
        assert_eq!(reply(begun).question(&well, &now, begun), Question::Nothing);
        assert_eq!(reply(begun).question(&unsteady, &now, begun), Question::Everything);
        let failed =
            PathState { dm_state: "failed".into(), checker_state: "faulty".into(), group: 1, priority: 1 };
        let reply = Reply { paths: HashMap::from([("sda".to_owned(), failed)]).into(), ..reply(begun) };
        assert_eq!(reply.question(&well, &now, begun), Question::Everything);
    }

    #[test]
    fn a_multipathd_that_does_not_answer_is_left_alone_for_a_second() {
        let begun = Instant::now();
        let over = begun + Duration::from_secs(4);
        let silent = Reply { is_answer: false, over, ..reply(begun) };
        let event = seen(Some(over), 1);
        let question = |then: Instant| silent.question(&event, &Freshness::now(), then);
        assert_eq!(question(over + Duration::from_millis(900)), Question::Nothing);
        assert_eq!(question(over + PAUSE), Question::Everything);
    }
}
