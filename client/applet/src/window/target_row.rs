//! A target in the list: its state, its short name, one sentence.

use std::cell::RefCell;

use gtk::{accessible::Property, glib, prelude::*, subclass::prelude::*};
use iscsi_initiator_model::{health::Level, overview::Target};

use super::look;
use crate::text::say;

/// What is shown: the state, the title, the sentence and the whole name.
type Shown = (Level, String, String, String);

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "target_row.ui")]
    pub(in crate::window) struct TargetRow {
        #[template_child]
        pub(super) icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) title: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) sentence: TemplateChild<gtk::Label>,
        /// Of most targets nothing is new.
        pub(super) shown: RefCell<Option<Shown>>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for TargetRow {
        const NAME: &'static str = "IscsiTargetRow";
        type Type = super::TargetRow;
        type ParentType = gtk::ListBoxRow;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for TargetRow {}
    impl WidgetImpl for TargetRow {}
    impl ListBoxRowImpl for TargetRow {}
}

glib::wrapper! {
    /// A target in the list.
    pub(super) struct TargetRow(ObjectSubclass<imp::TargetRow>)
        @extends gtk::ListBoxRow, gtk::Widget,
        @implements gtk::Accessible, gtk::Actionable, gtk::Buildable, gtk::ConstraintTarget;
}

impl TargetRow {
    pub(super) fn new() -> Self {
        glib::Object::new()
    }

    pub(super) fn show(&self, target: &Target) {
        let parts = self.imp();
        let sentence = say(&target.sentence);
        let wanted = Some((target.level, target.title.clone(), sentence.clone(), target.name.clone()));
        if *parts.shown.borrow() == wanted {
            return;
        }
        parts.shown.replace(wanted);
        look::show(&parts.icon, target.level);
        parts.title.set_label(&target.title);
        parts.sentence.set_label(&sentence);
        self.set_tooltip_text(Some(&target.name));
        self.update_property(&[Property::Label(&format!("{}, {sentence}", target.title))]);
    }
}
