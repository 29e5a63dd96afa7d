//! When what is told of one target has to change.
//!
//! What is worse than what was told is told when it has been so for `settle`, or when it came and went too often. What
//! is better is told when it has been so for `calm`. So what is over soon is not told, and what comes and goes is told
//! once: the trouble is told, and no improvement lasts. Each improvement that did not last makes the next one wait
//! longer; from the third trouble in a row it is told as one that comes and goes, and waits as long as there is.

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
    /// When an improvement was told, if nothing bad was since.
    eased: Option<Instant>,
    /// How many troubles were told in a row, each soon after an improvement.
    losses: u32,
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
            eased: None,
            losses: 0,
        }
    }

    /// What people know of it.
    pub(super) fn told(&self) -> &Trouble {
        &self.told
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

    /// What was so for a while, has to be for as long again.
    pub(super) fn begin_anew(&mut self) {
        (self.episode, self.better) = (None, None);
    }

    /// Takes over what it is now. What to tell, if the time has come.
    pub(super) fn update(&mut self, current: Trouble, now: Instant, pace: &Pace) -> Option<(Trouble, Turn)> {
        self.now = current;
        self.follow_worse(now, pace);
        let better = self.better.take();
        if self.is_better() {
            self.better = better.or(Some(now));
        } else if better.is_some() {
            self.damp(pace);
        }
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

    /// An improvement did not last: the next one waits longer.
    fn damp(&mut self, pace: &Pace) {
        self.calm = self.calm.saturating_mul(2).min(pace.longest);
    }

    /// What is worse now comes on top of what was told, and no improvement was told between.
    fn is_worse_still(&self) -> bool {
        self.eased.is_none() && !self.told.is_none()
    }

    /// Which trouble in a row one is that is told now, and is not worse still.
    fn losses(&self, now: Instant, pace: &Pace) -> u32 {
        let is_relapse = self.eased.is_some_and(|eased| now.duration_since(eased) < pace.relapse);
        if is_relapse { self.losses.saturating_add(1) } else { 1 }
    }

    fn turn(&self, now: Instant, pace: &Pace) -> Option<Turn> {
        if let Some(Episode { failures, phase: Phase::Worse(since), .. }) = &self.episode {
            if now >= self.due_worse(*since, pace) {
                let is_unstable = !self.is_worse_still() && self.losses(now, pace) >= pace.failures;
                return Some(if is_unstable { Turn::Unstable } else { Turn::Worse });
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
            self.eased = Some(now);
        } else {
            if !self.is_worse_still() {
                self.losses = self.losses(now, pace);
                match self.losses {
                    ..=1 => self.calm = pace.calm,
                    many if many >= pace.failures => self.calm = pace.longest,
                    _ => self.damp(pace),
                }
            }
            self.eased = None;
            self.last = Some(now);
        }
        self.told = what.clone();
        self.begin_anew();
        // Of what comes and goes, all is told that went.
        self.better = self.is_better().then_some(now);
    }

    fn is_better(&self) -> bool {
        !self.now.exceeds(&self.told) && !self.now.is_same(&self.told)
    }
}
