//! Says what became of a call that has no dialog of its own.

use gtk::prelude::*;
use iscsi_initiator_dbus::{Fault, Kind};
use iscsi_initiator_model::remedy::{Place, Stage, remedy};

use crate::text;

/// Says something in passing.
pub(super) fn say(widget: &impl IsA<gtk::Widget>, text: &str) {
    // A widget without its window tells nobody.
    let _ = widget.activate_action("win.say", Some(&text.to_variant()));
}

/// Says why it did not work. Who closed the question knows.
pub(super) fn complain(widget: &impl IsA<gtk::Widget>, fault: &Fault) {
    if matches!(fault.kind(), Kind::AuthenticationDismissed | Kind::Cancelled) {
        return;
    }
    let place = Place { stage: Stage::Other, ..Place::default() };
    say(widget, &text::say(&remedy(fault, &place).sentence));
}
