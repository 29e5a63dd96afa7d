//! What needs attention, and what to do about it.

use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use iscsi_initiator_model::{health::Level, remedy::Action};

use super::{
    acts::{self, About},
    look,
};
use crate::text::word;

/// What a row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    /// What is wrong.
    pub(super) title: String,
    /// What to do.
    pub(super) advice: String,
    /// The button, and what it is about.
    pub(super) action: Option<(Action, About)>,
}

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "note_row.ui")]
    pub(in crate::window) struct NoteRow {
        #[template_child]
        pub(super) icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) act: TemplateChild<gtk::Button>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for NoteRow {
        const NAME: &'static str = "IscsiNoteRow";
        type Type = super::NoteRow;
        type ParentType = adw::ActionRow;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for NoteRow {}
    impl WidgetImpl for NoteRow {}
    impl ListBoxRowImpl for NoteRow {}
    impl PreferencesRowImpl for NoteRow {}
    impl ActionRowImpl for NoteRow {}
}

glib::wrapper! {
    /// Something that needs attention.
    pub(super) struct NoteRow(ObjectSubclass<imp::NoteRow>)
        @extends adw::ActionRow, adw::PreferencesRow, gtk::ListBoxRow, gtk::Widget,
        @implements gtk::Accessible, gtk::Actionable, gtk::Buildable, gtk::ConstraintTarget;
}

impl NoteRow {
    pub(super) fn new() -> Self {
        glib::Object::new()
    }

    pub(super) fn show(&self, note: &Note) {
        let parts = self.imp();
        look::show(&parts.icon, Level::Attention);
        self.set_title(&note.title);
        self.set_subtitle(&note.advice);
        parts.act.set_visible(note.action.is_some());
        if let Some((action, about)) = &note.action {
            parts.act.set_label(&word(action.label()));
            acts::point(&parts.act, "win.act", &acts::act(*action, about));
        }
    }
}
