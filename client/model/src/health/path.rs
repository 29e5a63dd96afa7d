//! A path, with every word that is not as it should be.
//! Must not hide a word that it does not know.

use std::fmt;

use iscsi_initiator_dbus::results::{Path, Problem};

use super::mood::Mood;
use crate::text::{Message, Phrase, states, units};

/// Whether a path carries what is read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It does.
    Works,
    /// It does, and something about it is not right.
    WorksBut,
    /// It does not, and may by itself.
    Waits,
    /// It does not.
    Failed,
}

/// How a path is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathHealth {
    /// Whether it works.
    pub verdict: Verdict,
    /// Why not, or what is not right: the words of the kernel and of multipathd, each with what says it.
    pub reasons: Vec<Phrase>,
    /// Whether nothing goes through it, as the daemon judges a disk's health: its session is not logged in, its disk not
    /// running, or multipathd has failed it. A problem of the whole disk, or a check that is under way, is not that.
    pub is_cut: bool,
}

impl PathHealth {
    /// Good only if there is nothing to say.
    pub fn mood(&self) -> Mood {
        if self.verdict == Verdict::Works { Mood::Good } else { Mood::Bad }
    }

    /// In one word, without the reasons: `ok`, `waiting`, `FAILED`.
    pub fn brief(&self) -> Message {
        match self.verdict {
            Verdict::Works | Verdict::WorksBut => states::OK,
            Verdict::Waits => states::WAITING,
            Verdict::Failed => states::FAILED,
        }
    }

    /// `ok`, or every word that is not as it should be: `FAILED: session FREE, path failed`.
    pub fn phrase(&self) -> Phrase {
        let reasons = || units::list(self.reasons.iter().cloned());
        match self.verdict {
            Verdict::Works => states::OK.into(),
            Verdict::WorksBut => states::OK_BUT.with("reasons", reasons()),
            Verdict::Waits => states::WAITING_BECAUSE.with("reasons", reasons()),
            Verdict::Failed => states::FAILED_BECAUSE.with("reasons", reasons()),
        }
    }
}

impl fmt::Display for PathHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.phrase(), f)
    }
}

/// Judges a path by what the kernel and multipathd say.
pub fn path(path: &Path) -> PathHealth {
    // (what says it, the word, words of health, words of failure); no word at all means that none is known.
    let views: [(Message, &str, &[&str], &[&str]); 4] = [
        (states::REASON_SESSION, &path.session_state, &["LOGGED_IN"], &["FAILED", "FREE"]),
        (
            states::REASON_DISK,
            &path.device_state,
            &["running"],
            &["offline", "transport-offline", "cancel", "deleted"],
        ),
        (states::REASON_PATH, &path.dm_state, &["active", "undef"], &["failed"]),
        (states::REASON_CHECKER, &path.checker_state, &["ready", "ghost", "undef"], &["faulty", "shaky"]),
    ];
    let odd: Vec<_> =
        views.iter().filter(|(_, word, good, _)| !word.is_empty() && !good.contains(word)).collect();
    let words = odd.iter().map(|(what, word, ..)| what.with("word", *word));
    let problem = problem(path);
    let reasons: Vec<Phrase> = problem.map(Phrase::from).into_iter().chain(words).collect();
    // A disk without a map works, as long as its own path does.
    let is_failed = odd.iter().any(|(_, word, _, bad)| bad.contains(word))
        || (problem.is_some() && path.problem != Problem::NoMap);
    let verdict = match (reasons.is_empty(), odd.is_empty(), is_failed) {
        (true, ..) => Verdict::Works,
        (_, true, false) => Verdict::WorksBut,
        (.., true) => Verdict::Failed,
        _ => Verdict::Waits,
    };
    PathHealth { verdict, reasons, is_cut: is_cut(path) }
}

fn is_cut(path: &Path) -> bool {
    !matches!(path.session_state.as_str(), "" | "LOGGED_IN")
        || !matches!(path.device_state.as_str(), "" | "running")
        || path.dm_state == "failed"
        || matches!(path.checker_state.as_str(), "faulty" | "shaky" | "i/o timeout" | "removed" | "delayed")
}

/// What is wrong with the disk or its map, in a few words.
fn problem(path: &Path) -> Option<Message> {
    match path.problem {
        Problem::SeveralTargets => Some(states::REASON_SEVERAL_TARGETS),
        Problem::UnequalPaths => Some(states::REASON_UNEQUAL_PATHS),
        Problem::NoCapacity => Some(states::REASON_NO_CAPACITY),
        Problem::NoMap => Some(states::REASON_NO_MAP),
        // A newer daemon's word.
        _ => (!path.message.is_empty()).then_some(states::REASON_OTHER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Path {
        let mut path = Path::default();
        (path.session_state, path.device_state) = ("LOGGED_IN".to_owned(), "running".to_owned());
        (path.dm_state, path.checker_state) = ("active".to_owned(), "ready".to_owned());
        path
    }

    #[test]
    fn a_disk_with_a_problem_is_never_just_ok() {
        let with = |problem: Problem| {
            let mut odd = good();
            odd.problem = problem;
            odd.message = "what is wrong".to_owned();
            path(&odd)
        };
        assert_eq!(with(Problem::NoCapacity).to_string(), "FAILED: no capacity");
        assert_eq!(with(Problem::UnequalPaths).to_string(), "FAILED: unequal paths");
        assert_eq!(with(Problem::NoMap).to_string(), "ok, but no map");
        assert_eq!(with(Path::default().problem).to_string(), "FAILED: needs attention");
        for &problem in Problem::ALL {
            let health = with(problem);
            assert!(health.mood() == Mood::Bad && !health.is_cut, "{problem}");
        }
        let fine = path(&good());
        assert_eq!((fine.to_string().as_str(), fine.mood()), ("ok", Mood::Good));
    }

    #[test]
    fn an_unforeseen_word_is_shown() {
        let mut odd = good();
        odd.device_state = "blocked".to_owned();
        let health = path(&odd);
        assert_eq!((health.to_string().as_str(), health.verdict), ("waiting: disk blocked", Verdict::Waits));
        odd.checker_state = "faulty".to_owned();
        let health = path(&odd);
        assert_eq!(health.to_string(), "FAILED: disk blocked, checker faulty");
        assert!(health.is_cut && health.brief() == states::FAILED);
    }

    #[test]
    fn a_check_that_is_under_way_cuts_nothing_off() {
        let mut checked = good();
        checked.checker_state = "i/o pending".to_owned();
        let health = path(&checked);
        assert_eq!((health.verdict, health.is_cut), (Verdict::Waits, false));
        checked.dm_state = "failed".to_owned();
        assert!(path(&checked).is_cut);
        checked.dm_state = "active".to_owned();
        for word in ["faulty", "shaky", "i/o timeout", "removed", "delayed"] {
            checked.checker_state = word.to_owned();
            assert!(path(&checked).is_cut, "{word}");
        }
    }

    #[test]
    fn what_is_not_known_is_no_failure() {
        assert_eq!(path(&Path::default()).verdict, Verdict::Works);
    }
}
