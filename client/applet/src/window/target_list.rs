//! The targets. Which one is chosen and which one is opened, the window's actions `choose` and `open` are told.

use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use iscsi_initiator_model::overview::Target;

use super::{keyed::Keyed, target_row::TargetRow};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "target_list.ui")]
    pub(in crate::window) struct TargetList {
        #[template_child]
        pub(super) list: TemplateChild<gtk::ListBox>,
        pub(super) rows: Keyed<TargetRow>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for TargetList {
        const NAME: &'static str = "IscsiTargetList";
        type Type = super::TargetList;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for TargetList {
        fn constructed(&self) {
            self.parent_constructed();
            let this = self.obj();
            self.list.connect_row_selected(glib::clone!(
                #[weak]
                this,
                move |_, row| this.tell("win.choose", row)
            ));
            self.list.connect_row_activated(glib::clone!(
                #[weak]
                this,
                move |_, row| this.tell("win.open", Some(row))
            ));
        }
    }

    impl WidgetImpl for TargetList {}
    impl BinImpl for TargetList {}
}

glib::wrapper! {
    /// The targets.
    pub(super) struct TargetList(ObjectSubclass<imp::TargetList>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl TargetList {
    /// Shows these.
    pub(super) fn show(&self, targets: &[Target]) {
        let parts = self.imp();
        let items = targets.iter().map(|target| (target.name.clone(), target)).collect();
        parts.rows.update(&parts.list, items, TargetRow::new, |row, target| row.show(target));
    }

    /// Marks a target as the one that is shown, or none.
    pub(super) fn select(&self, target: Option<&str>) {
        let parts = self.imp();
        let row = target.and_then(|target| parts.rows.row(target));
        if parts.list.selected_row().as_ref() != row.as_ref().map(|row| row.upcast_ref::<gtk::ListBoxRow>()) {
            parts.list.select_row(row.as_ref());
        }
    }

    fn tell(&self, action: &str, row: Option<&gtk::ListBoxRow>) {
        let Some(target) = row.and_then(|row| self.imp().rows.key(row.index())) else { return };
        // A list without its window tells nobody.
        let _ = self.activate_action(action, Some(&target.to_variant()));
    }
}
