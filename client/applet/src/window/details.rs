//! What the daemon said, in its own words: to be read, selected and copied.

use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use iscsi_initiator_model::remedy;

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "details.ui")]
    pub(in crate::window) struct Details {
        #[template_child]
        pub(super) text: TemplateChild<gtk::Label>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for Details {
        const NAME: &'static str = "IscsiDetails";
        type Type = super::Details;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for Details {}
    impl WidgetImpl for Details {}
    impl BinImpl for Details {}
}

glib::wrapper! {
    /// What the daemon said.
    pub(super) struct Details(ObjectSubclass<imp::Details>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl Details {
    pub(super) fn new() -> Self {
        glib::Object::new()
    }

    /// Shows them; nothing where nothing was said.
    pub(super) fn show(&self, details: &remedy::Details) {
        let lines = [&details.message, &details.hint, &details.error];
        let lines: Vec<&str> =
            lines.into_iter().filter(|line| !line.is_empty()).map(String::as_str).collect();
        self.set_visible(!lines.is_empty());
        self.imp().text.set_label(&lines.join("\n"));
    }
}
