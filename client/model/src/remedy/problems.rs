//! What is wrong with a disk that works.

use iscsi_initiator_dbus::results::{Path, Problem};

use super::{action::Action, fault::Details};
use crate::text::{Message, Phrase, errors};

/// What is wrong with a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ailment {
    /// What it is.
    pub sentence: Phrase,
    /// What to do next.
    pub advice: Phrase,
    /// The buttons, the most helpful first.
    pub actions: Vec<Action>,
    /// What the daemon said.
    pub details: Details,
}

/// What the key `problem` of a path means; nothing if nothing is wrong.
pub fn problem(path: &Path) -> Option<Ailment> {
    if path.problem.as_str().is_empty() {
        return None;
    }
    let known = entry(path.problem);
    let other = (errors::OTHER_PROBLEM, errors::OTHER_PROBLEM_ADVICE, [Action::SaveReport].as_slice());
    let (sentence, advice, actions) = known.unwrap_or(other);
    let details = Details { error: String::new(), message: path.message.clone(), hint: path.hint.clone() };
    let (sentence, advice) = (sentence.into(), advice.into());
    Some(Ailment { sentence, advice, actions: actions.to_vec(), details })
}

fn entry(problem: Problem) -> Option<(Message, Message, &'static [Action])> {
    Some(match problem {
        Problem::SeveralTargets => {
            (errors::SEVERAL_TARGETS, errors::SEVERAL_TARGETS_ADVICE, &[Action::ShowSessions])
        }
        Problem::UnequalPaths => {
            (errors::UNEQUAL_PATHS, errors::UNEQUAL_PATHS_ADVICE, &[Action::ShowSessions, Action::SaveReport])
        }
        Problem::NoCapacity => {
            (errors::NO_CAPACITY, errors::NO_CAPACITY_ADVICE, &[Action::Rescan, Action::SaveReport])
        }
        Problem::NoMap => (errors::NO_MAP, errors::NO_MAP_ADVICE, &[Action::SetUpMultipath, Action::Fix]),
        // A newer word.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_of_the_contract_has_a_way_out() {
        for &word in Problem::ALL {
            let mut path = Path::default();
            assert_eq!(problem(&path), None);
            (path.problem, path.message) = (word, "seen".to_owned());
            let ailment = problem(&path).unwrap();
            assert!(entry(word).is_some() && !ailment.actions.is_empty(), "{word}");
            assert_eq!(ailment.details.message, "seen");
        }
    }
}
