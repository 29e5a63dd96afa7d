//! Findings, each with its safe fix, if there is one.

use std::{fmt, path::PathBuf};

use iscsi_initiator_dbus::results::{CheckState, Finding};

/// The name and the subject of a finding.
pub(super) type Key = (String, String);

/// A finding, and what the option `fix` does about it.
pub(super) struct Found {
    pub(super) finding: Finding,
    pub(super) remedy: Option<Remedy>,
}

/// A fix that needs no decision: it takes no access away that a user should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Makes a file or folder accessible to root only.
    Narrow { root: PathBuf, relative: String, mode: u32 },
    /// Has a unit started, now and at the next boot.
    Unit { unit: String, enable: bool, start: bool },
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Narrow { mode, .. } => write!(f, "set its mode to {mode:04o}"),
            Self::Unit { unit, enable: true, start: true } => write!(f, "enable and start {unit}"),
            Self::Unit { unit, enable: true, .. } => write!(f, "enable {unit}"),
            Self::Unit { unit, .. } => write!(f, "start {unit}"),
        }
    }
}

impl Found {
    pub(super) fn key(&self) -> Key {
        (self.finding.name.clone(), self.finding.subject.clone())
    }

    /// The finding as the bus shows it.
    pub(super) fn report(self) -> Finding {
        let mut finding = self.finding;
        finding.fix = self.remedy.map(|remedy| remedy.to_string()).unwrap_or_default();
        finding
    }
}

/// A list of findings.
#[derive(Default)]
pub(super) struct Findings(Vec<Found>);

impl Findings {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn list(self) -> Vec<Found> {
        self.0
    }

    pub(super) fn ok(&mut self, name: &str, subject: &str, detail: impl Into<String>) {
        self.add(name, subject, CheckState::Ok, detail.into(), String::new());
    }

    pub(super) fn skipped(&mut self, name: &str, subject: &str, detail: impl Into<String>) {
        self.add(name, subject, CheckState::Skipped, detail.into(), String::new());
    }

    pub(super) fn warning(
        &mut self,
        name: &str,
        subject: &str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(name, subject, CheckState::Warning, detail.into(), hint.into());
    }

    pub(super) fn failed(
        &mut self,
        name: &str,
        subject: &str,
        detail: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(name, subject, CheckState::Failed, detail.into(), hint.into());
    }

    pub(super) fn add(&mut self, name: &str, subject: &str, state: CheckState, detail: String, hint: String) {
        let finding = Finding::new(name, subject, state, detail).with_hint(hint);
        self.0.push(Found { finding, remedy: None });
    }

    /// Adds the fix for the last finding.
    pub(super) fn with(&mut self, remedy: Remedy) {
        if let Some(last) = self.0.last_mut() {
            last.remedy = Some(remedy);
        }
    }
}

/// A hint, or another if it is empty.
pub(super) fn or<'a>(hint: &'a str, other: &'a str) -> &'a str {
    if hint.is_empty() { other } else { hint }
}

/// `1 file`, `2 files`.
pub(super) fn count(number: usize, one: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {one}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixes_are_told_in_words() {
        let narrow = Remedy::Narrow { root: "/etc".into(), relative: "x".into(), mode: 0o600 };
        assert_eq!(narrow.to_string(), "set its mode to 0600");
        let unit = |enable, start| Remedy::Unit { unit: "iscsid.socket".into(), enable, start }.to_string();
        assert_eq!(unit(true, true), "enable and start iscsid.socket");
        assert_eq!(
            (unit(true, false), unit(false, true)),
            ("enable iscsid.socket".into(), "start iscsid.socket".into())
        );
        let mut findings = Findings::new();
        findings.warning("secret-files", "/etc/x", "seen", "do");
        findings.with(narrow);
        let reported: Vec<Finding> = findings.list().into_iter().map(Found::report).collect();
        assert_eq!((reported[0].fix.as_str(), reported[0].fixed), ("set its mode to 0600", false));
    }
}
