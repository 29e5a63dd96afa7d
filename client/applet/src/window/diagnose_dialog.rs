//! Finds out why a target does not work: each check as it is done, and what to do about those that fail.

use adw::prelude::*;
use async_channel::Receiver;
use gtk::glib;
use iscsi_initiator_dbus::{Fault, results::Check};
use iscsi_initiator_model::{
    health::Level,
    remedy::{self, Mark, Place, Row, Stage},
    text::checks,
};

use super::{
    acts::About,
    finding_row::FindingRow,
    known::Known,
    said,
    sheet::{Sheet, Style},
};
use crate::{
    bus::{Answer, Client, Reply, Request},
    text::{gettext, say, word},
};

#[derive(Debug)]
enum Event {
    Reply(Reply),
    Again,
    Cancel,
    Close,
}

/// What a button says. A reply is said by no button.
impl Clone for Event {
    fn clone(&self) -> Self {
        match self {
            Self::Again => Self::Again,
            Self::Cancel => Self::Cancel,
            Self::Reply(_) | Self::Close => Self::Close,
        }
    }
}

struct DiagnoseDialog {
    client: Client,
    known: Known,
    about: About,
    sheet: Sheet<Event>,
    job: u32,
    list: gtk::ListBox,
    column: gtk::Box,
}

/// Opens the dialog, and begins.
pub(super) fn open(parent: &impl IsA<gtk::Widget>, client: Client, known: Known, about: About) {
    let (sheet, happened) = Sheet::new(&gettext("Diagnose"), Event::Close);
    sheet.present(parent);
    let (list, column) = (said::boxed_list(), said::column());
    let dialog = DiagnoseDialog { client, known, about, sheet, job: 0, list, column };
    glib::spawn_future_local(dialog.run(happened));
}

impl DiagnoseDialog {
    async fn run(mut self, happened: Receiver<Event>) {
        self.begin();
        while let Ok(event) = happened.recv().await {
            match event {
                Event::Reply(Reply::Progress { step, detail }) => self.step(&step, &detail),
                Event::Reply(Reply::TooLate) => {}
                Event::Reply(Reply::Answer(Ok(Answer::Checks(checks)))) => self.answered(&checks),
                Event::Reply(Reply::Answer(Ok(_))) => {}
                Event::Reply(Reply::Answer(Err(fault))) => self.failed(&fault),
                Event::Again => self.begin(),
                Event::Cancel => self.client.cancel(self.job),
                Event::Close => break,
            }
        }
        // A call that is under way is not waited for.
        self.client.cancel(self.job);
        self.sheet.close();
    }

    fn begin(&mut self) {
        self.job = self.client.jobs().begin();
        let request = Request::Diagnose(self.about.target.clone(), self.about.portal.clone());
        self.sheet.follow(self.client.begin(self.job, request), Event::Reply);
        (self.list, self.column) = (said::boxed_list(), said::column());
        let title = gettext("Looking at everything that a connection needs");
        self.column.append(&said::heading(&title));
        self.list.set_visible(false);
        self.column.append(&self.list);
        let cancel = self.sheet.button(&gettext("Cancel"), Event::Cancel, Style::Plain);
        self.sheet.show(&self.column, &[cancel], None, &title);
    }

    /// A check that is being done; those before it have been done.
    fn step(&self, step: &str, detail: &str) {
        let title = checks::title(step).map_or_else(|| step.to_owned(), word);
        let row = said::row(&title, detail);
        row.add_prefix(&said::spinner());
        self.list.append(&row);
        self.list.set_visible(true);
    }

    fn answered(&self, found: &[Check]) {
        let initiator = self.known.facts().initiator;
        let rows: Vec<Row> =
            found.iter().map(|check| remedy::check(check, &self.about.target, &initiator)).collect();
        let (column, list) = (said::column(), said::boxed_list());
        let worst = rows.iter().map(|row| row.mark).max().unwrap_or(Mark::Good);
        let level = match worst {
            Mark::Bad => Level::Down,
            Mark::Warning => Level::Attention,
            Mark::Good | Mark::Skipped => Level::Well,
        };
        let title = say(&remedy::summary(&rows));
        column.append(&said::marked(level, &said::heading(&title)));
        for row in &rows {
            let shown = FindingRow::new();
            let portal = if row.subject.is_empty() { &self.about.portal } else { &row.subject };
            shown.show(row, &About { target: self.about.target.clone(), portal: portal.clone() });
            // What is wrong is seen at once.
            shown.set_expanded(row.mark == Mark::Bad);
            list.append(&shown);
        }
        column.append(&list);
        self.sheet.show(&column, &self.buttons(), None, &title);
    }

    fn failed(&self, fault: &Fault) {
        let About { target, portal } = self.about.clone();
        let place = Place { stage: Stage::Other, target, portal, ..Place::default() };
        let remedy = remedy::remedy(fault, &place);
        let said = say(&remedy.sentence);
        self.sheet.show(&said::remedy(&remedy, &[]), &self.buttons(), None, &said);
    }

    fn buttons(&self) -> [gtk::Button; 2] {
        [
            self.sheet.button(&gettext("Look Again"), Event::Again, Style::Plain),
            self.sheet.button(&gettext("Close"), Event::Close, Style::Suggested),
        ]
    }
}
