//! Which of a portal's targets.

use adw::prelude::*;
use iscsi_initiator_dbus::Iqn;
use iscsi_initiator_model::{connect::Offer, overview};

use crate::{text::gettext, window::said};

/// The choice.
#[derive(Debug)]
pub(super) struct ChoicePage {
    whole: gtk::Box,
    complaint: gtk::Label,
    rows: Vec<(Iqn, adw::SwitchRow)>,
}

impl ChoicePage {
    pub(super) fn new(offers: &[Offer]) -> Self {
        let (whole, complaint, list) = (said::column(), said::words(""), said::boxed_list());
        complaint.add_css_class("error");
        let mut rows = Vec::new();
        for offer in offers {
            let name = offer.target.as_str();
            let portals: Vec<&str> = offer.portals.iter().map(|portal| overview::portal(portal)).collect();
            let mut about = vec![name.to_owned(), portals.join(", ")];
            if offer.is_connected {
                about.push(gettext("Connected"));
            }
            if offer.has_chap {
                about.push(gettext("with CHAP"));
            }
            let row = adw::SwitchRow::builder().use_markup(false).build();
            row.set_title(overview::short(name));
            row.set_subtitle(&about.join("\n"));
            row.set_subtitle_lines(0);
            list.append(&row);
            rows.push((offer.target.clone(), row));
        }
        whole.append(&said::heading(&gettext("Which targets?")));
        whole.append(&complaint);
        whole.append(&list);
        Self { whole, complaint, rows }
    }

    pub(super) fn widget(&self) -> &gtk::Box {
        &self.whole
    }

    pub(super) fn chosen(&self) -> Vec<Iqn> {
        self.rows.iter().filter(|(_, row)| row.is_active()).map(|(target, _)| target.clone()).collect()
    }

    pub(super) fn complain(&self, text: Option<String>) {
        self.complaint.set_visible(text.is_some());
        self.complaint.set_label(&text.unwrap_or_default());
    }

    /// Where the next key goes.
    pub(super) fn focus(&self) -> Option<gtk::Widget> {
        self.rows.first().map(|(_, row)| row.clone().upcast())
    }
}
