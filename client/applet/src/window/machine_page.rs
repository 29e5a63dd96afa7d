//! This machine: its name, its service, what is wrong with it.

use std::cell::{OnceCell, RefCell};

use adw::{prelude::*, subclass::prelude::*};
use gtk::glib;
use iscsi_initiator_dbus::results::Finding;
use iscsi_initiator_model::remedy::{self, Row};

use super::{
    acts::{self, About},
    complaint,
    finding_row::FindingRow,
    keyed::Keyed,
};
use crate::{
    bus::{Answer, Client, Facts, Request},
    text::{filled, gettext, say},
};

mod imp {
    use super::*;

    #[derive(Debug, Default, gtk::CompositeTemplate)]
    #[template(file = "machine_page.ui")]
    pub(in crate::window) struct MachinePage {
        #[template_child]
        pub(super) initiator: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) copy: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) change: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) multipath: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) version: TemplateChild<adw::ActionRow>,
        #[template_child]
        pub(super) examination: TemplateChild<adw::PreferencesGroup>,
        #[template_child]
        pub(super) spinner: TemplateChild<gtk::Spinner>,
        #[template_child]
        pub(super) examine: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) fix: TemplateChild<gtk::Button>,
        #[template_child]
        pub(super) findings: TemplateChild<gtk::ListBox>,
        pub(super) rows: Keyed<FindingRow>,
        pub(super) client: OnceCell<Client>,
        pub(super) initiator_name: RefCell<String>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for MachinePage {
        const NAME: &'static str = "IscsiMachinePage";
        type Type = super::MachinePage;
        type ParentType = adw::Bin;

        fn class_init(class: &mut Self::Class) {
            class.bind_template();
        }

        fn instance_init(object: &glib::subclass::InitializingObject<Self>) {
            object.init_template();
        }
    }

    impl ObjectImpl for MachinePage {
        fn constructed(&self) {
            self.parent_constructed();
            let page = self.obj();
            for (button, fix) in [(&self.examine, false), (&self.fix, true)] {
                button.connect_clicked(glib::clone!(
                    #[weak]
                    page,
                    move |_| page.examine(fix)
                ));
            }
        }
    }

    impl WidgetImpl for MachinePage {}
    impl BinImpl for MachinePage {}
}

glib::wrapper! {
    /// This machine.
    pub(super) struct MachinePage(ObjectSubclass<imp::MachinePage>)
        @extends adw::Bin, gtk::Widget,
        @implements gtk::Accessible, gtk::Buildable, gtk::ConstraintTarget;
}

impl MachinePage {
    pub(super) fn set_client(&self, client: Client) {
        // Set once, with the window.
        let _ = self.imp().client.set(client);
    }

    pub(super) fn show(&self, facts: &Facts) {
        let parts = self.imp();
        let name = &facts.initiator;
        let none = gettext("None: no gateway can know this machine");
        parts.initiator.set_subtitle(if name.is_empty() { &none } else { name });
        parts.copy.set_visible(!name.is_empty());
        acts::point(&parts.copy, "win.copy", &name.to_variant());
        parts.change.set_sensitive(facts.may_configure.is_possible());
        parts
            .version
            .set_subtitle(&filled(&gettext("iscsi-initiatord {version}"), &[("version", &facts.version)]));
        parts.multipath.set_visible(facts.has("setup-multipath"));
        parts.multipath.set_sensitive(facts.may_configure.is_possible());
        parts.examination.set_visible(facts.has("examine"));
        parts.initiator_name.replace(name.clone());
    }

    /// Examines this machine, and fixes what is safe to fix if it is to.
    pub(super) fn examine(&self, fix: bool) {
        let Some(client) = self.imp().client.get().cloned() else { return };
        self.set_busy(true);
        glib::spawn_future_local(glib::clone!(
            #[weak(rename_to = page)]
            self,
            async move {
                let answer = client.call(Request::Examine { fix }).await;
                page.set_busy(false);
                match answer {
                    Ok(Answer::Findings(findings)) => page.found(&findings),
                    Ok(_) => {}
                    Err(fault) => complaint::complain(&page, &fault),
                }
            }
        ));
    }

    fn set_busy(&self, is_busy: bool) {
        let parts = self.imp();
        parts.spinner.set_visible(is_busy);
        parts.spinner.set_spinning(is_busy);
        parts.examine.set_sensitive(!is_busy);
        parts.fix.set_sensitive(!is_busy);
    }

    /// What is not in order comes first.
    fn found(&self, findings: &[Finding]) {
        let parts = self.imp();
        let initiator = parts.initiator_name.borrow().clone();
        let mut rows: Vec<Row> = findings.iter().map(|one| remedy::finding(one, &initiator)).collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.mark));
        parts.fix.set_visible(findings.iter().any(|finding| !finding.fix.is_empty()));
        let summary = say(&remedy::summary(&rows));
        parts.examination.set_description(Some(&glib::markup_escape_text(&summary)));
        self.announce(&summary, gtk::AccessibleAnnouncementPriority::Medium);
        let items = rows
            .into_iter()
            .enumerate()
            .map(|(number, row)| (format!("{number} {} {}", row.title, row.subject), row));
        let fill = |shown: &FindingRow, row: Row| shown.show(&row, &About::default());
        parts.rows.update(&parts.findings, items.collect(), FindingRow::new, fill);
        parts.findings.set_visible(true);
    }
}
