//! Disconnects targets: what uses them is shown first, and what may lose something is asked about once more.

use std::os::unix::fs::MetadataExt;

use adw::prelude::*;
use async_channel::Receiver;
use gtk::glib;
use iscsi_initiator_dbus::{Fault, Kind};
use iscsi_initiator_model::{
    connect::Work,
    disconnect::{Asked, Command, Flow, Input, PortalResult, State, Wanted},
    health::Level,
    overview,
    remedy::{Action, Remedy},
};

use super::{
    acts::{self, About},
    complaint,
    known::Known,
    said,
    sheet::{Sheet, Style},
    work_view::WorkView,
};
use crate::{
    bus::{Answer, Client, Reply, Request},
    text::{gettext, say, word},
};

struct DisconnectDialog {
    parent: gtk::Widget,
    client: Client,
    flow: Flow,
    sheet: Sheet<Input>,
    wanted: Vec<Wanted>,
    work: Option<(u32, WorkView, gtk::Button)>,
}

/// Opens the dialog, which looks at once for what uses the targets.
pub(super) fn open(parent: &impl IsA<gtk::Widget>, client: Client, known: &Known, wanted: Vec<Wanted>) {
    let facts = known.facts();
    let may_force = facts.may_force.is_possible();
    let flow = Flow::new(wanted.clone(), own_uid(), may_force, facts.features, client.jobs());
    let (sheet, happened) = Sheet::new(&gettext("Disconnect"), Input::Close);
    let parent = parent.clone().upcast::<gtk::Widget>();
    sheet.present(&parent);
    sheet.tell(Input::Begin);
    let dialog = DisconnectDialog { parent, client, flow, sheet, wanted, work: None };
    glib::spawn_future_local(dialog.run(happened));
}

/// The person's number: what is theirs in `/proc` is this process. The superuser's, whose are all holds, only if it is so.
fn own_uid() -> u32 {
    std::fs::metadata("/proc/self").map_or(u32::MAX, |process| process.uid())
}

impl DisconnectDialog {
    async fn run(mut self, happened: Receiver<Input>) {
        while let Ok(input) = happened.recv().await {
            match self.flow.step(input) {
                Some(Command::Run { job, call }) => {
                    let replies = self.client.begin(job, Request::Disconnect(call));
                    self.sheet.follow(replies, move |reply| input_of(job, reply));
                }
                Some(Command::Cancel { job }) => self.client.cancel(job),
                Some(Command::Act(action)) => self.act(action),
                None => {}
            }
            match self.flow.state() {
                State::Closed => break,
                State::Done(results) if results.iter().all(|result| !is_odd(result)) => {
                    self.dismiss();
                    complaint::say(&self.parent, &gettext("Disconnected"));
                    break;
                }
                _ => self.show(),
            }
        }
        self.sheet.close();
    }

    /// What was lost of them before is not wanted any more, either.
    fn dismiss(&self) {
        for wanted in self.wanted.iter().filter(|wanted| wanted.portal.is_none()) {
            self.client.dismiss(wanted.target.as_str());
        }
    }

    fn act(&self, action: Action) {
        let target = self.wanted.first().map(|wanted| wanted.target.to_string()).unwrap_or_default();
        if acts::leads_away(action) {
            self.sheet.close();
        }
        acts::activate(&self.parent, action, &About { target, portal: String::new() });
    }

    fn close(&self, label: &str) -> gtk::Button {
        self.sheet.button(label, Input::Close, Style::Plain)
    }

    fn actions<'a>(&self, remedies: impl Iterator<Item = &'a Remedy>) -> Vec<gtk::Button> {
        let mut seen: Vec<Action> = Vec::new();
        for action in remedies.flat_map(|remedy| &remedy.actions) {
            if !seen.contains(action) {
                seen.push(*action);
            }
        }
        let button = |(number, action): (usize, Action)| {
            let style = if number == 0 { Style::Suggested } else { Style::Plain };
            self.sheet.button(&word(action.label()), Input::Press(action), style)
        };
        seen.into_iter().enumerate().map(button).collect()
    }

    fn show(&mut self) {
        let state = self.flow.state().clone();
        if !matches!(state, State::Working(_)) {
            self.work = None;
        }
        match state {
            State::Working(work) => self.show_work(&work),
            State::Asking(asked) => self.show_asked(&asked),
            State::Confirming { question, .. } => {
                let column = said::column();
                column.append(&said::marked(Level::Down, &said::heading(&say(&question.title))));
                column.append(&said::words(&say(&question.body)));
                let yes = self.sheet.button(&word(question.button), Input::Confirm, Style::Destructive);
                let back = self.sheet.button(&gettext("Back"), Input::Cancel, Style::Plain);
                self.sheet.show(&column, &[yes, back], None, &say(&question.title));
            }
            State::Stuck(stuck) => {
                let mut buttons = self.actions(std::iter::once(&stuck.remedy));
                buttons.push(self.close(&gettext("Close")));
                let page = said::remedy(&stuck.remedy, &[]);
                self.sheet.show(&page, &buttons, None, &say(&stuck.remedy.sentence));
            }
            State::Done(results) => self.show_results(&results),
            State::Resting | State::Closed => {}
        }
    }

    fn show_work(&mut self, work: &Work) {
        let is_shown = self.work.as_ref().is_some_and(|(job, ..)| *job == work.job);
        if !is_shown {
            let view = WorkView::new();
            let cancel = self.sheet.button(&gettext("Cancel"), Input::Cancel, Style::Plain);
            self.sheet.show(view.widget(), std::slice::from_ref(&cancel), None, &say(&work.title));
            self.work = Some((work.job, view, cancel));
        }
        if let Some((_, view, cancel)) = &self.work {
            view.show(work);
            cancel.set_sensitive(!work.is_cancelling && !work.is_too_late);
        }
    }

    fn show_asked(&self, asked: &Asked) {
        let column = said::column();
        let title = say(&asked.question.title);
        let level = if asked.uses.is_empty() { Level::Unknown } else { Level::Attention };
        column.append(&said::marked(level, &said::heading(&title)));
        if asked.is_changed {
            column.append(&said::words(&gettext("What uses it is other than before.")));
        }
        column.append(&said::words(&say(&asked.question.body)));
        if !asked.uses.is_empty() {
            let list = said::boxed_list();
            for (place, used) in asked.uses.iter().enumerate() {
                let row = said::row(&say(&used.says.sentence), &say(&used.says.advice));
                row.set_tooltip_text((!used.says.hint.is_empty()).then_some(used.says.hint.as_str()));
                if used.lease.is_some() {
                    let give_up = gettext("Give Up…");
                    let button = self.sheet.button(&give_up, Input::Release(place), Style::Plain);
                    button.set_valign(gtk::Align::Center);
                    row.add_suffix(&button);
                }
                list.append(&row);
            }
            column.append(&list);
        }
        let mut buttons = Vec::new();
        if asked.uses.is_empty() {
            let label = word(asked.question.button);
            buttons.push(self.sheet.button(&label, Input::Disconnect, Style::Suggested));
        } else {
            buttons.push(self.sheet.button(&gettext("Look Again"), Input::Begin, Style::Suggested));
            if asked.can_force {
                let label = gettext("Disconnect Anyway…");
                buttons.push(self.sheet.button(&label, Input::Force, Style::Destructive));
            }
        }
        buttons.push(self.close(&gettext("Cancel")));
        self.sheet.show(&column, &buttons, None, &title);
    }

    fn show_results(&self, results: &[PortalResult]) {
        let column = said::column();
        let has_failed = results.iter().any(|result| result.remedy.is_some());
        let (level, title) = match has_failed {
            true => (Level::Down, gettext("Not everything is disconnected")),
            false => (Level::Well, gettext("Disconnected")),
        };
        column.append(&said::marked(level, &said::heading(&title)));
        for result in results.iter().filter(|result| is_odd(result)) {
            let place = overview::portal(&result.portal);
            let (text, details) = match &result.remedy {
                Some(remedy) => (format!("{place}: {}", say(&remedy.sentence)), &remedy.details),
                None => (place.to_owned(), &result.remark),
            };
            column.append(&said::words(&text));
            column.append(&said::details(details));
        }
        let mut buttons = self.actions(results.iter().filter_map(|result| result.remedy.as_ref()));
        buttons.push(self.close(&gettext("Close")));
        self.sheet.show(&column, &buttons, None, &title);
    }
}

fn is_odd(result: &PortalResult) -> bool {
    result.remedy.is_some() || !result.remark.message.is_empty()
}

fn input_of(job: u32, reply: Reply) -> Input {
    match reply {
        Reply::Progress { step, detail } => Input::Progress { job, step, detail },
        Reply::TooLate => Input::TooLate { job },
        Reply::Answer(Ok(Answer::Disconnect(answer))) => Input::Answered { job, answer: Ok(answer) },
        Reply::Answer(Ok(_)) => {
            let fault = Fault::new(Kind::Failed, "the answer is that of another call");
            Input::Answered { job, answer: Err(fault) }
        }
        Reply::Answer(Err(fault)) => Input::Answered { job, answer: Err(fault) },
    }
}
