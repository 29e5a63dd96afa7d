//! When what is told of one target has to change.
//!
//! What is worse than what was told is told when it has been so for `settle`, or when it came and went too often. What
//! is better is told when it has been so for `calm`. So what is over soon is not told, and what comes and goes is told
//! once: the trouble is told, and no improvement lasts.

use std::time::{Duration, Instant};

use super::{notice::Turn, pace::Pace, trouble::Trouble};

/// What was told of a target, and what may have to be.
#[derive(Debug)]
pub(super) struct Settling {
    /// What people know.
    told: Trouble,
    now: Trouble,
    /// Since when something is worse than was told, or was a moment ago.
    episode: Option<Episode>,
    /// Since when it is better than was told, and not worse.
    better: Option<Instant>,
    /// How long an improvement has to last.
    calm: Duration,
    /// When something bad was told last.
    last: Option<Instant>,
    /// When it was told that everything works.
    restored: Option<Instant>,
}

#[derive(Debug)]
struct Episode {
    /// How often it became worse.
    failures: u32,
    /// All that was worse meanwhile.
    worst: Trouble,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// It is worse, since then.
    Worse(Instant),
    /// It is not, since then.
    Over(Instant),
}

impl Settling {
    pub(super) fn new(pace: &Pace) -> Self {
        Self {
            told: Trouble::default(),
            now: Trouble::default(),
            episode: None,
            better: None,
            calm: pace.calm,
            last: None,
            restored: None,
        }
    }

    /// What people know of it.
    pub(super) fn told(&self) -> &Trouble {
        &self.told
    }

    /// What it is now, as was last seen.
    pub(super) fn now(&self) -> &Trouble {
        &self.now
    }

    /// Takes over what it is now, and tells nothing: what someone does to the target explains it.
    pub(super) fn see(&mut self, current: Trouble) {
        self.now = current;
        self.begin_anew();
    }

    /// They have done it: what is better than was told is known. What is worse has still to last. Whether less is told
    /// now than before.
    pub(super) fn accept(&mut self, current: &Trouble) -> bool {
        self.see(current.clone());
        let is_less = !current.exceeds(&self.told) && !current.is_same(&self.told);
        if is_less {
            self.told = current.clone();
        }
        is_less
    }

    fn begin_anew(&mut self) {
        (self.episode, self.better) = (None, None);
    }

    /// Takes over what it is now. What to tell, if the time has come.
    pub(super) fn update(&mut self, current: Trouble, now: Instant, pace: &Pace) -> Option<(Trouble, Turn)> {
        self.now = current;
        self.follow_worse(now, pace);
        let is_better = !self.now.exceeds(&self.told) && !self.now.is_same(&self.told);
        self.better = if is_better { self.better.or(Some(now)) } else { None };
        let turn = self.turn(now, pace)?;
        let (what, turn) = match (&self.episode, turn) {
            (Some(episode), Turn::Unstable) => (episode.worst.clone(), turn),
            _ => (self.now.clone(), turn),
        };
        self.tell(&what, turn, now, pace);
        Some((what, turn))
    }

    /// When something may have to be told, or can be forgotten, if nothing happens until then.
    pub(super) fn due(&self, pace: &Pace) -> Option<Instant> {
        let of_episode = self.episode.as_ref().map(|episode| match episode.phase {
            Phase::Worse(since) => self.due_worse(since, pace),
            Phase::Over(since) => since + pace.calm,
        });
        of_episode.into_iter().chain(self.better.map(|since| since + self.calm)).min()
    }

    fn follow_worse(&mut self, now: Instant, pace: &Pace) {
        if self.now.exceeds(&self.told) {
            let episode = self.episode.get_or_insert_with(|| Episode {
                failures: 0,
                worst: Trouble::default(),
                phase: Phase::Over(now),
            });
            if let Phase::Over(_) = episode.phase {
                episode.failures = episode.failures.saturating_add(1);
                episode.phase = Phase::Worse(now);
            }
            episode.worst.add(&self.now);
        } else if let Some(episode) = &mut self.episode {
            match episode.phase {
                Phase::Worse(_) => episode.phase = Phase::Over(now),
                Phase::Over(since) if now.duration_since(since) >= pace.calm => self.episode = None,
                Phase::Over(_) => {}
            }
        }
    }

    /// When it is told that it is worse, and has been since then.
    fn due_worse(&self, since: Instant, pace: &Pace) -> Instant {
        let settled = since + pace.settle;
        match self.last {
            Some(last) if self.now.level <= self.told.level => settled.max(last + pace.quiet),
            _ => settled,
        }
    }

    fn turn(&self, now: Instant, pace: &Pace) -> Option<Turn> {
        if let Some(Episode { failures, phase: Phase::Worse(since), .. }) = &self.episode {
            if now >= self.due_worse(*since, pace) {
                return Some(Turn::Worse);
            }
            // Of what is told already, that it comes and goes is no news.
            if *failures >= pace.failures && self.told.is_none() {
                return Some(Turn::Unstable);
            }
        }
        let is_calm = |since: Instant| now.duration_since(since) >= self.calm;
        self.better.is_some_and(is_calm).then_some(Turn::Better)
    }

    fn tell(&mut self, what: &Trouble, turn: Turn, now: Instant, pace: &Pace) {
        if turn == Turn::Better {
            self.restored = what.is_none().then_some(now);
        } else {
            if self.told.is_none() {
                let is_relapse =
                    self.restored.is_some_and(|restored| now.duration_since(restored) < pace.relapse);
                self.calm = if is_relapse { (self.calm * 2).min(pace.longest) } else { pace.calm };
            }
            self.last = Some(now);
        }
        self.told = what.clone();
        self.begin_anew();
    }
}
