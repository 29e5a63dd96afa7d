//! Changes the user name and the secret of a target.

use adw::prelude::*;
use gtk::glib;
use iscsi_initiator_dbus::Iqn;
use iscsi_initiator_model::connect::{Form, Proof};
use zeroize::Zeroizing;

use super::{complaint, said};
use crate::{
    bus::{Client, Request},
    text::{gettext, say},
};

/// Asks for them, and stores them.
pub(super) fn open(parent: &impl IsA<gtk::Widget>, client: Client, target: Iqn) {
    let parent = parent.clone().upcast::<gtk::Widget>();
    glib::spawn_future_local(async move {
        let Some(proof) = ask(&parent, &target).await else { return };
        match client.call(Request::SetChap(target, proof)).await {
            Ok(_) => complaint::say(&parent, &gettext("Stored: they count from the next connection on.")),
            Err(fault) => complaint::complain(&parent, &fault),
        }
    });
}

async fn ask(parent: &gtk::Widget, target: &Iqn) -> Option<Proof> {
    let dialog = adw::AlertDialog::new(Some(&gettext("User Name and Secret")), Some(target.as_str()));
    let user = adw::EntryRow::builder().use_markup(false).build();
    user.set_title(&gettext("User Name"));
    let secret = adw::PasswordEntryRow::builder().use_markup(false).activates_default(true).build();
    secret.set_title(&gettext("Secret"));
    let (column, list, wrong) = (said::column(), said::boxed_list(), said::words(""));
    wrong.add_css_class("error");
    list.append(&user);
    list.append(&secret);
    column.append(&list);
    column.append(&wrong);
    dialog.set_extra_child(Some(&column));
    dialog.add_response("cancel", &gettext("Cancel"));
    dialog.add_response("store", &gettext("Store"));
    dialog.set_close_response("cancel");
    dialog.set_default_response(Some("store"));
    dialog.set_response_appearance("store", adw::ResponseAppearance::Suggested);
    dialog.set_response_enabled("store", false);
    let read = {
        let (user, secret) = (user.clone(), secret.clone());
        move || Form {
            // Only user name and secret are asked for.
            portal: "localhost".to_owned(),
            user: user.text().to_string(),
            secret: Zeroizing::new(secret.text().to_string()),
            ..Form::default()
        }
    };
    let check = {
        let (dialog, wrong, read) = (dialog.downgrade(), wrong.clone(), read.clone());
        move || {
            let Some(dialog) = dialog.upgrade() else { return };
            let form = read();
            let mistakes = form.check().err().unwrap_or_default();
            let said: Vec<String> = mistakes.iter().map(|mistake| say(&mistake.message)).collect();
            wrong.set_label(&said.join("\n"));
            dialog.set_response_enabled("store", mistakes.is_empty() && form.has_chap());
        }
    };
    let other = check.clone();
    user.connect_changed(move |_| check());
    secret.connect_changed(move |_| other());
    let answer = dialog.choose_future(Some(parent)).await;
    if answer != "store" { None } else { read().check().ok()?.chap }
}
