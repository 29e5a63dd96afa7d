//! What can be done with a target or a portal as it is.

use super::{
    link::Link,
    target::{Place, Target},
};
use crate::text::{Message, actions};

/// What can be done with a target or a portal: an entry of its menu. Those of a missing [feature](Self::feature) are left
/// out by the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    /// Connect what is not.
    Connect,
    /// Disconnect it, after what uses it was shown.
    Disconnect,
    /// Find out why it does not work.
    Diagnose,
    /// Look for new disks and sizes.
    Rescan,
    /// Change user name and secret.
    ChangeChap,
    /// Forget it, after a question.
    Forget,
}

impl Deed {
    /// What the entry says.
    pub fn label(self) -> Message {
        match self {
            Self::Connect => actions::CONNECT,
            Self::Disconnect => actions::DISCONNECT,
            Self::Diagnose => actions::DIAGNOSE,
            Self::Rescan => actions::RESCAN,
            Self::ChangeChap => actions::CHANGE_CHAP,
            Self::Forget => actions::FORGET,
        }
    }

    /// The feature that a daemon needs for it.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Self::Diagnose => Some("diagnose"),
            Self::Rescan => Some("rescan"),
            Self::Forget => Some("forget"),
            Self::Connect | Self::Disconnect | Self::ChangeChap => None,
        }
    }
}

impl Target {
    /// What can be done with it, the most likely first.
    pub fn deeds(&self) -> Vec<Deed> {
        let has_off = self.places.iter().any(|place| place.session.is_none() && place.node.is_some());
        let has_lost = self.places.iter().any(|place| place.link == Link::Lost);
        let is_of_boot = self.is_of_boot();
        let is_connected = self.is_connected();
        let is_recorded = self.places.iter().any(|place| place.node.is_some());
        [
            (Deed::Diagnose, has_lost || self.is_damaged() || self.level.is_trouble()),
            (Deed::Connect, has_off),
            // A lost target without a session is disconnected to be lost no more.
            (Deed::Disconnect, (is_connected || has_lost) && !is_of_boot),
            (Deed::Rescan, is_connected),
            (Deed::Diagnose, !has_lost && !self.is_damaged() && !self.level.is_trouble()),
            (Deed::ChangeChap, is_recorded),
            (Deed::Forget, is_recorded && !is_connected && !is_of_boot),
        ]
        .into_iter()
        .filter_map(|(deed, is_possible)| is_possible.then_some(deed))
        .collect()
    }
}

impl Place {
    /// What can be done with it, the most likely first.
    pub fn deeds(&self) -> Vec<Deed> {
        let (is_connected, is_recorded) = (self.session.is_some(), self.node.is_some());
        let is_of_boot = self.startup == Some(iscsi_initiator_dbus::results::Startup::Onboot);
        [
            (Deed::Connect, !is_connected),
            (Deed::Disconnect, is_connected && !is_of_boot),
            (Deed::Diagnose, true),
            (Deed::ChangeChap, is_recorded),
            (Deed::Forget, is_recorded && !is_connected && !is_of_boot),
        ]
        .into_iter()
        .filter_map(|(deed, is_possible)| is_possible.then_some(deed))
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        for_tests::{Machine, TARGET},
        memory::Memory,
        overview::overview,
    };

    fn deeds(machine: &Machine) -> Vec<Deed> {
        overview(&machine.model, &Memory::new()).target(TARGET).unwrap().deeds()
    }

    #[test]
    fn what_can_be_done_is_what_the_target_is() {
        use Deed::{ChangeChap, Connect, Diagnose, Disconnect, Forget, Rescan};
        let mut machine = Machine::with(2, 1);
        assert_eq!(deeds(&machine), [Disconnect, Rescan, Diagnose, ChangeChap]);
        machine.cable(TARGET, 2, false);
        assert_eq!(deeds(&machine), [Diagnose, Disconnect, Rescan, ChangeChap]);
        machine.log_out(TARGET);
        assert_eq!(deeds(&machine), [Connect, Diagnose, ChangeChap, Forget]);
        let seen = overview(&machine.model, &Memory::new());
        assert_eq!(seen.targets[0].places[0].deeds(), [Connect, Diagnose, ChangeChap, Forget]);
    }
}
