//! Whether a target is connected at startup: the switch, and the call behind it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use adw::prelude::*;
use gtk::glib;
use iscsi_initiator_dbus::{Iqn, results};
use iscsi_initiator_model::overview::Target;

use crate::{
    bus::{Client, Request},
    text::gettext,
    window::complaint,
};

/// The state behind the switch. While a call runs, the switch shows what the person wants; else what is so.
#[derive(Clone, Debug, Default)]
pub(super) struct Startup(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    target: RefCell<Option<Iqn>>,
    /// What is so.
    is_on: Cell<bool>,
    /// It is being set to what is so, not by a person.
    is_filled: Cell<bool>,
    /// The targets that a call runs for.
    running: RefCell<Vec<Iqn>>,
}

impl Startup {
    /// Makes a call when the person turns the switch.
    pub(super) fn follow(&self, row: &adw::SwitchRow, client: Client) {
        let this = self.clone();
        row.connect_active_notify(move |row| {
            if !this.0.is_filled.get() {
                this.turned(row, &client);
            }
        });
    }

    /// Shows what is so.
    pub(super) fn show(&self, row: &adw::SwitchRow, target: &Target, is_possible: bool) {
        let name: Option<Iqn> = target.name.parse().ok();
        let is_running = name.as_ref().is_some_and(|name| self.0.running.borrow().contains(name));
        let has_record = target.places.iter().any(|place| place.node.is_some());
        row.set_visible(is_possible);
        row.set_sensitive(name.is_some() && has_record && !target.is_of_boot() && !is_running);
        row.set_subtitle(&match (target.is_of_boot(), has_record) {
            (true, _) => gettext("This machine starts from it"),
            (_, false) => gettext("Another program has connected it, without a record"),
            _ => String::new(),
        });
        self.0.is_on.set(target.is_automatic() || target.is_of_boot());
        self.0.target.replace(name);
        if !is_running {
            self.fill(row);
        }
    }

    fn fill(&self, row: &adw::SwitchRow) {
        self.0.is_filled.set(true);
        row.set_active(self.0.is_on.get());
        self.0.is_filled.set(false);
    }

    fn turned(&self, row: &adw::SwitchRow, client: &Client) {
        let Some(target) = self.0.target.borrow().clone() else { return };
        let startup = if row.is_active() { results::Startup::Automatic } else { results::Startup::Manual };
        self.0.running.borrow_mut().push(target.clone());
        row.set_sensitive(false);
        let (this, client) = (self.clone(), client.clone());
        glib::spawn_future_local(glib::clone!(
            #[weak]
            row,
            async move {
                let answer = client.call(Request::Startup(target.clone(), startup)).await;
                this.0.running.borrow_mut().retain(|running| *running != target);
                let is_shown = this.0.target.borrow().as_ref() == Some(&target);
                match answer {
                    // The objects say so before the answer comes.
                    Ok(_) if is_shown => this.0.is_on.set(startup == results::Startup::Automatic),
                    Ok(_) => {}
                    Err(fault) => complaint::complain(&row, &fault),
                }
                if is_shown {
                    row.set_sensitive(true);
                    this.fill(&row);
                }
            }
        ));
    }
}
