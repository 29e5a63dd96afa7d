//! From an address to disks: what the flow of the model says is shown, and what the person does is said to it.
//!
//! | room | what it is |
//! |---|---|
//! | `choice` | which of a portal's targets |
//! | `form` | address, CHAP and the rest |
//! | `outcome` | what became of it |

mod choice;
mod form;
mod outcome;

use std::time::Instant;

use adw::prelude::*;
use async_channel::Receiver;
use gtk::glib;
use iscsi_initiator_dbus::{Fault, Iqn, Kind};
use iscsi_initiator_model::{
    connect::{Command, Flow, Form, Input, State, Stuck},
    remedy::{Action, Remedy},
};

use self::{choice::ChoicePage, form::FormPage};
use super::{
    acts::{self, About},
    known::Known,
    name_dialog, said,
    sheet::{Sheet, Style},
    work_view::WorkView,
};
use crate::{
    bus::{Answer, Client, Reply, Request},
    text::{gettext, say, word},
};

/// What happens in the dialog.
#[derive(Clone, Debug)]
enum Event {
    /// *Connect* of the form.
    Start,
    /// *Connect* of the choice.
    Choose,
    Flow(Box<Input>),
}

struct ConnectDialog {
    parent: gtk::Widget,
    client: Client,
    known: Known,
    flow: Flow,
    sheet: Sheet<Event>,
    form: FormPage,
    choice: Option<ChoicePage>,
    work: Option<(u32, WorkView, gtk::Button)>,
    targets: Vec<Iqn>,
}

/// Opens the dialog. With a target, that is connected at once, and what is asked is what is missing.
pub(super) fn open(parent: &impl IsA<gtk::Widget>, client: Client, known: Known, form: Form) {
    let facts = known.facts();
    let (sheet, happened) = Sheet::new(&gettext("Connect to Portal"), Event::Flow(Box::new(Input::Close)));
    let starts = !form.targets.is_empty() && !form.portal.is_empty();
    let targets = form.targets.clone();
    let flow = Flow::new(form, facts.initiator, facts.features, client.jobs());
    let page = FormPage::new(flow.form(), sheet.events(), Event::Start);
    let parent = parent.clone().upcast::<gtk::Widget>();
    sheet.present(&parent);
    if starts {
        sheet.tell(Event::Start);
    }
    let dialog =
        ConnectDialog { parent, client, known, flow, sheet, form: page, choice: None, work: None, targets };
    glib::spawn_future_local(dialog.run(happened));
}

impl ConnectDialog {
    async fn run(mut self, happened: Receiver<Event>) {
        self.show();
        while let Ok(event) = happened.recv().await {
            let Some(input) = self.input(event) else { continue };
            self.flow.knows_initiator(self.known.facts().initiator);
            self.flow.knows_damaged(self.known.damaged());
            for command in self.flow.step(input, Instant::now()) {
                self.carry_out(command).await;
            }
            if matches!(self.flow.state(), State::Closed) {
                break;
            }
            self.show();
        }
        self.sheet.close();
    }

    fn input(&self, event: Event) -> Option<Input> {
        match event {
            Event::Start => Some(Input::Start(self.form.read(&self.targets))),
            Event::Choose => Some(Input::Choose(self.choice.as_ref()?.chosen())),
            Event::Flow(input) => Some(*input),
        }
    }

    async fn carry_out(&mut self, command: Command) {
        match command {
            Command::Run { job, call } => {
                let replies = self.client.begin(job, Request::Connect(call));
                self.sheet.follow(replies, move |reply| Event::Flow(Box::new(input(job, reply))));
            }
            Command::Cancel { job } => self.client.cancel(job),
            Command::Act(Action::ChangeName) => {
                if let Some(name) = name_dialog::ask(self.sheet.widget(), self.flow.initiator()).await {
                    self.sheet.tell(Event::Flow(Box::new(Input::Rename(name))));
                }
            }
            Command::Act(action) => {
                let target = self.flow.targets().first().map(ToString::to_string).unwrap_or_default();
                let about = About { target, portal: self.flow.form().portal.trim().to_owned() };
                if acts::leads_away(action) {
                    self.sheet.close();
                }
                acts::activate(&self.parent, action, &about);
            }
        }
    }

    fn flow_button(&self, label: &str, input: Input, style: Style) -> gtk::Button {
        self.sheet.button(label, Event::Flow(Box::new(input)), style)
    }

    fn back(&self) -> gtk::Button {
        self.flow_button(&gettext("Back"), Input::Cancel, Style::Plain)
    }

    /// A button for each way out, the most helpful first.
    fn actions(&self, remedy: &Remedy) -> Vec<gtk::Button> {
        let styled = |(number, action): (usize, &Action)| {
            let style = match number {
                _ if action.is_destructive() => Style::Destructive,
                0 => Style::Suggested,
                _ => Style::Plain,
            };
            self.flow_button(&word(action.label()), Input::Press(*action), style)
        };
        remedy.actions.iter().enumerate().map(styled).collect()
    }

    fn show(&mut self) {
        let state = self.flow.state().clone();
        if !matches!(state, State::Working(_)) {
            self.work = None;
        }
        if !matches!(state, State::Choosing { .. }) {
            self.choice = None;
        }
        match state {
            State::Asking { mistakes, focus, note } => {
                self.form.show(&mistakes, focus, note.as_ref(), self.flow.done());
                let connect = self.sheet.button(&gettext("Connect"), Event::Start, Style::Suggested);
                let focus = self.form.focus(focus);
                self.sheet.show(self.form.widget(), &[connect], focus.as_ref(), &self.form.complaint());
            }
            State::Working(work) => self.show_work(&work),
            State::Choosing { offers, mistake } => {
                if self.choice.is_none() {
                    self.choice = Some(ChoicePage::new(&offers));
                }
                let Some(page) = &self.choice else { return };
                page.complain(mistake.as_ref().map(say));
                let connect = self.sheet.button(&gettext("Connect"), Event::Choose, Style::Suggested);
                let focus = page.focus();
                self.sheet.show(page.widget(), &[connect, self.back()], focus.as_ref(), "");
            }
            State::Waiting { until, remedy } => {
                let column = said::remedy(&remedy, self.flow.done());
                column.append(&said::words(&gettext("It is tried once more in a moment.")));
                self.sheet.show(&column, &[self.back()], None, &say(&remedy.sentence));
                let events = self.sheet.events();
                let rest = until.saturating_duration_since(Instant::now());
                glib::timeout_add_local_once(rest, move || {
                    let _ = events.try_send(Event::Flow(Box::new(Input::Tick)));
                });
            }
            State::Confirming { action, question, .. } => {
                let question = say(&question);
                let yes = self.flow_button(&word(action.label()), Input::Confirm, Style::Destructive);
                self.sheet.show(&said::heading(&question), &[yes, self.back()], None, &question);
            }
            State::Stuck(stuck) => self.show_stuck(&stuck),
            State::Done(outcome) => {
                let page = outcome::page(&outcome, self.flow.done(), &self.known);
                let mut buttons = Vec::new();
                if outcome.is_partial() {
                    let again = Input::Press(Action::TryAgain);
                    buttons.push(self.flow_button(&gettext("Try Again"), again, Style::Plain));
                    for remedy in outcome.portals.iter().filter_map(|portal| portal.remedy.as_ref()) {
                        let others = remedy.actions.iter().filter(|action| **action != Action::TryAgain);
                        for action in others.take(1) {
                            let label = word(action.label());
                            buttons.push(self.flow_button(&label, Input::Press(*action), Style::Plain));
                        }
                    }
                }
                buttons.push(self.flow_button(&gettext("Done"), Input::Close, Style::Suggested));
                self.sheet.show(&page, &buttons, None, &gettext("Connected"));
            }
            State::Closed => {}
        }
    }

    fn show_work(&mut self, work: &iscsi_initiator_model::connect::Work) {
        let is_shown = self.work.as_ref().is_some_and(|(job, ..)| *job == work.job);
        if !is_shown {
            let view = WorkView::new();
            let cancel = self.flow_button(&gettext("Cancel"), Input::Cancel, Style::Plain);
            self.sheet.show(view.widget(), std::slice::from_ref(&cancel), None, &say(&work.title));
            self.work = Some((work.job, view, cancel));
        }
        if let Some((_, view, cancel)) = &self.work {
            view.show(work);
            cancel.set_sensitive(!work.is_cancelling && !work.is_too_late);
        }
    }

    fn show_stuck(&self, stuck: &Stuck) {
        let page = said::remedy(&stuck.remedy, self.flow.done());
        let mut buttons = self.actions(&stuck.remedy);
        buttons.push(self.back());
        self.sheet.show(&page, &buttons, None, &say(&stuck.remedy.sentence));
    }
}

fn input(job: u32, reply: Reply) -> Input {
    match reply {
        Reply::Progress { step, detail } => Input::Progress { job, step, detail },
        Reply::TooLate => Input::TooLate { job },
        Reply::Answer(Ok(Answer::Connect(answer))) => Input::Answered { job, answer: Ok(answer) },
        Reply::Answer(Ok(_)) => {
            let fault = Fault::new(Kind::Failed, "the answer is that of another call");
            Input::Answered { job, answer: Err(fault) }
        }
        Reply::Answer(Err(fault)) => Input::Answered { job, answer: Err(fault) },
    }
}
