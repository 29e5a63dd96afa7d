//! Good or bad, at a glance.

use iscsi_initiator_dbus::results::Health;

use super::level::Level;

/// What a word says at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Neither.
    Neutral,
    /// As it should be.
    Good,
    /// Not as it should be.
    Bad,
}

impl Mood {
    /// Of a disk.
    pub fn of_health(health: Health) -> Self {
        match Level::of_health(health) {
            Level::Well => Self::Good,
            Level::Unknown => Self::Neutral,
            _ => Self::Bad,
        }
    }

    /// Of a session's state, as the kernel calls it.
    pub fn of_state(state: &str) -> Self {
        match state {
            "LOGGED_IN" => Self::Good,
            "FAILED" | "FREE" => Self::Bad,
            _ => Self::Neutral,
        }
    }
}
