//! Address, CHAP and the rest. A secret is on the screen as dots, and in memory as long as the dialog is open.

use adw::prelude::*;
use async_channel::Sender;
use iscsi_initiator_dbus::{Iqn, results::Startup};
use iscsi_initiator_model::{
    connect::{Field, Form, Mistake},
    health::Level,
    remedy::Details,
    text::Phrase,
};
use zeroize::Zeroizing;

use crate::{
    text::{gettext, say},
    window::said,
};

/// The form.
#[derive(Debug)]
pub(super) struct FormPage {
    whole: gtk::Box,
    above: gtk::Box,
    complaint: gtk::Label,
    portal: adw::EntryRow,
    chap: adw::ExpanderRow,
    user: adw::EntryRow,
    secret: adw::PasswordEntryRow,
    more: adw::ExpanderRow,
    target_user: adw::EntryRow,
    target_secret: adw::PasswordEntryRow,
    discovery_user: adw::EntryRow,
    discovery_secret: adw::PasswordEntryRow,
    interface: adw::EntryRow,
    startup: adw::SwitchRow,
}

impl FormPage {
    pub(super) fn new<E: Clone + 'static>(form: &Form, events: Sender<E>, start: E) -> Self {
        let entry = |title: String, text: &str| {
            let row = adw::EntryRow::builder().use_markup(false).build();
            row.set_title(&title);
            row.set_text(text);
            row
        };
        let hidden = |title: String| {
            let row = adw::PasswordEntryRow::builder().use_markup(false).build();
            row.set_title(&title);
            row
        };
        let expander = |title: String, subtitle: String| {
            let row = adw::ExpanderRow::builder().use_markup(false).build();
            row.set_title(&title);
            row.set_subtitle(&subtitle);
            row.set_subtitle_lines(0);
            row
        };
        let page = Self {
            whole: said::column(),
            above: said::column(),
            complaint: said::words(""),
            portal: entry(gettext("Address of the Gateway"), &form.portal),
            chap: expander(gettext("User Name and Secret"), gettext("If the gateway asks for CHAP")),
            user: entry(gettext("User Name"), &form.user),
            secret: hidden(gettext("Secret")),
            more: expander(gettext("More"), String::new()),
            target_user: entry(gettext("Gateway’s User Name"), &form.target_user),
            target_secret: hidden(gettext("Gateway’s Secret")),
            discovery_user: entry(gettext("User Name for Discovery"), &form.discovery_user),
            discovery_secret: hidden(gettext("Secret for Discovery")),
            interface: entry(gettext("Network Interface"), &form.interface),
            startup: adw::SwitchRow::builder().use_markup(false).build(),
        };
        page.startup.set_title(&gettext("Connect at Startup"));
        page.startup.set_active(form.startup == Some(Startup::Automatic));
        page.assemble(form);
        for row in page.entries() {
            let (events, start) = (events.clone(), start.clone());
            row.connect_entry_activated(move |_| drop(events.try_send(start.clone())));
        }
        page
    }

    fn assemble(&self, form: &Form) {
        let text = match form.targets.first() {
            Some(target) => target.to_string(),
            None => gettext("Name or number, and the port if it is not 3260"),
        };
        let hint = said::words(&text);
        hint.add_css_class("dim-label");
        self.complaint.add_css_class("error");
        self.complaint.set_visible(false);
        self.chap.add_row(&self.user);
        self.chap.add_row(&self.secret);
        for row in [&self.target_user, self.target_secret.upcast_ref(), &self.discovery_user] {
            self.more.add_row(row);
        }
        self.more.add_row(&self.discovery_secret);
        self.more.add_row(&self.interface);
        let list = said::boxed_list();
        list.append(&self.portal);
        list.append(&self.chap);
        list.append(&self.startup);
        list.append(&self.more);
        for part in [self.above.upcast_ref::<gtk::Widget>(), self.complaint.upcast_ref(), list.upcast_ref()] {
            self.whole.append(part);
        }
        self.whole.append(&hint);
    }

    fn entries(&self) -> [&adw::EntryRow; 8] {
        [
            &self.portal,
            &self.user,
            self.secret.upcast_ref(),
            &self.target_user,
            self.target_secret.upcast_ref(),
            &self.discovery_user,
            self.discovery_secret.upcast_ref(),
            &self.interface,
        ]
    }

    fn entry(&self, field: Field) -> &adw::EntryRow {
        match field {
            Field::Portal => &self.portal,
            Field::User => &self.user,
            Field::Secret => self.secret.upcast_ref(),
            Field::TargetUser => &self.target_user,
            Field::TargetSecret => self.target_secret.upcast_ref(),
            Field::DiscoveryUser => &self.discovery_user,
            Field::DiscoverySecret => self.discovery_secret.upcast_ref(),
            Field::Interface => &self.interface,
        }
    }

    pub(super) fn widget(&self) -> &gtk::Box {
        &self.whole
    }

    /// What was typed.
    pub(super) fn read(&self, targets: &[Iqn]) -> Form {
        let text = |row: &adw::EntryRow| row.text().to_string();
        let secret = |row: &adw::PasswordEntryRow| Zeroizing::new(row.text().to_string());
        Form {
            portal: text(&self.portal),
            targets: targets.to_vec(),
            user: text(&self.user),
            secret: secret(&self.secret),
            target_user: text(&self.target_user),
            target_secret: secret(&self.target_secret),
            discovery_user: text(&self.discovery_user),
            discovery_secret: secret(&self.discovery_secret),
            interface: text(&self.interface),
            startup: self.startup.is_active().then_some(Startup::Automatic),
        }
    }

    /// Shows what is wrong, and what a cancelled call said and did.
    pub(super) fn show(
        &self,
        mistakes: &[Mistake],
        focus: Option<Field>,
        note: Option<&Details>,
        done: &[Phrase],
    ) {
        while let Some(child) = self.above.first_child() {
            self.above.remove(&child);
        }
        for line in done {
            self.above.append(&said::marked(Level::Well, &said::words(&say(line))));
        }
        if let Some(note) = note {
            self.above.append(&said::details(note));
        }
        self.above.set_visible(self.above.first_child().is_some());
        let complaint: Vec<String> = mistakes.iter().map(|mistake| say(&mistake.message)).collect();
        self.complaint.set_label(&complaint.join("\n"));
        self.complaint.set_visible(!complaint.is_empty());
        for entry in self.entries() {
            entry.remove_css_class("error");
        }
        for mistake in mistakes {
            self.entry(mistake.field).add_css_class("error");
        }
        for field in mistakes.iter().map(|mistake| mistake.field).chain(focus) {
            match field {
                Field::Portal => {}
                Field::User | Field::Secret => self.chap.set_expanded(true),
                _ => self.more.set_expanded(true),
            }
        }
    }

    pub(super) fn complaint(&self) -> String {
        self.complaint.label().to_string()
    }

    /// Where the next key goes.
    pub(super) fn focus(&self, field: Option<Field>) -> Option<gtk::Widget> {
        Some(self.entry(field.unwrap_or(Field::Portal)).clone().upcast())
    }
}
