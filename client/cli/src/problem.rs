//! A failure of the whole command, as people and programs see it.
//! Must not print, or hold a secret.
//!
//! | room | what it is |
//! |---|---|
//! | `allowed` | the way out for who is refused by polkit |
//! | `words` | the words of the bus as those of this program |

mod allowed;
mod words;

use std::fmt;

use iscsi_initiator_dbus::{BUS_NAME, Fault, Kind, hint, shell};
use iscsi_initiator_model::mirror::{Trouble, is_unreachable};
use serde_json::{Value, json};

pub(crate) use self::allowed::Asked;
use crate::exit::Exit;
use crate::language::{self, say};

/// What went wrong, what to do next, and the exit code that says so.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) exit: Exit,
    /// A D-Bus error name, also of what this program found out itself.
    pub(crate) error: String,
    pub(crate) message: String,
    pub(crate) hint: String,
}

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
            message: say!("cannot reach the system bus: {error}", error),
            hint: say!("start it: systemctl start dbus"),
        }
    }

    /// The bus is gone, in the middle of a command that goes on until it is ended.
    fn bus_lost() -> Self {
        Self {
            exit: Exit::NoDaemon,
            error: "org.freedesktop.DBus.Error.Disconnected".to_owned(),
            message: say!("the connection to the system bus was lost"),
            hint: say!("start it: systemctl start dbus"),
        }
    }

    /// A daemon that has no objects.
    fn no_objects(version: &str) -> Self {
        Self {
            exit: Exit::Failed,
            error: "org.freedesktop.DBus.Error.UnknownMethod".to_owned(),
            message: say!("the daemon's version {version} cannot report changes as they happen", version),
            hint: say!("update iscsi-initiatord, and restart it: systemctl restart iscsi-initiatord"),
        }
    }

    fn no_daemon(fault: &Fault) -> Self {
        let gone = fault.error_name().ends_with(".NoReply") || fault.error_name().ends_with(".Disconnected");
        let (message, hint) = if gone {
            (
                say!("the daemon stopped before it replied"),
                say!("see its log: journalctl -u iscsi-initiatord"),
            )
        } else {
            let message = say!(
                "cannot reach the service {name} on the system bus: {why}",
                name = BUS_NAME,
                why = fault.message()
            );
            (message, how_to_start(fault))
        };
        Self { exit: Exit::NoDaemon, error: fault.error_name().to_owned(), message, hint }
    }

    /// The next step after a login that failed without one: a closer look at this target or portal.
    pub(crate) fn or_diagnose(mut self, place: &[&str]) -> Self {
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
            let place = place.iter().copied().filter(|word| !word.is_empty());
            let command = shell::command(["iscsictl", "diagnose"].into_iter().chain(place));
            self.hint = say!("find the cause: {command}", command);
        }
        self
    }

    /// A discovery that failed is not the next step: what is known about the portal is.
    pub(crate) fn not_again(mut self, portal: &str) -> Self {
        let again = hint!("iscsictl discover {PORTAL}", PORTAL = portal);
        if let Some(before) = self.hint.strip_suffix(&again) {
            self.hint = format!("{before}{}", hint!("iscsictl diagnose {PORTAL}", PORTAL = portal));
        }
        self
    }

    /// What to do about a refusal, which the daemon cannot know: who this is, and how they are logged in. What it
    /// knows better, that polkit has to be started or that only root may, is a command of its own. Who dismissed the dialog
    /// knows what to do.
    #[must_use]
    pub(crate) fn with_way_out(mut self, asked: &Asked) -> Self {
        let is_known = self.hint.contains("systemctl ") || self.hint.starts_with("as root: ");
        let is_dismissed = self.error == Kind::AuthenticationDismissed.name();
        if self.exit == Exit::NotAllowed && !is_dismissed && !is_known {
            self.hint = asked.way_out();
        }
        self
    }

    /// Where nothing else is known to help: what the daemon wrote.
    #[must_use]
    pub(crate) fn with_next_step(mut self) -> Self {
        if self.hint.is_empty() {
            self.hint = say!("see its log: journalctl -u iscsi-initiatord");
        }
        self
    }

    /// What to do about a name that is not recorded, where only a recorded one will do.
    #[must_use]
    pub(crate) fn or_list(mut self) -> Self {
        if self.error == Kind::NoSuchNode.name() {
            self.hint = say!("see what is recorded: iscsictl nodes");
        }
        self
    }

    /// Adds what may be the reason for a rejected secret, unless the daemon has said it.
    #[must_use]
    pub(crate) fn because(mut self, why: Option<&str>) -> Self {
        let is_it = self.error == Kind::ChapRejected.name() && !self.message.contains("Ceph");
        if let Some(why) = why.filter(|_| is_it && !self.hint.contains("Ceph")) {
            self.message = format!("{}; {why}", self.message);
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
        let is_older = fault.error_name() == "org.freedesktop.DBus.Error.UnknownMethod";
        let hint = match fault.next_step() {
            "" if is_older => {
                say!(
                    "the daemon is older than this program: update it, and restart it: systemctl restart iscsi-initiatord"
                )
            }
            hint => hint.to_owned(),
        };
        let message = language::failure::failure(&fault, &words::plain(fault.message()));
        Self { error: fault.error_name().to_owned(), ..Self::new(fault.kind(), message, &hint) }
    }
}

impl From<Trouble> for Problem {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Bus => Self::bus_lost(),
            Trouble::Old { version } => Self::no_objects(&version),
            Trouble::Gone(fault) | Trouble::Later(fault) | Trouble::Refused(fault) => fault.into(),
        }
    }
}

impl From<zbus::Error> for Problem {
    fn from(error: zbus::Error) -> Self {
        Fault::from(error).into()
    }
}

/// systemd refuses to start a unit that is masked, whoever asks; the bus passes its error on, or only its words.
fn how_to_start(fault: &Fault) -> String {
    let says = |what: &str| fault.error_name().contains(what) || fault.message().contains(what);
    if says("UnitMasked") || says(" masked") {
        say!("an administrator has masked it; to allow it again: systemctl unmask iscsi-initiatord")
    } else if says("NoSuchUnit") || says("ServiceUnknown") || says("not provided by any .service") {
        say!(
            "install the package iscsi-initiatord, or, if it is installed, start it: systemctl start iscsi-initiatord"
        )
    } else {
        say!("see why it does not start: journalctl -u iscsi-initiatord")
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
    fn a_discovery_that_failed_does_not_lead_to_itself() {
        let six = "[2001:db8::21]:3260";
        for (at, hint, told) in [
            (
                "192.0.2.21:3260",
                "then: iscsictl discover 192.0.2.21:3260",
                "then: iscsictl diagnose 192.0.2.21:3260",
            ),
            (
                six,
                "then: iscsictl discover '[2001:db8::21]:3260'",
                "then: iscsictl diagnose '[2001:db8::21]:3260'",
            ),
            (six, "then: iscsictl discover 192.0.2.21:3260", "then: iscsictl discover 192.0.2.21:3260"),
        ] {
            let fault = Fault::new(Kind::PortalUnreachable, "nothing listens").hint(hint);
            assert_eq!(Problem::from(fault).not_again(at).hint, told);
        }
    }

    #[test]
    fn a_login_that_failed_without_a_next_step_has_a_closer_look_as_its_own() {
        let hint = |fault: Fault| Problem::from(fault).or_diagnose(&["iqn.a", "[2001:db8::21]:3260"]).hint;
        let bare = Fault::new(Kind::TimedOut, "no answer");
        assert_eq!(hint(bare.clone()), "find the cause: iscsictl diagnose iqn.a '[2001:db8::21]:3260'");
        assert_eq!(hint(bare.hint("look at the cable")), "look at the cable");
        assert_eq!(hint(Fault::new(Kind::InvalidArgs, "options.timeout: must be 1 to 600 seconds")), "");
    }

    #[test]
    fn a_refusal_has_the_way_out_of_this_user_unless_the_daemon_knows_better() {
        let typed = ["forget", "iqn.2003-01.com.example:d", "[2001:db8::21]"].map(str::to_owned);
        let asked = Asked::new(true, &typed);
        let hint = |fault: Fault| Problem::from(fault).with_way_out(&asked).hint;
        let sudo =
            "an administrator must do this: sudo iscsictl forget iqn.2003-01.com.example:d '[2001:db8::21]'";
        let denied = Fault::new(Kind::AccessDenied, "polkit refused it");
        assert_eq!(hint(denied.clone()), sudo);
        assert_eq!(
            hint(denied.clone().hint("start the program under pkttyagent as iscsictl(1) shows")),
            sudo
        );
        let root = "as root: sudo iscsictl release iqn.2003-01.com.example:d --as x";
        assert_eq!(hint(denied.clone().hint(root)), root);
        assert_eq!(hint(denied.hint("start it: systemctl start polkit")), "start it: systemctl start polkit");
        assert_eq!(hint(Fault::new(Kind::NoSuchNode, "no node")), "");
    }

    #[test]
    fn a_unit_that_is_masked_is_not_to_be_started() {
        let hint = |name: &str, words: &str| {
            let call = zbus::Message::method_call("/x", "X").build(&()).unwrap();
            let reply = zbus::Message::error(&call.header(), name).build(&words).unwrap();
            Problem::from(zbus::Error::from(reply)).hint
        };
        let unmask = "systemctl unmask iscsi-initiatord";
        assert!(hint("org.freedesktop.systemd1.UnitMasked", "Unit x is masked.").ends_with(unmask));
        let broker = "Could not activate remote peer: unit is masked";
        assert!(hint("org.freedesktop.DBus.Error.NameHasNoOwner", broker).ends_with(unmask));
        let start = "systemctl start iscsi-initiatord";
        assert!(hint("org.freedesktop.DBus.Error.ServiceUnknown", "not provided").ends_with(start));
        assert!(
            hint("org.freedesktop.systemd1.NoSuchUnit", "Unit x not found.")
                .starts_with("install the package")
        );
        let log = "journalctl -u iscsi-initiatord";
        assert!(hint("org.freedesktop.DBus.Error.Spawn.ChildExited", "exited 1").ends_with(log));
    }

    #[test]
    fn the_limits_of_ceph_are_said_once_and_only_for_a_rejected_secret() {
        let why = Some("if this is a Ceph gateway: it accepts only secrets of 12 to 16 characters");
        let message = |fault: Fault| Problem::from(fault).because(why).message;
        assert!(message(Fault::new(Kind::ChapRejected, "no")).contains("Ceph"));
        assert_eq!(message(Fault::new(Kind::ChapRejected, "no").hint("Ceph gateways accept")), "no");
        assert_eq!(message(Fault::new(Kind::TimedOut, "no")), "no");
    }
}
