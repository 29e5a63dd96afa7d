//! A disk, with its path to copy.

use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use iscsi_initiator_dbus::objects::Disk;
use iscsi_initiator_model::{health::Level, overview::disk_name, text::units};

use super::{acts, look, names};
use crate::text::{filled, gettext, word};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "disk_row.ui")]
    pub(in crate::window) struct DiskRow {
        #[template_child]
        pub(super) icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) copy: TemplateChild<gtk::Button>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for DiskRow {
        const NAME: &'static str = "IscsiDiskRow";
        type Type = super::DiskRow;
        type ParentType = adw::ActionRow;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for DiskRow {}
    impl WidgetImpl for DiskRow {}
    impl ListBoxRowImpl for DiskRow {}
    impl PreferencesRowImpl for DiskRow {}
    impl ActionRowImpl for DiskRow {}
}

glib::wrapper! {
    /// A disk.
    pub(super) struct DiskRow(ObjectSubclass<imp::DiskRow>)
        @extends adw::ActionRow, adw::PreferencesRow, gtk::ListBoxRow, gtk::Widget,
        @implements gtk::Accessible, gtk::Actionable, gtk::Buildable, gtk::ConstraintTarget;
}

impl DiskRow {
    pub(super) fn new() -> Self {
        glib::Object::new()
    }

    pub(super) fn show(&self, disk: &Disk) {
        let parts = self.imp();
        let level = Level::of_disk(disk);
        look::show(&parts.icon, level);
        let title = [disk_name(disk), &units::size(disk.size)].join("  ");
        self.set_title(title.trim());
        let path = names::path(disk);
        let maker = [disk.vendor.as_str(), disk.model.as_str()].join(" ");
        let about = [word(level.words()), maker.trim().to_owned()];
        let about: Vec<String> = about.into_iter().filter(|word| !word.is_empty()).collect();
        let lines = [Some(about.join(" · ")), path.clone()];
        self.set_subtitle(&lines.into_iter().flatten().collect::<Vec<_>>().join("\n"));
        parts.copy.set_visible(path.is_some());
        acts::point(&parts.copy, "win.copy", &path.unwrap_or_default().to_variant());
        let label = filled(&gettext("Copy the Path of {disk}"), &[("disk", disk_name(disk))]);
        parts.copy.set_tooltip_text(Some(&label));
    }
}
