//! Asks something before it is done.

use adw::prelude::*;
use iscsi_initiator_model::remedy::Question;

use crate::text::{gettext, say, word};

/// Whether the person wants it.
pub(super) async fn ask(parent: &impl IsA<gtk::Widget>, question: &Question) -> bool {
    let dialog = adw::AlertDialog::new(Some(&say(&question.title)), Some(&say(&question.body)));
    dialog.add_response("cancel", &gettext("Cancel"));
    dialog.add_response("do", &word(question.button));
    dialog.set_close_response("cancel");
    let (looks, default) = match question.is_destructive {
        true => (adw::ResponseAppearance::Destructive, "cancel"),
        false => (adw::ResponseAppearance::Suggested, "do"),
    };
    dialog.set_response_appearance("do", looks);
    dialog.set_default_response(Some(default));
    dialog.choose_future(Some(parent)).await == "do"
}
