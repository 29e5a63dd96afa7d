//! Why the daemon cannot be followed.

use iscsi_initiator_dbus::{Fault, Kind};

/// Why the daemon cannot be followed: one page of a client each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The connection to the bus is lost: nothing comes on it any more.
    Bus,
    /// The daemon is not there, and could not be started.
    Gone(Fault),
    /// It is there, and answers another time: `Busy`, `TimedOut`.
    Later(Fault),
    /// It refuses: `AccessDenied` and the like.
    Refused(Fault),
    /// Its version, this one, has no objects.
    Old {
        /// What it says of itself.
        version: String,
    },
}

impl Trouble {
    /// The daemon's error, if there is one.
    pub fn fault(&self) -> Option<&Fault> {
        match self {
            Self::Gone(fault) | Self::Later(fault) | Self::Refused(fault) => Some(fault),
            Self::Bus | Self::Old { .. } => None,
        }
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        if is_unreachable(fault.error_name()) {
            return Self::Gone(fault);
        }
        match fault.kind() {
            Kind::Busy | Kind::TimedOut => Self::Later(fault),
            _ => Self::Refused(fault),
        }
    }
}

/// What the bus answers when no process has the name, or the one that had it is gone.
const NO_OWNER: [&str; 6] =
    ["ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected", "TimedOut", "NoServer"];

/// Whether an error of this name says that the daemon could not be reached, or left before it replied.
pub fn is_unreachable(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("org.freedesktop.DBus.Error.") else {
        // systemd could not start the unit that the bus asked for.
        return name.starts_with("org.freedesktop.systemd1.");
    };
    rest.starts_with("Spawn.") || NO_OWNER.contains(&rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_not_there_is_distinguished_from_one_that_fails() {
        for name in [
            "org.freedesktop.DBus.Error.ServiceUnknown",
            "org.freedesktop.DBus.Error.NoReply",
            "org.freedesktop.DBus.Error.Spawn.ChildExited",
            "org.freedesktop.systemd1.UnitMasked",
        ] {
            assert!(is_unreachable(name), "{name}");
        }
        for &kind in Kind::ALL {
            assert!(!is_unreachable(kind.name()), "{kind:?}");
            let fault = Fault::new(kind, "why");
            let expected = match kind {
                Kind::Busy | Kind::TimedOut => Trouble::Later(fault.clone()),
                _ => Trouble::Refused(fault.clone()),
            };
            assert_eq!(Trouble::from(fault), expected);
        }
    }
}
