//! What each command has at hand.

use std::rc::Rc;

use iscsi_initiator_dbus::{options::PathFilter, proxy::InitiatorProxy};

use crate::{args::Place, show::Screen, signals::Interrupts};

/// What a command has at hand.
pub(super) struct Call {
    pub(super) daemon: InitiatorProxy<'static>,
    pub(super) screen: Screen,
    pub(super) interrupts: Rc<Interrupts>,
}

/// The filter of a list.
pub(super) fn filter(place: &Place) -> PathFilter {
    let mut filter = PathFilter::new();
    filter.target = place.target_name().cloned();
    filter.portal = place.portal_address().cloned();
    filter
}
