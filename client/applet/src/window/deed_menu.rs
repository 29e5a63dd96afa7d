//! What can be done with a target or a portal, as a menu.

use std::cell::RefCell;

use gtk::{gio, prelude::*};
use iscsi_initiator_model::overview::Deed;

use super::acts::{self, About};
use crate::text::word;

/// A menu that stays open while what it offers is the same.
#[derive(Debug, Default)]
pub(super) struct DeedMenu(RefCell<Option<(Vec<Deed>, About)>>);

impl DeedMenu {
    pub(super) fn show(&self, button: &gtk::MenuButton, deeds: Vec<Deed>, about: About) {
        button.set_visible(!deeds.is_empty());
        let wanted = Some((deeds, about));
        if *self.0.borrow() == wanted {
            return;
        }
        let menu = gio::Menu::new();
        if let Some((deeds, about)) = &wanted {
            for deed in deeds {
                let item = gio::MenuItem::new(Some(&word(deed.label())), None);
                item.set_action_and_target_value(Some("win.do"), Some(&acts::deed(*deed, about)));
                menu.append_item(&item);
            }
        }
        button.set_menu_model(Some(&menu));
        self.0.replace(wanted);
    }
}
