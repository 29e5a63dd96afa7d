//! The checks of `Diagnose` and the findings of `Examine`, in words.

use iscsi_initiator_dbus::{
    printed_in,
    results::{Check, CheckState, Finding},
};

use super::{
    action::Action,
    fault::{Details, Remedy},
    place::{Place, Stage},
};
use crate::text::{Message, Phrase, checks};

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// It was not looked at: it does not apply, or an earlier one failed.
    Skipped,
    /// As it should be.
    Good,
    /// It works or may work, and needs attention.
    Warning,
    /// It does not work.
    Bad,
}

impl Mark {
    fn of(state: CheckState) -> Self {
        match state {
            CheckState::Ok => Self::Good,
            CheckState::Failed => Self::Bad,
            CheckState::Skipped => Self::Skipped,
            // A newer word is no reason to be quiet.
            _ => Self::Warning,
        }
    }

    /// In a word: the mark is never shown by its colour alone.
    pub fn word(self) -> Message {
        match self {
            Self::Skipped => checks::MARK_SKIPPED,
            Self::Good => checks::MARK_GOOD,
            Self::Warning => checks::MARK_WARNING,
            Self::Bad => checks::MARK_BAD,
        }
    }
}

/// A check or a finding: a row of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was looked at; of a newer daemon, its name as it came.
    pub title: Phrase,
    /// How it ended.
    pub mark: Mark,
    /// The portal, file, unit, node, session or disk that it is about; empty if it is about this machine, or all of them.
    pub subject: String,
    /// What is wrong, where that is known by more than the title.
    pub sentence: Option<Phrase>,
    /// The buttons, the most helpful first; none for what is as it should be.
    pub actions: Vec<Action>,
    /// What the daemon says.
    pub details: Details,
}

/// A check of `Diagnose`. `initiator` is this machine's name.
pub fn check(check: &Check, target: &str, initiator: &str) -> Row {
    let mark = Mark::of(check.state);
    let details =
        Details { error: check.error.clone(), message: check.detail.clone(), hint: check.hint.clone() };
    let mut row = Row::new(&check.name, mark, &check.portal, details);
    if mark == Mark::Bad && !check.error.is_empty() {
        let place = Place {
            stage: if check.name == "discovery" { Stage::Discover } else { Stage::Connect },
            portal: check.portal.clone(),
            target: target.to_owned(),
            initiator: initiator.to_owned(),
            // Whether it is asked for or was rejected, the details say.
            has_chap: true,
        };
        let remedy = Remedy::of_entry(&check.error, &check.detail, &check.hint, &place);
        row.sentence = Some(remedy.sentence);
        row.actions = remedy.actions;
        // A diagnosis is what this is; and it was not what failed before.
        row.actions.retain(|action| !matches!(action, Action::Diagnose | Action::ForgetAndFind));
        return row;
    }
    row.advise(&check.name, false, initiator);
    row
}

/// A finding of `Examine`. `initiator` is this machine's name.
pub fn finding(finding: &Finding, initiator: &str) -> Row {
    let mark = Mark::of(finding.state);
    let (error, message, hint) = (String::new(), finding.detail.clone(), finding.hint.clone());
    let mut row = Row::new(&finding.name, mark, &finding.subject, Details { error, message, hint });
    row.advise(&finding.name, !finding.fix.is_empty(), initiator);
    if finding.fixed {
        row.sentence = Some(checks::FIXED.into());
    }
    row
}

/// How many need attention, in one sentence.
pub fn summary(rows: &[Row]) -> Phrase {
    let count = |mark: Mark| rows.iter().filter(|row| row.mark == mark).count();
    match (count(Mark::Bad), count(Mark::Warning)) {
        (0, 0) => checks::ALL_GOOD.into(),
        (0, warnings) => checks::SOME_WARNINGS.of(warnings),
        (bad, _) => checks::SOME_BAD.of(bad),
    }
}

impl Row {
    fn new(name: &str, mark: Mark, subject: &str, details: Details) -> Self {
        let title = checks::title(name).map_or_else(|| name.into(), Phrase::from);
        Self { title, mark, subject: subject.to_owned(), sentence: None, actions: Vec::new(), details }
    }

    fn advise(&mut self, name: &str, can_fix: bool, initiator: &str) {
        if self.mark < Mark::Warning {
            return;
        }
        self.sentence = match name {
            "initiator-name-unique" if printed_in(initiator).is_some() => Some(checks::EXAMPLE_NAME.into()),
            "initiator-name-unique" => Some(checks::CLONED_NAME.into()),
            _ => None,
        };
        if can_fix {
            self.actions.push(Action::Fix);
        }
        let by_name: &[Action] = match name {
            "initiator-name" | "initiator-name-unique" => &[Action::ChangeName],
            "initiator-name-used" | "sessions" | "session" | "leases" | "automatic" => {
                &[Action::ShowSessions]
            }
            "initiator-accepted" => &[Action::ChangeName, Action::CopyName],
            "name-resolution" | "tcp" | "iscsi" => &[Action::ChangeAddress],
            "chap" => &[Action::EnterChap],
            "mutual-chap" => &[Action::EnterMutualChap],
            "discovery" => &[Action::ChooseTarget],
            "luns" | "disk" => &[Action::Rescan],
            "multipath-config" | "lun-map" => &[Action::SetUpMultipath],
            "programs" | "open-iscsi" | "polkit-policy" | "bus-policy" => &[Action::ShowInstall],
            _ => &[],
        };
        self.actions.extend(by_name);
        self.actions.push(Action::SaveReport);
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::Kind;

    use super::*;

    const NAME: &str = "iqn.1989-06.io.cloud-atlas:me";

    #[test]
    fn a_row_says_what_is_wrong_and_has_a_button_for_it() {
        let mut failed =
            Check::new("initiator-accepted", CheckState::Failed, "192.0.2.21:3260", "seen").with_hint("do");
        failed.error = Kind::InitiatorNotAllowed.name().to_owned();
        let row = check(&failed, "iqn.2003-01.com.example:disks", NAME);
        assert_eq!((row.mark, row.mark.word()), (Mark::Bad, checks::MARK_BAD));
        let said = row.sentence.unwrap().to_string();
        assert_eq!(said, format!("192.0.2.21 does not know this machine’s name {NAME}"));
        assert_eq!((row.actions[0], row.details.hint.as_str()), (Action::ChangeName, "do"));
        for name in ["tcp", "luns", "a-newer-one"] {
            let good = check(&Check::new(name, CheckState::Ok, "", "seen"), "", NAME);
            assert!(good.actions.is_empty() && good.sentence.is_none() && good.mark == Mark::Good, "{name}");
            let odd = check(&Check::new(name, CheckState::Warning, "", "seen"), "", NAME);
            assert!(!odd.actions.is_empty() && !odd.title.is_empty(), "{name}");
        }
    }

    #[test]
    fn what_can_be_fixed_is_offered_to_be_and_what_was_says_so() {
        let mut mode =
            Finding::new("secret-files", "/etc/iscsi/iscsid.conf", CheckState::Warning, "its mode")
                .with_hint("chmod");
        assert_ne!(finding(&mode, NAME).actions[0], Action::Fix);
        mode.fix = "set its mode".to_owned();
        assert_eq!(finding(&mode, NAME).actions[0], Action::Fix);
        (mode.state, mode.fixed) = (CheckState::Ok, true);
        let row = finding(&mode, NAME);
        assert_eq!((row.sentence, row.actions.len()), (Some(checks::FIXED.into()), 0));
    }

    #[test]
    fn a_name_that_others_may_have_is_from_documentation_or_from_a_copied_image() {
        let odd = Finding::new("initiator-name-unique", "", CheckState::Warning, "seen");
        for (name, said) in
            [("iqn.1994-05.com.redhat:rh7-client", checks::EXAMPLE_NAME), (NAME, checks::CLONED_NAME)]
        {
            let row = finding(&odd, name);
            assert_eq!((row.sentence, row.actions[0]), (Some(said.into()), Action::ChangeName));
        }
    }

    #[test]
    fn the_worst_is_counted() {
        let row = |state| check(&Check::new("tcp", state, "", "seen"), "", NAME);
        let of =
            |states: &[CheckState]| summary(&states.iter().copied().map(row).collect::<Vec<_>>()).to_string();
        assert_eq!(of(&[CheckState::Ok, CheckState::Skipped]), "Everything is as it should be");
        assert_eq!(of(&[CheckState::Warning, CheckState::Ok]), "1 check needs attention");
        assert_eq!(of(&[CheckState::Failed, CheckState::Failed, CheckState::Warning]), "2 checks failed");
    }
}
