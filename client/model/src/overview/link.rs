//! Whether a portal is connected.

use iscsi_initiator_dbus::objects::Session;

use crate::text::{Message, states};

/// Whether a portal is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// There is no session.
    Off,
    /// The session works.
    Up,
    /// The session is being made, or has no state that is known.
    Making,
    /// The session has lost its connection, or has been given up since.
    Lost,
}

impl Link {
    /// In a word or two.
    pub fn words(self) -> Message {
        match self {
            Self::Off => states::LINK_OFF,
            Self::Up => states::LINK_UP,
            Self::Making => states::LINK_MAKING,
            Self::Lost => states::LINK_LOST,
        }
    }

    /// Of a session.
    pub fn of(session: &Session) -> Self {
        match session.state.as_str() {
            "LOGGED_IN" => Self::Up,
            // Also before its first login, when it has no disk yet.
            "FREE" if session.disks.is_empty() => Self::Making,
            "FAILED" | "FREE" => Self::Lost,
            _ => Self::Making,
        }
    }
}
