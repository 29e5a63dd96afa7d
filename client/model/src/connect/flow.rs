//! The machine: what a person does.
//! Must not make a call.
//!
//! | room | what it is |
//! |---|---|
//! | `buttons` | what is said of an error, and which of its buttons there are |
//! | `calls` | how a call is begun, and what becomes of its answer |
//! | `kept` | [`Flow`]: what it keeps |
//! | `step` | [`Damaged`], and the calls without what was typed |

mod buttons;
mod calls;
mod kept;
mod step;

use std::time::Instant;

use iscsi_initiator_dbus::{Iqn, options::MOST_TARGETS, results::Startup};

use self::step::Step;
pub use self::{kept::Flow, step::Damaged};
use super::{
    call::{Command, Input},
    form::{Field, Form},
    state::State,
};
use crate::{remedy::Action, text::forms};

impl Flow {
    /// Takes over what happened. What to do now, in this order. What does not fit the state changes nothing.
    pub fn step(&mut self, input: Input, now: Instant) -> Vec<Command> {
        if self.state == State::Closed {
            return Vec::new();
        }
        match input {
            Input::Start(form) => self.start(form),
            Input::Choose(targets) => self.choose(targets),
            Input::Rename(name) => self.rename(name),
            Input::Press(action) => self.press(action),
            Input::Confirm => self.confirm(),
            Input::Cancel => self.cancel(),
            Input::Close => self.close(),
            Input::Progress { job, step, detail } => self.progress(job, &step, detail),
            Input::Answered { job, answer } => self.answered(job, answer, now),
            Input::TooLate { job } => self.too_late(job),
            Input::Tick => self.tick(now),
        }
    }

    fn start(&mut self, form: Form) -> Vec<Command> {
        if matches!(self.state, State::Working(_)) {
            return Vec::new();
        }
        let checked = form.check();
        self.form = form;
        (self.accepts_changed_luns, self.has_waited) = (None, false);
        // It may be another one now.
        (self.stored_at, self.reached) = (None, None);
        self.next.clear();
        self.done.clear();
        match checked {
            Err(mistakes) => {
                let focus = mistakes.first().map(|mistake| mistake.field);
                self.state = State::Asking { mistakes, focus, note: None };
                Vec::new()
            }
            Ok(order) => {
                self.targets = order.targets;
                // What was typed for the list alone is tried before it is stored.
                let has_discovery_chap = order.discovery.is_some();
                match self.targets.is_empty() || has_discovery_chap {
                    true => self.run(Step::discover()),
                    false => self.run(Step::Connect),
                }
            }
        }
    }

    fn choose(&mut self, targets: Vec<Iqn>) -> Vec<Command> {
        let State::Choosing { offers, mistake } = &mut self.state else { return Vec::new() };
        let mut chosen: Vec<Iqn> = Vec::new();
        for target in targets.into_iter().filter(|target| offers.iter().any(|offer| offer.target == *target))
        {
            if !chosen.contains(&target) {
                chosen.push(target);
            }
        }
        *mistake = match chosen.len() {
            0 => Some(forms::NO_CHOICE.into()),
            count if count > MOST_TARGETS => Some(forms::MANY_CHOICES.of(MOST_TARGETS)),
            _ => None,
        };
        if mistake.is_some() {
            return Vec::new();
        }
        self.targets = chosen;
        self.connect()
    }

    fn rename(&mut self, name: Iqn) -> Vec<Command> {
        match self.state {
            State::Stuck(_) | State::Done(_) if self.offers(Action::ChangeName) => {
                self.first(Step::Rename(name))
            }
            _ => Vec::new(),
        }
    }

    fn press(&mut self, action: Action) -> Vec<Command> {
        if !self.offers(action) {
            return Vec::new();
        }
        if let Some(question) = self.question(action) {
            let back = Box::new(self.state.clone());
            self.state = State::Confirming { action, question, back };
            return Vec::new();
        }
        self.act(action)
    }

    fn confirm(&mut self) -> Vec<Command> {
        let State::Confirming { action, back, .. } = self.state.clone() else { return Vec::new() };
        self.state = *back;
        self.act(action)
    }

    fn act(&mut self, action: Action) -> Vec<Command> {
        self.has_waited = false;
        match action {
            Action::TryAgain => self.run(self.step.clone()),
            Action::EnterChap => self.ask(Field::User),
            Action::EnterMutualChap => self.ask(Field::TargetUser),
            Action::EnterDiscoveryChap => self.ask(Field::DiscoveryUser),
            Action::ChangeAddress => self.ask(Field::Portal),
            Action::ChooseTarget => {
                self.next.clear();
                self.run(Step::Discover { with_chap: false, lets_choose: true })
            }
            Action::FindTargets => {
                self.next.clear();
                self.run(Step::discover())
            }
            // Of several targets it is not known whose disk the person has been told of.
            Action::UseChangedDisk => match self.targets.as_slice() {
                [only] => {
                    self.accepts_changed_luns = Some(only.clone());
                    self.run(Step::Connect)
                }
                _ => Vec::new(),
            },
            Action::Fix => self.first(Step::Fix),
            Action::ForgetAndFind => self.forget_and_find(),
            other => vec![Command::Act(other)],
        }
    }

    /// Does this first, and then what failed. A step of the same kind that failed, or is to come, is given up for it.
    fn first(&mut self, step: Step) -> Vec<Command> {
        self.next.push_front(self.step.clone());
        self.next.retain(|other| std::mem::discriminant(other) != std::mem::discriminant(&step));
        self.run(step)
    }

    fn forget_and_find(&mut self) -> Vec<Command> {
        self.next.clear();
        for node in self.failing() {
            self.next.push_back(Step::Forget(node.clone()));
            self.next.push_back(Step::Recover { node: node.clone(), with_chap: false });
            // New records are manual.
            if node.startup == Startup::Automatic {
                self.next.push_back(Step::Startup(node));
            }
        }
        self.follow()
    }

    fn ask(&mut self, field: Field) -> Vec<Command> {
        self.next.clear();
        self.state = State::asking(Some(field));
        Vec::new()
    }

    fn cancel(&mut self) -> Vec<Command> {
        match &mut self.state {
            State::Working(work) if work.is_cancelling || work.is_too_late => Vec::new(),
            // These are no jobs: they go on to their end, and what they did is told.
            State::Working(work) if !self.step.is_job() => {
                work.is_too_late = true;
                Vec::new()
            }
            State::Working(work) => {
                work.is_cancelling = true;
                vec![Command::Cancel { job: work.job }]
            }
            State::Asking { .. } | State::Done(_) | State::Closed => self.close(),
            State::Confirming { back, .. } => {
                self.state = State::clone(back);
                Vec::new()
            }
            State::Choosing { .. } | State::Waiting { .. } | State::Stuck(_) => self.back(None),
        }
    }

    fn close(&mut self) -> Vec<Command> {
        let running = match &self.state {
            State::Working(work) if !work.is_cancelling && self.step.is_job() => Some(work.job),
            _ => None,
        };
        self.form = Form::default();
        (self.reached, self.accepts_changed_luns) = (None, None);
        self.next.clear();
        self.targets.clear();
        self.owed.clear();
        self.done.clear();
        self.state = State::Closed;
        running.map(|job| Command::Cancel { job }).into_iter().collect()
    }

    fn tick(&mut self, now: Instant) -> Vec<Command> {
        match self.state {
            State::Waiting { until, .. } if now >= until => self.run(self.step.clone()),
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests;
