//! The machine.
//! Must not end by force what the person has not been shown.

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind,
    results::{Holder, HolderKind, Logout},
};

use super::{
    call::{Answer, Call, Command, Input, Wanted},
    state::{Asked, Doubt, InUse, PortalResult, State},
};
use crate::{
    connect::{Jobs, StepLine, Stuck, Work, step_title},
    remedy::{self, Action, Place, Question, Remedy, Stage},
    text::{Phrase, steps, units},
};

/// The call that is running; a target by its place among those that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Check(usize),
    Logout(usize),
    Release(Iqn, iscsi_initiator_dbus::LeaseHolder),
}

/// The way from targets that are connected to ones that are not.
#[derive(Debug)]
pub struct Flow {
    state: State,
    wanted: Vec<Wanted>,
    step: Step,
    /// What uses them, as far as was looked.
    uses: Vec<InUse>,
    /// What the person was shown, and said yes to: it is ended by force.
    accepted: Option<Vec<InUse>>,
    /// What uses them was looked for once more, because a logout said that something does.
    was_in_use: bool,
    results: Vec<PortalResult>,
    jobs: Jobs,
    uid: u32,
    may_force: bool,
    features: Vec<String>,
}

impl Flow {
    /// Begins with the targets, of which the client says that it [intends](crate::memory::Intended) it. `uid` is the
    /// person's, whose leases can be given up; `may_force` says whether they have a chance to be allowed to disconnect
    /// what is in use, and is a hint: the daemon decides.
    pub fn new(wanted: Vec<Wanted>, uid: u32, may_force: bool, features: Vec<String>, jobs: Jobs) -> Self {
        Self {
            state: State::Resting,
            wanted,
            step: Step::Check(0),
            uses: Vec::new(),
            accepted: None,
            was_in_use: false,
            results: Vec::new(),
            jobs,
            uid,
            may_force,
            features,
        }
    }

    /// What is shown.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What was disconnected so far: it stays, also where the way was not gone to its end.
    pub fn results(&self) -> &[PortalResult] {
        &self.results
    }

    /// Takes over what happened. What to do now. What does not fit the state changes nothing.
    pub fn step(&mut self, input: Input) -> Option<Command> {
        match (input, &self.state) {
            (_, State::Closed) => None,
            (Input::Begin, State::Resting | State::Asking(_) | State::Stuck(_)) => self.begin(),
            (Input::Disconnect, State::Asking(asked)) if asked.uses.is_empty() => self.run(Step::Logout(0)),
            (Input::Force, State::Asking(asked)) if asked.can_force => {
                let uses = asked.uses.iter().map(|one| one.says.sentence.clone());
                let question = Question::force(&self.named(), units::list(uses));
                self.ask_once_more(Doubt::Force, question)
            }
            (Input::Release(place), State::Asking(asked)) => {
                let used = asked.uses.get(place)?;
                let (target, lease) = (used.target.clone(), used.lease.clone()?);
                let question = Question::release(&target.as_str().into(), lease.as_str());
                self.ask_once_more(Doubt::Release(target, lease), question)
            }
            (Input::Confirm, State::Confirming { doubt, back, .. }) => match doubt.clone() {
                Doubt::Force => {
                    self.accepted = Some(back.uses.clone());
                    self.check_first()
                }
                Doubt::Release(target, lease) => self.run(Step::Release(target, lease)),
            },
            (Input::Press(action), _) if self.offers(action) => match action {
                Action::TryAgain | Action::ShowUsers => self.begin(),
                other => Some(Command::Act(other)),
            },
            (Input::Cancel, _) => self.cancel(),
            (Input::Close, _) => self.close(),
            (Input::Progress { job, step, detail }, _) => {
                self.progress(job, &step, detail);
                None
            }
            (Input::TooLate { job }, _) => {
                if let Some(work) = self.work(job) {
                    (work.is_cancelling, work.is_too_late) = (false, true);
                }
                None
            }
            (Input::Answered { job, answer }, _) => self.answered(job, answer),
            _ => None,
        }
    }

    /// The work that has this number.
    fn work(&mut self, job: u32) -> Option<&mut Work> {
        match &mut self.state {
            State::Working(work) if work.job == job => Some(work),
            _ => None,
        }
    }

    /// Whether what is shown has this button.
    fn offers(&self, action: Action) -> bool {
        match &self.state {
            State::Stuck(stuck) => stuck.remedy.actions.contains(&action),
            State::Done(results) => {
                let mut remedies = results.iter().filter_map(|result| result.remedy.as_ref());
                remedies.any(|remedy| remedy.actions.contains(&action))
            }
            _ => false,
        }
    }

    fn begin(&mut self) -> Option<Command> {
        // What failed is tried again.
        self.results.retain(|result| result.remedy.is_none());
        (self.accepted, self.was_in_use) = (None, false);
        self.check_first()
    }

    /// Looks for what uses the targets, where the daemon can say it.
    fn check_first(&mut self) -> Option<Command> {
        self.uses.clear();
        if self.wanted.is_empty() {
            return self.done();
        }
        let can_check = self.features.iter().any(|feature| feature == "check-in-use");
        if can_check { self.run(Step::Check(0)) } else { self.checked() }
    }

    fn ask_once_more(&mut self, doubt: Doubt, question: Question) -> Option<Command> {
        if let State::Asking(back) = &self.state {
            self.state = State::Confirming { doubt, question, back: back.clone() };
        }
        None
    }

    /// The targets as they are named in a question.
    fn named(&self) -> Phrase {
        units::list(self.wanted.iter().map(|wanted| wanted.target.as_str()))
    }

    fn run(&mut self, step: Step) -> Option<Command> {
        let (call, title) = match &step {
            Step::Check(place) => (Call::CheckInUse(self.wanted.get(*place)?.clone()), steps::CHECK),
            Step::Logout(place) => {
                let wanted = self.wanted.get(*place)?.clone();
                (Call::Logout(wanted, self.accepted.is_some()), steps::LOGOUT)
            }
            Step::Release(target, lease) => (Call::Release(target.clone(), lease.clone()), steps::RELEASE),
        };
        let job = self.jobs.begin();
        self.step = step;
        self.state = State::Working(Work {
            job,
            title: title.into(),
            steps: Vec::new(),
            is_cancelling: false,
            is_too_late: false,
        });
        Some(Command::Run { job, call })
    }

    fn progress(&mut self, job: u32, step: &str, detail: String) {
        if let Some(work) = self.work(job) {
            work.steps.retain(|line| line.step != step);
            work.steps.push(StepLine { step: step.to_owned(), title: step_title(step), detail });
        }
    }

    fn cancel(&mut self) -> Option<Command> {
        match &mut self.state {
            State::Confirming { back, .. } => {
                self.state = State::Asking(back.clone());
                None
            }
            // A logout is a job; a look changes nothing.
            State::Working(work) if matches!(self.step, Step::Logout(_)) => {
                let is_first = !work.is_cancelling && !work.is_too_late;
                work.is_cancelling |= is_first;
                is_first.then_some(Command::Cancel { job: work.job })
            }
            // This is no job: it goes on to its end, and then what uses them is shown.
            State::Working(work) if matches!(self.step, Step::Release(..)) => {
                work.is_too_late = true;
                None
            }
            _ => self.close(),
        }
    }

    fn close(&mut self) -> Option<Command> {
        let running = match &self.state {
            State::Working(work) if matches!(self.step, Step::Logout(_)) && !work.is_cancelling => {
                Some(Command::Cancel { job: work.job })
            }
            _ => None,
        };
        self.state = State::Closed;
        running
    }

    fn answered(&mut self, job: u32, answer: Result<Answer, Fault>) -> Option<Command> {
        let is_cancelling = self.work(job)?.is_cancelling;
        match (self.step.clone(), answer) {
            (Step::Check(place), Ok(Answer::Holders(holders))) => self.found(place, holders),
            // What is not connected is used by nothing.
            (Step::Check(place), Err(fault)) if is_ended(&fault) => self.found(place, Vec::new()),
            (Step::Logout(place), Ok(Answer::Logouts(logouts))) => {
                self.logged_out(place, &logouts, is_cancelling)
            }
            (Step::Logout(place), Err(fault)) if is_ended(&fault) => {
                self.logged_out(place, &[], is_cancelling)
            }
            // Something has begun to use it since: it is shown what.
            (Step::Logout(_), Err(fault)) if fault.kind() == Kind::InUse && !self.was_in_use => {
                (self.was_in_use, self.accepted) = (true, None);
                self.check_first()
            }
            (Step::Release(..), Ok(Answer::Done)) => self.begin(),
            (_, Ok(_)) => self.stuck(&Fault::new(Kind::Failed, "the answer is that of another call")),
            // The person knows.
            (_, Err(fault))
                if is_cancelling
                    || matches!(fault.kind(), Kind::Cancelled | Kind::AuthenticationDismissed) =>
            {
                self.accepted = None;
                self.ask(false)
            }
            (_, Err(fault)) => self.stuck(&fault),
        }
    }

    fn found(&mut self, place: usize, holders: Vec<Holder>) -> Option<Command> {
        let target = self.wanted.get(place)?.target.clone();
        let uid = self.uid;
        self.uses.extend(holders.into_iter().map(|holder| {
            let is_own = holder.kind == HolderKind::Lease && (uid == 0 || holder.uid == uid);
            let lease = if is_own { holder.lease.parse().ok() } else { None };
            InUse { target: target.clone(), says: remedy::holder(&holder), lease, holder }
        }));
        match place + 1 < self.wanted.len() {
            true => self.run(Step::Check(place + 1)),
            false => self.checked(),
        }
    }

    /// All of them were looked at.
    fn checked(&mut self) -> Option<Command> {
        let Some(accepted) = &self.accepted else { return self.ask(self.was_in_use) };
        // udev looks at whatever else is used.
        let mut others = self.uses.iter().filter(|one| one.holder.kind != HolderKind::Udev);
        let is_named = others.all(|one| accepted.iter().any(|known| known.is_same(one)));
        if is_named && !self.is_final() {
            return self.run(Step::Logout(0));
        }
        self.accepted = None;
        self.ask(true)
    }

    fn is_final(&self) -> bool {
        self.uses.iter().any(|one| one.says.is_final)
    }

    fn ask(&mut self, is_changed: bool) -> Option<Command> {
        let uses = self.uses.clone();
        let can_force = self.may_force && !uses.is_empty() && !self.is_final();
        let named = self.named();
        let question = match uses.is_empty() {
            true => Question::disconnect(&named),
            false => Question::in_use(&named),
        };
        self.state = State::Asking(Asked { question, uses, can_force, is_changed });
        None
    }

    fn logged_out(&mut self, place: usize, logouts: &[Logout], is_cancelling: bool) -> Option<Command> {
        let mut results: Vec<PortalResult> = logouts.iter().map(PortalResult::of).collect();
        results.iter_mut().filter_map(|result| result.remedy.as_mut()).for_each(|remedy| self.trim(remedy));
        self.results.extend(results);
        if place + 1 < self.wanted.len() && !is_cancelling {
            return self.run(Step::Logout(place + 1));
        }
        self.done()
    }

    fn done(&mut self) -> Option<Command> {
        self.state = State::Done(self.results.clone());
        None
    }

    fn stuck(&mut self, fault: &Fault) -> Option<Command> {
        let wanted = match &self.step {
            Step::Check(place) | Step::Logout(place) => self.wanted.get(*place),
            Step::Release(..) => None,
        };
        let portal = wanted.and_then(|wanted| wanted.portal.as_ref()).map(ToString::to_string);
        let place = Place {
            stage: Stage::Disconnect,
            portal: portal.unwrap_or_default(),
            target: wanted.map(|wanted| wanted.target.as_str().to_owned()).unwrap_or_default(),
            ..Place::default()
        };
        let mut remedy = remedy::remedy(fault, &place);
        self.trim(&mut remedy);
        self.accepted = None;
        self.state = State::Stuck(Stuck { kind: fault.kind(), remedy });
        None
    }

    /// Takes away the buttons that this daemon has no feature for; never all of them.
    fn trim(&self, remedy: &mut Remedy) {
        let has = |feature: &str| self.features.iter().any(|known| known == feature);
        remedy.actions.retain(|action| action.feature().is_none_or(has));
        if remedy.actions.is_empty() {
            remedy.actions.push(Action::TryAgain);
        }
    }
}

/// Already so is a success.
fn is_ended(fault: &Fault) -> bool {
    matches!(fault.kind(), Kind::NotLoggedIn | Kind::NoSuchNode)
}

#[cfg(test)]
mod tests;
