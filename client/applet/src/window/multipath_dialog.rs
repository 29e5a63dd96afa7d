//! Sets multipath up, after the difference was shown.

use adw::prelude::*;
use async_channel::Receiver;
use gtk::glib;
use iscsi_initiator_dbus::{Fault, Kind, results::MultipathChange};
use iscsi_initiator_model::{
    health::Level,
    remedy::{self, Details, Place, Question, Stage},
};

use super::{
    said,
    sheet::{Sheet, Style},
};
use crate::{
    bus::{Answer, Client, Request},
    text::{filled, gettext, say, word},
};

#[derive(Clone, Debug)]
enum Event {
    Look,
    SetUp,
    Close,
}

/// Opens the dialog, which looks at once what would be changed.
pub(super) fn open(parent: &impl IsA<gtk::Widget>, client: Client) {
    let (sheet, happened) = Sheet::new(&gettext("Multipath"), Event::Close);
    sheet.present(parent);
    sheet.tell(Event::Look);
    glib::spawn_future_local(run(sheet, happened, client));
}

async fn run(sheet: Sheet<Event>, happened: Receiver<Event>, client: Client) {
    while let Ok(event) = happened.recv().await {
        let is_dry = match event {
            Event::Look => true,
            Event::SetUp => false,
            Event::Close => break,
        };
        let waiting = gettext("Looking at the configuration");
        let close = sheet.button(&gettext("Close"), Event::Close, Style::Plain);
        sheet.show(&said::heading(&waiting), &[close], None, &waiting);
        match client.call(Request::Multipath { is_dry }).await {
            Ok(Answer::Multipath(change)) if is_dry && change.changed => ask(&sheet, &change),
            Ok(Answer::Multipath(change)) => done(&sheet, &change, is_dry),
            Ok(_) => failed(&sheet, &Fault::new(Kind::Failed, "the answer is that of another call")),
            // The question is asked again where it was dismissed.
            Err(fault) if fault.kind() == Kind::AuthenticationDismissed && !is_dry => sheet.tell(Event::Look),
            Err(fault) if fault.kind() == Kind::AuthenticationDismissed => break,
            Err(fault) => failed(&sheet, &fault),
        }
    }
    sheet.close();
}

fn difference(column: &gtk::Box, change: &MultipathChange) {
    if !change.difference.is_empty() {
        column.append(&said::words(&filled(&gettext("Changes in {file}"), &[("file", &change.file)])));
        let text = said::selectable(&change.difference);
        text.add_css_class("monospace");
        text.add_css_class("caption");
        let frame = gtk::Frame::builder().child(&text).build();
        frame.add_css_class("view");
        said::inset(&text, 12);
        column.append(&frame);
    }
    if !change.services.is_empty() {
        column.append(&said::words(&change.services.join("\n")));
    }
    let (message, hint) = (change.message.clone(), change.hint.clone());
    column.append(&said::details(&Details { error: String::new(), message, hint }));
}

fn ask(sheet: &Sheet<Event>, change: &MultipathChange) {
    let question = Question::set_up_multipath();
    let column = said::column();
    column.append(&said::heading(&say(&question.title)));
    column.append(&said::words(&say(&question.body)));
    difference(&column, change);
    let buttons = [
        sheet.button(&word(question.button), Event::SetUp, Style::Suggested),
        sheet.button(&gettext("Cancel"), Event::Close, Style::Plain),
    ];
    sheet.show(&column, &buttons, None, &say(&question.title));
}

fn done(sheet: &Sheet<Event>, change: &MultipathChange, is_dry: bool) {
    let column = said::column();
    let title = match is_dry {
        true => gettext("Multipath is set up, and nothing has to be changed"),
        false => gettext("Multipath is set up"),
    };
    column.append(&said::marked(Level::Well, &said::heading(&title)));
    difference(&column, change);
    let close = sheet.button(&gettext("Close"), Event::Close, Style::Suggested);
    sheet.show(&column, &[close], None, &title);
}

fn failed(sheet: &Sheet<Event>, fault: &Fault) {
    let place = Place { stage: Stage::Other, ..Place::default() };
    let remedy = remedy::remedy(fault, &place);
    let buttons = [
        sheet.button(&gettext("Try Again"), Event::Look, Style::Suggested),
        sheet.button(&gettext("Close"), Event::Close, Style::Plain),
    ];
    sheet.show(&said::remedy(&remedy, &[]), &buttons, None, &say(&remedy.sentence));
}
