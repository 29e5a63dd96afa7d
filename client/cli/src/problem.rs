//! A failure of the whole command, as people and programs see it.
//! Must not print, or hold a secret.

use std::fmt;

use iscsi_initiator_dbus::{BUS_NAME, Fault, Kind};
use serde_json::{Value, json};

use crate::exit::Exit;

/// What went wrong, what to do next, and the exit code that says so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) exit: Exit,
    /// A D-Bus error name, also of what this program found out itself.
    pub(crate) error: String,
    pub(crate) message: String,
    pub(crate) hint: String,
}

/// What the bus answers when no process has the name, or the one that had it is gone.
const NO_OWNER: [&str; 6] =
    ["ServiceUnknown", "NameHasNoOwner", "NoReply", "Disconnected", "TimedOut", "NoServer"];

impl Problem {
    fn new(kind: Kind, message: impl fmt::Display, hint: &str) -> Self {
        Self {
            exit: kind.into(),
            error: kind.name().to_owned(),
            message: message.to_string(),
            hint: hint.to_owned(),
        }
    }

    /// Wrong arguments.
    pub(crate) fn usage(message: impl fmt::Display, hint: &str) -> Self {
        Self::new(Kind::InvalidArgs, message, hint)
    }

    /// Something local that should not fail: no pipe, no memory, a full disk.
    pub(crate) fn local(error: impl fmt::Display) -> Self {
        Self::new(Kind::Failed, error, "")
    }

    /// There is no bus.
    pub(crate) fn no_bus(error: &zbus::Error) -> Self {
        Self {
            exit: Exit::NoDaemon,
            error: "org.freedesktop.DBus.Error.NoServer".to_owned(),
            message: format!("cannot reach the system bus: {error}"),
            hint: "start it: systemctl start dbus".to_owned(),
        }
    }

    fn no_daemon(fault: &Fault) -> Self {
        let gone = fault.error_name().ends_with(".NoReply") || fault.error_name().ends_with(".Disconnected");
        let (message, hint) = if gone {
            ("the daemon stopped before it replied".to_owned(), "see its log: journalctl -u iscsi-initiatord")
        } else {
            (
                format!("cannot reach the service {BUS_NAME} on the system bus: {}", fault.message()),
                "start it: systemctl start iscsi-initiatord; if there is no such unit, install the package iscsi-initiatord",
            )
        };
        Self { exit: Exit::NoDaemon, error: fault.error_name().to_owned(), message, hint: hint.to_owned() }
    }

    /// The next step after a login that failed without one: a closer look at this target or portal.
    pub(crate) fn or_diagnose(mut self, what: &str) -> Self {
        let helps = matches!(
            self.exit,
            Exit::Authentication
                | Exit::Target
                | Exit::Portal
                | Exit::TimedOut
                | Exit::Backend
                | Exit::Failed
        );
        if helps && self.hint.is_empty() {
            self.hint = format!("find the cause: iscsictl diagnose {what}");
        }
        self
    }

    /// For a program.
    pub(crate) fn json(&self) -> Value {
        json!({ "error": self.error, "message": self.message, "hint": self.hint })
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        if is_unreachable(fault.error_name()) {
            return Self::no_daemon(&fault);
        }
        let hint = match fault.next_step() {
            "" => own_hint(&fault),
            hint => hint,
        };
        Self { error: fault.error_name().to_owned(), ..Self::new(fault.kind(), fault.message(), hint) }
    }
}

impl From<zbus::Error> for Problem {
    fn from(error: zbus::Error) -> Self {
        Fault::from(error).into()
    }
}

fn is_unreachable(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("org.freedesktop.DBus.Error.") else {
        // systemd could not start the unit that the bus asked for.
        return name.starts_with("org.freedesktop.systemd1.");
    };
    rest.starts_with("Spawn.") || NO_OWNER.contains(&rest)
}

/// The next step where the daemon names none, because it cannot see the user's session.
fn own_hint(fault: &Fault) -> &'static str {
    match fault.kind() {
        Kind::AccessDenied | Kind::InteractiveAuthorizationRequired => not_allowed_hint(is_graphical()),
        _ if fault.error_name() == "org.freedesktop.DBus.Error.UnknownMethod" => {
            "the daemon is older than this program: update it, then: systemctl restart iscsi-initiatord"
        }
        _ => "",
    }
}

fn is_graphical() -> bool {
    ["WAYLAND_DISPLAY", "DISPLAY"]
        .iter()
        .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// polkit asks through an agent of the session. A desktop has one; a text session does not, and one that
/// is started there serves only the process it is given (polkit's get_authentication_agent_for_subject).
fn not_allowed_hint(graphical: bool) -> &'static str {
    if graphical {
        "ask an administrator, or ask to be added to the group iscsi if its polkit rule is installed"
    } else {
        "no program asks for a password in this session: use sudo, or pkttyagent as iscsictl(1) shows; where the polkit \
         rule for the group iscsi is installed, its members need neither"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_keeps_its_name_its_words_and_its_number() {
        let problem =
            Problem::from(Fault::new(Kind::ChapRejected, "the target refused").hint("run set-chap"));
        assert_eq!(problem.exit, Exit::Authentication);
        assert_eq!(
            problem.json(),
            json!({
                "error": "org.cloudatlas.IscsiInitiator.Error.ChapRejected",
                "message": "the target refused",
                "hint": "run set-chap",
            })
        );
    }

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
        for name in
            ["org.freedesktop.DBus.Error.AccessDenied", "org.cloudatlas.IscsiInitiator.Error.TimedOut"]
        {
            assert!(!is_unreachable(name), "{name}");
        }
    }

    #[test]
    fn a_login_that_failed_without_a_next_step_has_a_closer_look_as_its_own() {
        let hint = |fault: Fault| Problem::from(fault).or_diagnose("iqn.a 192.0.2.21:3260").hint;
        let bare = Fault::new(Kind::TimedOut, "no answer");
        assert_eq!(hint(bare.clone()), "find the cause: iscsictl diagnose iqn.a 192.0.2.21:3260");
        assert_eq!(hint(bare.hint("look at the cable")), "look at the cable");
        assert_eq!(hint(Fault::new(Kind::InvalidArgs, "options.timeout: must be 1 to 600 seconds")), "");
    }

    #[test]
    fn a_refused_user_learns_what_to_do() {
        let problem = Problem::from(Fault::new(Kind::AccessDenied, "not allowed"));
        assert_eq!(problem.exit, Exit::NotAllowed);
        assert!(problem.hint.contains("group iscsi"));
        assert!(not_allowed_hint(false).contains("pkttyagent"));
    }
}
