//! The results of the checks, in order.

use iscsi_initiator_dbus::{
    Fault,
    results::{Check, CheckState},
};

use crate::engine::call::Progress;

/// The checks of this machine, or of one portal.
pub(super) struct Report {
    portal: String,
    checks: Vec<Check>,
    /// Hears of each check as it is done.
    progress: Progress,
}

impl Report {
    /// About a portal; empty: about this machine.
    pub(super) fn new(portal: &str, progress: &Progress) -> Self {
        Self { portal: portal.to_owned(), checks: Vec::new(), progress: progress.clone() }
    }

    pub(super) fn checks(self) -> Vec<Check> {
        self.checks
    }

    pub(super) fn ok(&mut self, name: &str, detail: impl Into<String>) {
        self.add(name, CheckState::Ok, detail.into(), String::new(), String::new());
    }

    pub(super) fn skipped(&mut self, name: &str, detail: impl Into<String>) {
        self.add(name, CheckState::Skipped, detail.into(), String::new(), String::new());
    }

    pub(super) fn skipped_with(&mut self, name: &str, detail: impl Into<String>, hint: impl Into<String>) {
        self.add(name, CheckState::Skipped, detail.into(), hint.into(), String::new());
    }

    pub(super) fn warning(&mut self, name: &str, detail: impl Into<String>, hint: impl Into<String>) {
        self.add(name, CheckState::Warning, detail.into(), hint.into(), String::new());
    }

    pub(super) fn failed(&mut self, name: &str, fault: &Fault) {
        let (detail, hint) = (fault.message().to_owned(), fault.next_step().to_owned());
        self.add(name, CheckState::Failed, detail, hint, fault.error_name().to_owned());
    }

    fn add(&mut self, name: &str, state: CheckState, detail: String, hint: String, error: String) {
        let mut check = Check::new(name, state, self.portal.as_str(), detail).with_hint(hint);
        check.error = error;
        self.progress.report_check(&check);
        self.checks.push(check);
    }
}
