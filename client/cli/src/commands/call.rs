//! What each command has at hand, and the options that several commands take.

use iscsi_initiator_dbus::proxy::{InitiatorProxy, Options};
use zbus::Variant;

use crate::{
    args::{Card, Place, Startup, Timeout, Trust, Wait},
    show::Screen,
};

/// What a command has at hand.
pub(super) struct Call {
    pub(super) daemon: InitiatorProxy<'static>,
    pub(super) screen: Screen,
}

/// The options that most methods know; only what was given goes over the bus.
pub(super) fn options(timeout: &Timeout, startup: Option<&Startup>) -> Options<'static> {
    let mut options = startup_option(startup);
    if let Some(seconds) = timeout.seconds {
        options.insert("timeout", seconds.into());
    }
    options
}

pub(super) fn startup_option(startup: Option<&Startup>) -> Options<'static> {
    let mut options = Options::new();
    if let Some(when) = startup.and_then(|startup| startup.when.clone()) {
        options.insert("startup", Variant::from(when));
    }
    options
}

/// The option of what makes nodes.
pub(super) fn card(card: &Card) -> Option<(&'static str, Variant<'static>)> {
    card.name.clone().map(|name| ("interface", Variant::from(name)))
}

/// The option of what brings disks; true is the contract's own choice.
pub(super) fn wait(wait: &Wait) -> Option<(&'static str, Variant<'static>)> {
    wait.no_wait.then(|| ("wait", false.into()))
}

/// The option of what logs in.
pub(super) fn trust(trust: &Trust) -> Option<(&'static str, Variant<'static>)> {
    trust.accept_changed_luns.then(|| ("accept-changed-luns", true.into()))
}

/// The filter of a list.
pub(super) fn filter(place: &Place) -> Options<'static> {
    let pairs = [("target", place.target()), ("portal", place.portal())];
    pairs
        .into_iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(key, text)| (key, Variant::from(text)))
        .collect()
}
