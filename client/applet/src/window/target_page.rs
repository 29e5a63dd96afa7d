//! A target: its health, paths, disks and portals.
//!
//! | room | what it is |
//! |---|---|
//! | `notes` | what about it needs attention |
//! | `startup` | whether it is connected at startup |

mod notes;
mod startup;

use std::sync::Arc;

use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use iscsi_initiator_dbus::objects::{Id, Object};
use iscsi_initiator_model::overview::{Deed, Place, Target};

use self::startup::Startup;
use super::{
    acts::{self, About},
    deed_menu::DeedMenu,
    diagram::PathDiagram,
    disk_row::DiskRow,
    keyed::Keyed,
    look,
    note_row::{Note, NoteRow},
    portal_row::PortalRow,
    said,
};
use crate::{
    bus::{Client, Snapshot},
    text::{say, word},
};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "target_page.ui")]
    pub(in crate::window) struct TargetPage {
        #[template_child]
        pub(super) title: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) name: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) sentence: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) connect: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) disconnect: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) more: TemplateChild<gtk::MenuButton>,
        #[template_child]
        pub(super) notes: TemplateChild<gtk::ListBox>,
        #[template_child]
        pub(super) diagram: TemplateChild<PathDiagram>,
        #[template_child]
        pub(super) words: TemplateChild<gtk::Label>,
        #[template_child]
        pub(super) disk_group: TemplateChild<adw::PreferencesGroup>,
        #[template_child]
        pub(super) disks: TemplateChild<gtk::ListBox>,
        #[template_child]
        pub(super) portals: TemplateChild<gtk::ListBox>,
        #[template_child]
        pub(super) startup: TemplateChild<adw::SwitchRow>,
        #[template_child]
        pub(super) holds: TemplateChild<adw::ActionRow>,
        pub(super) note_rows: Keyed<NoteRow>,
        pub(super) disk_rows: Keyed<DiskRow>,
        pub(super) portal_rows: Keyed<PortalRow>,
        pub(super) switch: Startup,
        pub(super) menu: DeedMenu,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for TargetPage {
        const NAME: &'static str = "IscsiTargetPage";
        type Type = super::TargetPage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            PathDiagram::ensure_type();
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for TargetPage {}
    impl WidgetImpl for TargetPage {}
    impl BinImpl for TargetPage {}
}

glib::wrapper! {
    /// A target.
    pub(super) struct TargetPage(ObjectSubclass<imp::TargetPage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl TargetPage {
    pub(super) fn set_client(&self, client: Client) {
        let parts = self.imp();
        parts.switch.follow(&parts.startup, client);
    }

    pub(super) fn show(&self, snapshot: &Arc<Snapshot>, target: &Target) {
        let parts = self.imp();
        parts.title.set_label(&said::breakable(&target.title));
        parts.title.update_property(&[gtk::accessible::Property::Label(&target.title)]);
        parts.name.set_label(&target.name);
        parts.name.set_visible(target.name != target.title);
        look::show(&parts.icon, target.level);
        parts.sentence.set_label(&say(&target.sentence));
        self.show_deeds(snapshot, target);
        self.show_notes(notes::of(snapshot, target));
        let words = parts.diagram.show(snapshot, target).join("\n");
        // What is selected stays so while nothing changes.
        if parts.words.label() != words {
            parts.words.set_label(&words);
        }
        self.show_disks(snapshot, target);
        let items = target.places.iter().map(|place| (key(place), place)).collect();
        let fill = |row: &PortalRow, place: &Place| row.show(place, snapshot, &target.name);
        parts.portal_rows.update(&parts.portals, items, PortalRow::new, fill);
        parts.switch.show(&parts.startup, target, snapshot.facts.has("set-startup"));
        parts.holds.set_visible(!target.holds.is_empty());
        parts.holds.set_subtitle(&target.holds.join("\n"));
    }

    /// The next key goes to what can be done, not into the name, which would be marked.
    pub(super) fn focus(&self) {
        let parts = self.imp();
        for button in [&parts.connect, &parts.disconnect] {
            if button.is_visible() {
                button.grab_focus();
                return;
            }
        }
    }

    /// The two most likely are buttons, the rest is in the menu.
    fn show_deeds(&self, snapshot: &Snapshot, target: &Target) {
        let parts = self.imp();
        let mut deeds = target.deeds();
        deeds.retain(|deed| deed.feature().is_none_or(|feature| snapshot.facts.has(feature)));
        let about = About { target: target.name.clone(), portal: String::new() };
        for (button, deed) in [(&parts.connect, Deed::Connect), (&parts.disconnect, Deed::Disconnect)] {
            button.set_visible(deeds.contains(&deed));
            button.set_label(&word(deed.label()));
            acts::point(button, "win.do", &acts::deed(deed, &about));
        }
        deeds.retain(|deed| !matches!(deed, Deed::Connect | Deed::Disconnect));
        parts.menu.show(&parts.more, deeds, about);
    }

    fn show_notes(&self, notes: Vec<Note>) {
        let parts = self.imp();
        parts.notes.set_visible(!notes.is_empty());
        let items = notes.into_iter().map(|note| (format!("{}\n{}", note.title, note.advice), note));
        let fill = |row: &NoteRow, note: Note| row.show(&note);
        parts.note_rows.update(&parts.notes, items.collect(), NoteRow::new, fill);
    }

    fn show_disks(&self, snapshot: &Snapshot, target: &Target) {
        let parts = self.imp();
        let disk = |id: &Id| match snapshot.model.get(id) {
            Some(Object::Disk(disk)) => Some((id.to_string(), disk)),
            _ => None,
        };
        let disks = target.disks.iter().filter_map(disk).collect();
        parts.disk_rows.update(&parts.disks, disks, DiskRow::new, |row, disk| row.show(disk));
        parts.disk_group.set_visible(!target.disks.is_empty());
    }
}

/// What a portal with its session is known by.
fn key(place: &Place) -> String {
    let id = |id: &Option<Id>| id.as_ref().map(ToString::to_string).unwrap_or_default();
    format!("{} {} {} {}", place.portal, place.interface, id(&place.node), id(&place.session))
}
