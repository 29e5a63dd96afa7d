//! The machine.
//! Must not keep what was typed once the window is closed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, Portal,
    options::MOST_TARGETS,
    results::{Login, Node, Startup},
};

use super::{
    call::{Answer, Call, Command, Input},
    form::{Field, Form},
    jobs::Jobs,
    order::Order,
    outcome::{offers, outcome},
    state::{State, StepLine, Stuck, Work, step_title},
};
use crate::{
    remedy::{self, Action, Details, Place, Remedy, Stage},
    text::{Phrase, forms, steps},
};

/// How long a target that another call works on is left alone before it is tried once more.
const BUSY: Duration = Duration::from_secs(2);

/// A call, without what was typed.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    Discover { with_chap: bool, lets_choose: bool },
    Connect,
    Rename(Iqn),
    Fix,
    Forget(Damaged),
    Startup(Damaged),
}

/// A node whose record cannot be used: one with a `message`, in the objects and in `ListNodes`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// Its target.
    pub target: Iqn,
    /// Its portal.
    pub portal: Portal,
    /// When it was logged in to, as far as the record can still say.
    pub startup: Startup,
}

impl Step {
    fn discover() -> Self {
        Self::Discover { with_chap: false, lets_choose: false }
    }

    fn stage(&self) -> Stage {
        match self {
            Self::Discover { .. } => Stage::Discover,
            Self::Connect => Stage::Connect,
            Self::Rename(_) => Stage::Rename,
            Self::Fix | Self::Forget(_) | Self::Startup(_) => Stage::Other,
        }
    }

    /// Whether it can be cancelled.
    fn is_job(&self) -> bool {
        matches!(self, Self::Discover { .. } | Self::Connect | Self::Fix)
    }

    fn title(&self) -> Phrase {
        match self {
            Self::Discover { .. } => steps::DISCOVER.into(),
            Self::Connect => steps::LOGIN.into(),
            Self::Rename(_) => steps::RENAMING.into(),
            Self::Fix => steps::FIXING.into(),
            Self::Forget(_) => steps::FORGETTING.into(),
            Self::Startup(_) => steps::STARTUP.into(),
        }
    }
}

/// The way from an address to usable disks.
#[derive(Debug)]
pub struct Flow {
    state: State,
    form: Form,
    /// What was chosen, or is the portal's only one.
    targets: Vec<Iqn>,
    /// The call that is running, or that failed last.
    step: Step,
    /// The calls that follow it.
    next: VecDeque<Step>,
    /// What is known to be damaged.
    damaged: Vec<Damaged>,
    /// The target whose changed disks were accepted: for the next connection alone.
    accepts_changed_luns: Option<Iqn>,
    /// It has been tried once more by itself.
    has_waited: bool,
    /// The portal that asks for CHAP before it lists anything.
    asks_at: Option<Portal>,
    jobs: Jobs,
    /// What was done on the way since the person last began, and stays though the way was not gone to its end.
    done: Vec<Phrase>,
    initiator: String,
    features: Vec<String>,
}

impl Flow {
    /// Begins with a form, which may be filled in already: with a target, that target is connected, and no other is
    /// looked for. `initiator` is this machine's name, empty if it is not known; `features` are the daemon's.
    pub fn new(form: Form, initiator: impl Into<String>, features: Vec<String>, jobs: Jobs) -> Self {
        Self {
            state: State::asking(None),
            targets: Vec::new(),
            form,
            step: Step::discover(),
            next: VecDeque::new(),
            damaged: Vec::new(),
            accepts_changed_luns: None,
            has_waited: false,
            asks_at: None,
            jobs,
            done: Vec::new(),
            initiator: initiator.into(),
            features,
        }
    }

    /// What was changed on the way, for who has gone back, or is stuck: it stays.
    pub fn done(&self) -> &[Phrase] {
        &self.done
    }

    /// What is shown.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was typed last.
    pub fn form(&self) -> &Form {
        &self.form
    }

    /// The targets that the running or last connection is about: what the client begins to change
    /// ([`Notices::begin`](crate::news::Notices::begin)).
    pub fn targets(&self) -> &[Iqn] {
        &self.targets
    }

    /// This machine's initiator name, as it is known.
    pub fn initiator(&self) -> &str {
        &self.initiator
    }

    /// The nodes whose records are damaged, as the objects show them; before an answer is taken over. Only these are
    /// ever forgotten.
    pub fn knows_damaged(&mut self, damaged: Vec<Damaged>) {
        self.damaged = damaged;
    }

    fn damaged(&self) -> impl Iterator<Item = &Damaged> {
        self.damaged.iter().filter(|node| self.targets.contains(&node.target))
    }

    /// When [`Input::Tick`] is wanted.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { until, .. } => Some(until),
            _ => None,
        }
    }

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
                if self.targets.is_empty() { self.run(Step::discover()) } else { self.run(Step::Connect) }
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
        self.run(Step::Connect)
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

    /// What has to be confirmed first.
    fn question(&self, action: Action) -> Option<Phrase> {
        let ask = match action {
            Action::UseChangedDisk => forms::CONFIRM_CHANGED_DISK,
            Action::ForgetAndFind => forms::CONFIRM_FORGET,
            _ => return None,
        };
        let names = self.targets.iter().map(Iqn::as_str);
        Some(ask.with("target", crate::text::units::list(names)))
    }

    fn act(&mut self, action: Action) -> Vec<Command> {
        self.has_waited = false;
        match action {
            Action::TryAgain => self.run(self.step.clone()),
            Action::EnterChap => self.ask(Field::User),
            Action::EnterMutualChap => self.ask(Field::TargetUser),
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

    /// Whether what is shown has this button. A partial success can always be completed.
    fn offers(&self, action: Action) -> bool {
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

    /// Does this first, and then what failed. A step of the same kind that failed, or is to come, is given up for it.
    fn first(&mut self, step: Step) -> Vec<Command> {
        self.next.push_front(self.step.clone());
        self.next.retain(|other| std::mem::discriminant(other) != std::mem::discriminant(&step));
        self.run(step)
    }

    fn forget_and_find(&mut self) -> Vec<Command> {
        let damaged: Vec<Damaged> = self.damaged().cloned().collect();
        self.next = damaged.iter().cloned().map(Step::Forget).collect();
        self.next.push_back(Step::Discover { with_chap: false, lets_choose: false });
        // New records are manual.
        let automatic = damaged.into_iter().filter(|node| node.startup == Startup::Automatic);
        self.next.extend(automatic.map(Step::Startup));
        let first = self.next.pop_front().unwrap_or_else(Step::discover);
        self.run(first)
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
            State::Choosing { .. } | State::Waiting { .. } | State::Stuck(_) => {
                self.next.clear();
                self.state = State::asking(None);
                Vec::new()
            }
        }
    }

    fn close(&mut self) -> Vec<Command> {
        let running = match &self.state {
            State::Working(work) if !work.is_cancelling && self.step.is_job() => Some(work.job),
            _ => None,
        };
        self.form = Form::default();
        self.next.clear();
        self.targets.clear();
        self.done.clear();
        self.state = State::Closed;
        running.map(|job| Command::Cancel { job }).into_iter().collect()
    }

    fn progress(&mut self, job: u32, step: &str, detail: String) -> Vec<Command> {
        if let State::Working(work) = &mut self.state
            && work.job == job
        {
            // It is at work now, although it was before.
            work.steps.retain(|line| line.step != step);
            work.steps.push(StepLine { step: step.to_owned(), title: step_title(step), detail });
        }
        Vec::new()
    }

    fn too_late(&mut self, job: u32) -> Vec<Command> {
        if let State::Working(work) = &mut self.state
            && work.job == job
        {
            (work.is_cancelling, work.is_too_late) = (false, true);
        }
        Vec::new()
    }

    fn tick(&mut self, now: Instant) -> Vec<Command> {
        match self.state {
            State::Waiting { until, .. } if now >= until => self.run(self.step.clone()),
            _ => Vec::new(),
        }
    }

    fn answered(&mut self, job: u32, answer: Result<Answer, Fault>, now: Instant) -> Vec<Command> {
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
                if let Step::Rename(name) = &self.step {
                    name.as_str().clone_into(&mut self.initiator);
                }
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
        self.done.extend(match &self.step {
            Step::Discover { .. } | Step::Connect => None,
            Step::Rename(name) => Some(steps::RENAMED.with("name", name.as_str())),
            Step::Fix => Some(steps::FIXED.into()),
            Step::Forget(node) => {
                let target = steps::FORGOTTEN.with("target", node.target.as_str());
                Some(target.with("portal", node.portal.to_string()))
            }
            Step::Startup(node) => Some(steps::STARTUP_SET.with("target", node.target.as_str())),
        });
    }

    /// The next call; after the last one, what was wanted in the first place.
    fn follow(&mut self) -> Vec<Command> {
        match self.next.pop_front() {
            Some(step) => self.run(step),
            None if self.targets.is_empty() => self.run(Step::discover()),
            None => self.run(Step::Connect),
        }
    }

    fn discovered(&mut self, nodes: &[Node]) -> Vec<Command> {
        let lets_choose = matches!(self.step, Step::Discover { lets_choose: true, .. });
        let offers = offers(nodes);
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
                self.run(Step::Connect)
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
                for remedy in outcome.portals.iter_mut().filter_map(|portal| portal.remedy.as_mut()) {
                    self.trim(remedy);
                }
                self.next.clear();
                self.state = State::Done(outcome);
            }
            Err(fault) => self.stuck(&fault),
        }
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

    fn stuck(&mut self, fault: &Fault) {
        let remedy = self.with_features(remedy::remedy(fault, &self.place()));
        self.state = State::Stuck(Stuck { kind: fault.kind(), remedy });
    }

    /// To the form, with what was typed.
    fn back(&mut self, fault: Option<&Fault>) -> Vec<Command> {
        self.next.clear();
        let note = fault.map(|fault| Details {
            error: fault.error_name().to_owned(),
            message: fault.message().to_owned(),
            hint: fault.next_step().to_owned(),
        });
        self.state = State::Asking { mistakes: Vec::new(), focus: None, note };
        Vec::new()
    }

    fn run(&mut self, step: Step) -> Vec<Command> {
        let mut order = match self.form.check() {
            Ok(order) => order,
            // It was checked when it was typed.
            Err(mistakes) => {
                self.state = State::Asking { mistakes, focus: None, note: None };
                return Vec::new();
            }
        };
        let step = match step {
            Step::Discover { lets_choose, .. } if self.asks_at.as_ref() == Some(&order.portal) => {
                Step::Discover { with_chap: order.chap.is_some(), lets_choose }
            }
            other => other,
        };
        let job = self.jobs.begin();
        let work =
            Work { job, title: step.title(), steps: Vec::new(), is_cancelling: false, is_too_late: false };
        let call = match &step {
            Step::Discover { with_chap, .. } => {
                order.targets.clear();
                if !with_chap {
                    order.chap = None;
                }
                Call::Discover(order)
            }
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

    fn place(&self) -> Place {
        let target = match self.targets.as_slice() {
            [only] => only.as_str().to_owned(),
            _ => String::new(),
        };
        let portal = self.form.portal.trim();
        let portal = portal.parse::<Portal>().map_or_else(|_| portal.to_owned(), |portal| portal.to_string());
        Place {
            stage: self.step.stage(),
            portal,
            target,
            initiator: self.initiator.clone(),
            has_chap: self.form.has_chap(),
        }
    }

    fn with_features(&self, mut remedy: Remedy) -> Remedy {
        self.trim(&mut remedy);
        remedy
    }

    /// Takes away the buttons that this daemon has no feature for, and those that would not be about one target; never
    /// all of them.
    fn trim(&self, remedy: &mut Remedy) {
        let has = |feature: &str| self.features.iter().any(|known| known == feature);
        remedy.actions.retain(|action| action.feature().is_none_or(has));
        if self.damaged().next().is_none() {
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

#[cfg(test)]
mod tests;
