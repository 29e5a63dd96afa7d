//! Asks for another initiator name.

use adw::prelude::*;
use iscsi_initiator_dbus::Iqn;
use iscsi_initiator_model::text::forms;

use super::said;
use crate::text::{gettext, word};

/// The name, as the contract takes it; nothing if the person has not given one.
pub(super) async fn ask(parent: &impl IsA<gtk::Widget>, name: &str) -> Option<Iqn> {
    let dialog = adw::AlertDialog::new(
        Some(&gettext("Change the Initiator Name")),
        Some(&gettext("Enter the name that the gateway allows. It counts from the next connection on.")),
    );
    let entry = adw::EntryRow::builder().use_markup(false).activates_default(true).build();
    entry.set_title(&gettext("Initiator Name"));
    entry.set_text(name);
    let (column, list, complaint) = (said::column(), said::boxed_list(), said::words(""));
    complaint.add_css_class("error");
    complaint.set_visible(false);
    list.append(&entry);
    column.append(&list);
    column.append(&complaint);
    dialog.set_extra_child(Some(&column));
    dialog.add_response("cancel", &gettext("Cancel"));
    dialog.add_response("change", &gettext("Change"));
    dialog.set_close_response("cancel");
    dialog.set_default_response(Some("change"));
    dialog.set_response_appearance("change", adw::ResponseAppearance::Suggested);
    let before = name.to_owned();
    let check = {
        let (dialog, complaint) = (dialog.downgrade(), complaint.clone());
        move |entry: &adw::EntryRow| {
            let text = entry.text();
            let is_name = text.trim().parse::<Iqn>().is_ok();
            complaint.set_label(&word(forms::BAD_NAME));
            complaint.set_visible(!is_name && !text.is_empty() && text != before);
            if let Some(dialog) = dialog.upgrade() {
                dialog.set_response_enabled("change", is_name && text.trim() != before);
            }
        }
    };
    check(&entry);
    entry.connect_changed(check);
    let answer = dialog.choose_future(Some(parent)).await;
    if answer != "change" { None } else { entry.text().trim().parse().ok() }
}
