//! How to get the service, or permission for it.

use adw::prelude::*;

use crate::text::gettext;

/// What is explained, by the target of the window's action `help`.
pub(super) fn show(topic: &str, parent: &impl IsA<gtk::Widget>) {
    let (heading, body, commands): (_, _, &[&str]) = match topic {
        "access" => (
            gettext("How to Get Access"),
            gettext(
                "An administrator can let you use iSCSI without a password: the example rule allows it to the members of the group “iscsi”. Replace USER by your name, and log in again afterwards.",
            ),
            &[
                "sudo install -m 0644 /usr/share/doc/iscsi-initiatord/50-org.cloudatlas.IscsiInitiator.rules.example /etc/polkit-1/rules.d/50-org.cloudatlas.IscsiInitiator.rules",
                "sudo usermod --append --groups iscsi USER",
            ],
        ),
        _ => (
            gettext("How to Install It"),
            gettext(
                "The service is called iscsi-initiatord. Where your system has a package of that name, install it; otherwise build it from its sources. It is started when it is needed. If it is installed already, its log says why it does not start.",
            ),
            &["journalctl -u iscsi-initiatord"],
        ),
    };
    let dialog = adw::AlertDialog::new(Some(&heading), Some(&body));
    let commands = gtk::Label::builder()
        .label(commands.join("\n"))
        .selectable(true)
        .wrap(true)
        .wrap_mode(gtk::pango::WrapMode::WordChar)
        .xalign(0.0)
        .css_classes(["monospace", "caption"])
        .build();
    dialog.set_extra_child(Some(&commands));
    dialog.add_response("close", &gettext("_Close"));
    dialog.set_close_response("close");
    dialog.present(Some(parent));
}
