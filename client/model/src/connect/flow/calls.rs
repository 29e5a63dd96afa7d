//! The calls: how one is begun, and what becomes of its answer.

use std::time::{Duration, Instant};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, Portal,
    results::{Login, Node, Startup},
};

use super::{Damaged, Flow, Step};
use crate::{
    connect::{
        call::{Answer, Call, Command},
        order::Order,
        outcome::{Outcome, offers, outcome},
        state::{State, StepLine, Stuck, Work, step_title},
    },
    remedy::{self, Details, Remedy},
};

/// How long a target that another call works on is left alone before it is tried once more.
pub(super) const BUSY: Duration = Duration::from_secs(2);

impl Flow {
    pub(super) fn run(&mut self, step: Step) -> Vec<Command> {
        let mut order = match self.form.check() {
            Ok(order) => order,
            // It was checked when it was typed.
            Err(mistakes) => {
                self.state = State::Asking { mistakes, focus: None, note: None };
                return Vec::new();
            }
        };
        let step = self.with_chap(step, &order);
        let job = self.jobs.begin();
        let work =
            Work { job, title: step.title(), steps: Vec::new(), is_cancelling: false, is_too_late: false };
        let call = match &step {
            Step::Discover { with_chap, .. } => Call::Discover(order.for_discovery(*with_chap)),
            Step::Recover { node, with_chap } => {
                (order.portal, order.interface) = (node.portal.clone(), node.interface.clone());
                Call::Discover(order.for_discovery(*with_chap))
            }
            Step::StoreChap => match order.discovery.take() {
                Some(proof) => Call::SetDiscoveryChap(order.portal, proof),
                // Nothing is to be stored any more.
                None => return self.follow(),
            },
            Step::Connect => {
                let accepted = self.accepts_changed_luns.take();
                let accept_changed_luns = accepted.is_some_and(|target| self.targets == [target]);
                Call::Connect(Order { targets: self.targets.clone(), accept_changed_luns, ..order })
            }
            Step::Rename(name) => Call::SetInitiatorName(name.clone()),
            Step::Fix => Call::Fix,
            Step::Forget(node) => Call::Forget(node.target.clone(), node.portal.clone()),
            Step::Startup(node) => Call::SetStartup(node.target.clone(), node.portal.clone(), node.startup),
        };
        self.step = step;
        self.state = State::Working(work);
        vec![Command::Run { job, call: Box::new(call) }]
    }

    /// A list that is known to be asked for with CHAP, is; and one for which CHAP was typed.
    fn with_chap(&self, step: Step, order: &Order) -> Step {
        let is_known = |portal: &Portal| {
            order.discovery.is_some() || (order.chap.is_some() && self.asks_at.as_ref() == Some(portal))
        };
        match step {
            Step::Discover { lets_choose, with_chap } => {
                Step::Discover { with_chap: with_chap || is_known(&order.portal), lets_choose }
            }
            Step::Recover { node, with_chap } => {
                let with_chap = with_chap || is_known(&node.portal);
                Step::Recover { node, with_chap }
            }
            other => other,
        }
    }

    pub(super) fn progress(&mut self, job: u32, step: &str, detail: String) -> Vec<Command> {
        if let State::Working(work) = &mut self.state
            && work.job == job
        {
            // It is at work now, although it was before.
            work.steps.retain(|line| line.step != step);
            work.steps.push(StepLine { step: step.to_owned(), title: step_title(step), detail });
        }
        Vec::new()
    }

    pub(super) fn too_late(&mut self, job: u32) -> Vec<Command> {
        if let State::Working(work) = &mut self.state
            && work.job == job
        {
            (work.is_cancelling, work.is_too_late) = (false, true);
        }
        Vec::new()
    }

    pub(super) fn answered(&mut self, job: u32, answer: Result<Answer, Fault>, now: Instant) -> Vec<Command> {
        let State::Working(work) = &self.state else { return Vec::new() };
        if work.job != job {
            return Vec::new();
        }
        let (is_cancelling, is_too_late) = (work.is_cancelling, work.is_too_late);
        match answer {
            // It was too late, and what there is now is connected.
            Ok(Answer::Logins(logins)) => self.logged_in(&logins),
            Ok(answer) if is_cancelling => {
                if answer == Answer::Done {
                    self.note_done();
                }
                self.back(None)
            }
            Err(fault) if is_cancelling || fault.kind() == Kind::Cancelled => self.back(Some(&fault)),
            // The same, and what went wrong is shown.
            Err(fault) if is_too_late => {
                self.stuck(&fault);
                Vec::new()
            }
            Ok(Answer::Done) => {
                self.note_done();
                // Someone wanted to go back when it was too late for this call: no other is begun.
                if is_too_late {
                    return self.back(None);
                }
                self.follow()
            }
            Ok(Answer::Nodes(_)) if is_too_late => self.back(None),
            Ok(Answer::Nodes(nodes)) => self.discovered(&nodes),
            Err(fault) => self.failed(&fault, now),
        }
    }

    fn note_done(&mut self) {
        match &self.step {
            Step::Rename(name) => name.as_str().clone_into(&mut self.initiator),
            Step::StoreChap => self.stored_at = self.form.portal.trim().parse().ok(),
            Step::Forget(node) if node.startup == Startup::Automatic => self.owed.push(node.clone()),
            Step::Startup(node) => self.owed.retain(|other| other != node),
            _ => {}
        }
        self.done.extend(self.step.done(&self.place().portal));
    }

    /// The next call; after the last one, what was wanted in the first place.
    pub(super) fn follow(&mut self) -> Vec<Command> {
        if let Some(outcome) = self.reached.take() {
            return self.reach(outcome);
        }
        match self.next.pop_front() {
            Some(step) => self.run(step),
            None if self.targets.is_empty() => self.run(Step::discover()),
            None => self.connect(),
        }
    }

    /// A connection lists the targets once more, with what is stored for that.
    pub(super) fn connect(&mut self) -> Vec<Command> {
        let portal = self.form.portal.trim().parse().ok();
        let is_stored = portal.is_some() && self.stored_at == portal;
        let is_possible = self.features.iter().any(|feature| feature == "discovery-chap");
        let has_to_store = self.form.has_discovery_chap() && is_possible && !is_stored;
        self.run(if has_to_store { Step::StoreChap } else { Step::Connect })
    }

    fn discovered(&mut self, nodes: &[Node]) -> Vec<Command> {
        let lets_choose = matches!(self.step, Step::Discover { lets_choose: true, .. });
        let offers = offers(nodes);
        if let Step::Recover { node, .. } = &self.step {
            if offers.iter().any(|offer| offer.target == node.target) {
                return self.follow();
            }
            // Its record is gone, and the portal does not list it any more.
            self.stuck(&Fault::new(Kind::TargetNotFound, ""));
            return Vec::new();
        }
        // What was chosen before is connected again, where it is listed.
        let is_offered = |target: &Iqn| offers.iter().any(|offer| offer.target == *target);
        if !lets_choose && !self.targets.is_empty() && self.targets.iter().all(is_offered) {
            return self.follow();
        }
        match offers.as_slice() {
            [] => {
                let remedy = self.with_features(Remedy::of_empty_list(&self.place()));
                self.state = State::Stuck(Stuck { kind: Kind::TargetNotFound, remedy });
                Vec::new()
            }
            // Where another target was asked for, this one is not taken for it.
            [only] if !lets_choose && self.targets.is_empty() => {
                self.targets = vec![only.target.clone()];
                self.connect()
            }
            _ => {
                self.state = State::Choosing { offers, mistake: None };
                Vec::new()
            }
        }
    }

    fn logged_in(&mut self, logins: &[Login]) -> Vec<Command> {
        match outcome(logins, &self.place()) {
            Ok(mut outcome) => {
                for portal in &mut outcome.portals {
                    let is_it = |node: &Damaged| node.is_at(&portal.target, &portal.portal);
                    let is_damaged = self.damaged.iter().any(is_it);
                    if let Some(remedy) = &mut portal.remedy {
                        self.trim(remedy, is_damaged);
                    }
                }
                self.next.clear();
                self.reach(outcome)
            }
            Err(fault) => {
                self.stuck(&fault);
                Vec::new()
            }
        }
    }

    /// It is connected. What was forgotten here and came back by another way than was meant, is connected at startup again
    /// first.
    fn reach(&mut self, outcome: Outcome) -> Vec<Command> {
        let is_up = |node: &&Damaged| {
            let mut portals = outcome.portals.iter().filter(|portal| portal.is_up);
            portals.any(|portal| node.is_at(&portal.target, &portal.portal))
        };
        if let Some(node) = self.owed.iter().find(is_up).cloned() {
            self.reached = Some(outcome);
            return self.run(Step::Startup(node));
        }
        self.show(outcome)
    }

    fn show(&mut self, outcome: Outcome) -> Vec<Command> {
        // What is tried again is the connection.
        self.step = Step::Connect;
        self.state = State::Done(outcome);
        Vec::new()
    }

    fn failed(&mut self, fault: &Fault, now: Instant) -> Vec<Command> {
        match (fault.kind(), &self.step) {
            // The person knows.
            (Kind::AuthenticationDismissed, _) => return self.back(None),
            (Kind::ChapRejected, Step::Discover { with_chap: false, lets_choose })
                if self.form.has_chap() =>
            {
                let lets_choose = *lets_choose;
                self.asks_at = self.form.portal.trim().parse().ok();
                return self.run(Step::Discover { with_chap: true, lets_choose });
            }
            (Kind::ChapRejected, Step::Recover { node, with_chap: false }) if self.form.has_chap() => {
                let node = node.clone();
                return self.run(Step::Recover { node, with_chap: true });
            }
            (Kind::Busy, _) if !self.has_waited => {
                self.has_waited = true;
                let remedy = self.with_features(remedy::remedy(fault, &self.place()));
                self.state = State::Waiting { until: now + BUSY, remedy };
                return Vec::new();
            }
            _ => {}
        }
        self.stuck(fault);
        Vec::new()
    }

    /// To the form, with what was typed; to what is connected, if it was the rest that was given up.
    pub(super) fn back(&mut self, fault: Option<&Fault>) -> Vec<Command> {
        self.next.clear();
        if let Some(outcome) = self.reached.take() {
            return self.show(outcome);
        }
        let note = fault.map(|fault| Details {
            error: fault.error_name().to_owned(),
            message: fault.message().to_owned(),
            hint: fault.next_step().to_owned(),
        });
        self.state = State::Asking { mistakes: Vec::new(), focus: None, note };
        Vec::new()
    }
}
