//! A call that is running: what is being done, and each step.

use adw::prelude::*;
use iscsi_initiator_model::{connect::Work, health::Level, text::steps};

use super::said;
use crate::text::{say, word};

/// A call that is running.
#[derive(Clone, Debug)]
pub(super) struct WorkView {
    whole: gtk::Box,
    title: gtk::Label,
    steps: gtk::Box,
}

impl WorkView {
    pub(super) fn new() -> Self {
        let whole = said::column();
        let head = gtk::Box::builder().spacing(12).build();
        let spinner = said::spinner();
        let title = said::heading("");
        head.append(&spinner);
        head.append(&title);
        let steps = said::column();
        whole.append(&head);
        whole.append(&steps);
        Self { whole, title, steps }
    }

    pub(super) fn widget(&self) -> &gtk::Box {
        &self.whole
    }

    pub(super) fn show(&self, work: &Work) {
        let title = if work.is_cancelling { word(steps::CANCELLING) } else { say(&work.title) };
        self.title.set_label(&title);
        while let Some(step) = self.steps.first_child() {
            self.steps.remove(&step);
        }
        let last = work.steps.len();
        for (number, step) in (1..).zip(&work.steps) {
            let level = if number == last { Level::Unknown } else { Level::Well };
            let line = said::words(&say(&step.title));
            let row = said::marked(level, &line);
            // The daemon's words, for who wants to know more.
            row.set_tooltip_text((!step.detail.is_empty()).then_some(step.detail.as_str()));
            self.steps.append(&row);
        }
    }
}
