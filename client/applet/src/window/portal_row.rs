//! A portal and its session.

use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use iscsi_initiator_dbus::{objects::Object, results::ChapMode};
use iscsi_initiator_model::overview::{Deed, Place, portal};

use super::{acts::About, deed_menu::DeedMenu, look};
use crate::{
    bus::Snapshot,
    text::{filled, gettext, word},
};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "portal_row.ui")]
    pub(in crate::window) struct PortalRow {
        #[template_child]
        pub(super) icon: TemplateChild<gtk::Image>,
        #[template_child]
        pub(super) more: TemplateChild<gtk::MenuButton>,
        pub(super) menu: DeedMenu,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for PortalRow {
        const NAME: &'static str = "IscsiPortalRow";
        type Type = super::PortalRow;
        type ParentType = adw::ActionRow;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for PortalRow {}
    impl WidgetImpl for PortalRow {}
    impl ListBoxRowImpl for PortalRow {}
    impl PreferencesRowImpl for PortalRow {}
    impl ActionRowImpl for PortalRow {}
}

glib::wrapper! {
    /// A portal and its session.
    pub(super) struct PortalRow(ObjectSubclass<imp::PortalRow>)
        @extends adw::ActionRow, adw::PreferencesRow, gtk::ListBoxRow, gtk::Widget,
        @implements gtk::Accessible, gtk::Actionable, gtk::Buildable, gtk::ConstraintTarget;
}

impl PortalRow {
    pub(super) fn new() -> Self {
        glib::Object::new()
    }

    pub(super) fn show(&self, place: &Place, snapshot: &Snapshot, target: &str) {
        let (parts, model) = (self.imp(), &snapshot.model);
        look::show(&parts.icon, look::of_link(place.link));
        let mut deeds = place.deeds();
        // What is about the whole target is in its own menu.
        deeds.retain(|deed| !matches!(deed, Deed::ChangeChap | Deed::Forget));
        deeds.retain(|deed| deed.feature().is_none_or(|feature| snapshot.facts.has(feature)));
        let about = About { target: target.to_owned(), portal: place.portal.clone() };
        parts.menu.show(&parts.more, deeds, about);
        let more = filled(&gettext("More for {portal}"), &[("portal", portal(&place.portal))]);
        parts.more.set_tooltip_text(Some(&more));
        self.set_title(portal(&place.portal));
        let mut about = vec![word(place.link.words())];
        if let Some(Object::Session(session)) = place.session.as_ref().and_then(|id| model.get(id)) {
            about.push(filled(&gettext("session {number}"), &[("number", &session.sid.to_string())]));
        }
        if !place.interface.is_empty() {
            about.push(filled(&gettext("through {interface}"), &[("interface", &place.interface)]));
        }
        match place.chap {
            Some(ChapMode::OneWay) => about.push(gettext("with CHAP")),
            Some(ChapMode::Mutual) => about.push(gettext("with mutual CHAP")),
            _ => {}
        }
        if place.node.is_none() {
            about.push(gettext("without a record"));
        }
        self.set_subtitle(&about.join(" · "));
    }
}
