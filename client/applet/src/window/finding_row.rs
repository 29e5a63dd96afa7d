//! Something that was examined: how it stands, what to do about it, and what the daemon said of it.

use std::cell::RefCell;

use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use iscsi_initiator_model::remedy::{Mark, Row};

use super::{
    acts::{self, About},
    look, said,
};
use crate::text::{gettext, say, word};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "finding_row.ui")]
    pub(in crate::window) struct FindingRow {
        #[template_child]
        pub(super) icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) said: TemplateChild<adw::ActionRow>,
        pub(super) buttons: RefCell<Option<gtk::ListBoxRow>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for FindingRow {
        const NAME: &'static str = "IscsiFindingRow";
        type Type = super::FindingRow;
        type ParentType = adw::ExpanderRow;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for FindingRow {}
    impl WidgetImpl for FindingRow {}
    impl ListBoxRowImpl for FindingRow {}
    impl PreferencesRowImpl for FindingRow {}
    impl ExpanderRowImpl for FindingRow {}
}

glib::wrapper! {
    /// Something that was examined.
    pub(super) struct FindingRow(ObjectSubclass<imp::FindingRow>)
        @extends adw::ExpanderRow, adw::PreferencesRow, gtk::ListBoxRow, gtk::Widget,
        @implements gtk::Accessible, gtk::Actionable, gtk::Buildable, gtk::ConstraintTarget;
}

impl FindingRow {
    pub(super) fn new() -> Self {
        glib::Object::new()
    }

    /// Shows it, with a button for each way out.
    pub(super) fn show(&self, row: &Row, about: &About) {
        let parts = self.imp();
        look::show(&parts.icon, look::of_mark(row.mark));
        self.set_title(&say(&row.title));
        let sentence = row.sentence.as_ref().map(say).unwrap_or_default();
        let about_it = [word(row.mark.word()), row.subject.clone(), sentence];
        let about_it: Vec<String> = about_it.into_iter().filter(|word| !word.is_empty()).collect();
        self.set_subtitle(&about_it.join(" · "));
        let words = [&row.details.message, &row.details.hint];
        let words: Vec<&str> =
            words.into_iter().filter(|line| !line.is_empty()).map(String::as_str).collect();
        self.set_enable_expansion(!words.is_empty() || !row.actions.is_empty());
        parts.said.set_subtitle(&words.join("\n"));
        if let Some(before) = parts.buttons.take() {
            self.remove(&before);
        }
        if row.mark >= Mark::Warning && !row.actions.is_empty() {
            let buttons = buttons(row, about);
            self.add_row(&buttons);
            parts.buttons.replace(Some(buttons));
        }
    }
}

/// The ways out, below each other: their texts are long.
fn buttons(row: &Row, about: &About) -> gtk::ListBoxRow {
    let column = said::column();
    column.set_spacing(6);
    said::inset(&column, 12);
    for action in &row.actions {
        let button = gtk::Button::builder().label(word(action.label())).build();
        acts::point(&button, "win.act", &acts::act(*action, about));
        column.append(&button);
    }
    let shown = gtk::ListBoxRow::builder().child(&column).activatable(false).focusable(false).build();
    shown.update_property(&[gtk::accessible::Property::Label(&gettext("What can be done"))]);
    shown
}
