//! What is said of an error, and which of its buttons there are.

use iscsi_initiator_dbus::{Fault, Portal};

use super::{Damaged, Flow, Step};
use crate::{
    connect::{
        outcome::PortalResult,
        state::{State, Stuck},
    },
    remedy::{self, Action, Place, Remedy},
    text::{Phrase, forms, units},
};

impl Flow {
    pub(super) fn stuck(&mut self, fault: &Fault) {
        let remedy = self.with_features(remedy::remedy(fault, &self.place()));
        self.state = State::Stuck(Stuck { kind: fault.kind(), remedy });
    }

    /// Whether what is shown has this button. A partial success can always be completed.
    pub(super) fn offers(&self, action: Action) -> bool {
        match &self.state {
            State::Stuck(stuck) => stuck.remedy.actions.contains(&action),
            State::Done(outcome) => {
                let has = |remedy: &Remedy| remedy.actions.contains(&action);
                outcome.portals.iter().filter_map(|portal| portal.remedy.as_ref()).any(has)
                    || (action == Action::TryAgain && outcome.is_partial())
            }
            _ => false,
        }
    }

    /// What has to be confirmed first.
    pub(super) fn question(&self, action: Action) -> Option<Phrase> {
        match action {
            Action::UseChangedDisk => {
                let names = self.targets.iter().map(|target| target.as_str());
                Some(forms::CONFIRM_CHANGED_DISK.with("target", units::list(names)))
            }
            Action::ForgetAndFind => {
                let nodes = self.failing().into_iter().map(|node| {
                    let target = forms::RECORD.with("target", node.target.as_str());
                    target.with("portal", node.portal.to_string())
                });
                Some(forms::CONFIRM_FORGET.with("records", units::list(nodes)))
            }
            _ => None,
        }
    }

    /// The damaged nodes that what is shown is about: of a partial success, those whose portals failed.
    pub(super) fn failing(&self) -> Vec<Damaged> {
        let is_about = |node: &&Damaged| match &self.state {
            State::Done(outcome) => {
                let is_it =
                    |portal: &PortalResult| !portal.is_up && node.is_at(&portal.target, &portal.portal);
                outcome.portals.iter().any(is_it)
            }
            _ => self.targets.contains(&node.target),
        };
        self.damaged.iter().filter(is_about).cloned().collect()
    }

    pub(super) fn place(&self) -> Place {
        let target = match self.targets.as_slice() {
            [only] => only.as_str().to_owned(),
            _ => String::new(),
        };
        let typed = self.form.portal.trim();
        let typed = || typed.parse::<Portal>().map_or_else(|_| typed.to_owned(), |portal| portal.to_string());
        let portal = match &self.step {
            Step::Recover { node, .. } | Step::Forget(node) | Step::Startup(node) => node.portal.to_string(),
            _ => typed(),
        };
        let has_chap = match &self.step {
            Step::Discover { .. } | Step::Recover { .. } => {
                self.form.has_chap() || self.form.has_discovery_chap()
            }
            _ => self.form.has_chap(),
        };
        let initiator = self.initiator.clone();
        Place { stage: self.step.stage(), portal, target, initiator, has_chap }
    }

    pub(super) fn with_features(&self, mut remedy: Remedy) -> Remedy {
        let is_damaged = self.damaged.iter().any(|node| self.targets.contains(&node.target));
        self.trim(&mut remedy, is_damaged);
        remedy
    }

    /// Takes away the buttons that this daemon has no feature for, and those that would not be about one target, or not
    /// about a damaged record; never all of them.
    pub(super) fn trim(&self, remedy: &mut Remedy, is_damaged: bool) {
        let has = |feature: &str| self.features.iter().any(|known| known == feature);
        remedy.actions.retain(|action| action.feature().is_none_or(has));
        if !is_damaged {
            remedy.actions.retain(|action| *action != Action::ForgetAndFind);
        }
        if self.targets.len() != 1 {
            remedy.actions.retain(|action| *action != Action::UseChangedDisk);
        }
        if remedy.actions.is_empty() {
            remedy.actions.push(Action::TryAgain);
        }
    }
}

impl Damaged {
    /// Whether it is the node of that target at that portal.
    pub(super) fn is_at(&self, target: &str, portal: &str) -> bool {
        self.target.as_str().eq_ignore_ascii_case(target) && self.portal.to_string() == portal
    }
}
