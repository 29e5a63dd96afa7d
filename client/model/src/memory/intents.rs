//! What clients are doing to targets.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// What a client does to a target, for as long as it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intended {
    /// Its number: of the same owner, no other that is under way has it.
    pub number: u32,
    /// Who does it, by the unique name on the bus. Empty for the process itself, which does not leave.
    pub owner: String,
    /// The target.
    pub target: String,
    /// What for.
    pub purpose: Purpose,
    /// When it has ended at the latest; not taken for longer than a call can last.
    pub until: Instant,
}

/// What something is done for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The target is connected, or changed.
    Change,
    /// The target is disconnected: what had been lost of it before is not wanted any more, either.
    Disconnect,
}

/// How long a call may be intended: its longest deadline, and a person's longest answer to polkit.
const LONGEST: Duration = Duration::from_secs(900);
/// How long after a call of a client what ends is still explained by it: the kernel and the daemon's objects lag behind.
const AFTER: Duration = Duration::from_secs(5);
/// How many are kept.
const MOST: usize = 256;

#[derive(Clone, Debug)]
struct Work {
    target: String,
    purpose: Purpose,
    until: Instant,
}

/// What is under way, and what has ended just now.
#[derive(Debug, Default)]
pub(super) struct Intents {
    at_work: BTreeMap<(String, u32), Work>,
    /// The same, until when it still explains what ends.
    over: Vec<Work>,
}

impl Intents {
    pub(super) fn begin(&mut self, intended: Intended, now: Instant) -> bool {
        let Intended { number, owner, target, purpose, until } = intended;
        let key = (owner, number);
        if self.at_work.len() >= MOST && !self.at_work.contains_key(&key) {
            return false;
        }
        let work = Work { target: canonical(&target), purpose, until: until.min(now + LONGEST) };
        if let Some(other) = self.at_work.insert(key, work) {
            self.is_over(other, now);
        }
        true
    }

    pub(super) fn end(&mut self, owner: &str, number: u32, now: Instant) {
        if let Some(work) = self.at_work.remove(&(owner.to_owned(), number)) {
            self.is_over(work, now);
        }
    }

    pub(super) fn left(&mut self, owner: &str, now: Instant) {
        self.end_all(now, |(of, _), _| of == owner && !owner.is_empty());
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.end_all(now, |_, work| work.until <= now);
        self.over.retain(|work| work.until > now);
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.at_work.values().chain(&self.over).map(|work| work.until).min()
    }

    pub(super) fn is_at_work(&self, target: &str) -> bool {
        self.at_work.values().any(|work| work.is_at(target))
    }

    /// Whether what ends there was ended on purpose.
    pub(super) fn explains(&self, target: &str) -> bool {
        self.at_work.values().chain(&self.over).any(|work| work.is_at(target))
    }

    /// Whether the target as a whole is not wanted any more.
    pub(super) fn disconnects(&self, target: &str) -> bool {
        let all = self.at_work.values().chain(&self.over);
        all.filter(|work| work.purpose == Purpose::Disconnect).any(|work| work.is_at(target))
    }

    fn end_all(&mut self, now: Instant, is_ended: impl Fn(&(String, u32), &Work) -> bool) {
        let mut ended = Vec::new();
        self.at_work.retain(|key, work| {
            let is_ended = is_ended(key, work);
            if is_ended {
                ended.push(work.clone());
            }
            !is_ended
        });
        ended.into_iter().for_each(|work| self.is_over(work, now));
    }

    fn is_over(&mut self, work: Work, now: Instant) {
        // One that is over may be begun and ended again and again.
        self.over.retain(|other| other.target != work.target || other.purpose != work.purpose);
        if self.over.len() < MOST {
            self.over.push(Work { until: now + AFTER, ..work });
        }
    }
}

impl Work {
    fn is_at(&self, target: &str) -> bool {
        self.target == canonical(target)
    }
}

/// Names of targets differ by more than their case.
fn canonical(target: &str) -> String {
    target.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "iqn.2003-01.com.example:disks";

    fn intended(number: u32, owner: &str, until: Instant) -> Intended {
        let target = "iqn.2003-01.com.example:DISKS".to_owned();
        Intended { number, owner: owner.to_owned(), target, purpose: Purpose::Disconnect, until }
    }

    #[test]
    fn it_ends_by_word_by_leaving_or_by_its_time_and_explains_a_little_longer() {
        let begin = Instant::now();
        let until = begin + Duration::from_secs(60);
        type End = fn(&mut Intents, Instant);
        let ends: [(u64, End); 3] = [
            (10, |intents, now| intents.end(":1.7", 1, now)),
            (10, |intents, now| intents.left(":1.7", now)),
            (60, |intents, now| intents.expire(now)),
        ];
        for (second, end) in ends {
            let mut intents = Intents::default();
            assert!(intents.begin(intended(1, ":1.7", until), begin));
            assert_eq!(intents.due(), Some(until));
            let now = begin + Duration::from_secs(second);
            // Of others, and of another number.
            intents.end(":1.8", 1, now);
            intents.end(":1.7", 2, now);
            intents.left(":1.8", now);
            assert!(intents.is_at_work(TARGET) && intents.explains(TARGET));
            end(&mut intents, now);
            assert!(!intents.is_at_work(TARGET) && intents.explains(TARGET) && intents.disconnects(TARGET));
            assert_eq!(intents.due(), Some(now + AFTER));
            intents.expire(now + AFTER);
            assert!(!intents.explains(TARGET) && intents.due().is_none());
        }
    }

    #[test]
    fn no_process_intends_more_or_for_longer_than_there_is_reason() {
        let (mut intents, begin) = (Intents::default(), Instant::now());
        let long = begin + Duration::from_secs(1_000_000);
        for number in 0..1000 {
            let is_kept = intents.begin(intended(number, ":1.7", long), begin);
            assert_eq!(is_kept, number < 256, "{number}");
        }
        assert!(intents.begin(intended(7, ":1.7", long), begin), "the same once more");
        assert_eq!(intents.due(), Some(begin + AFTER), "of the one whose place it took");
        intents.expire(begin + LONGEST);
        assert!(!intents.is_at_work(TARGET));
        // The process itself does not leave.
        intents.begin(intended(1, "", long), begin);
        intents.left("", begin);
        assert!(intents.is_at_work(TARGET));
    }
}
