//! The reasons for a refusal: the message for the caller, and the word for the log.
//! Must not show callers more than they need: the reasons for failures go to the log.

use std::time::Duration;

use iscsi_initiator_dbus::{Fault, Kind};

use crate::{Action, places::Full};

/// Why there is no grant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// polkit rejected it, for this user or after a wrong password.
    NotAuthorized,
    /// The user closed the dialog.
    Dismissed,
    /// The caller left the bus while the user was prompted: there is no reader for the reply.
    Left,
    /// The user would have to be prompted, and there is no agent to do it.
    NoAgent,
    /// The user was prompted and did not answer in this time.
    Unanswered(Duration),
    /// The user would have to be prompted, and the caller did not allow it.
    Challenge,
    /// Too many prompts are open.
    Busy(Full),
    /// So many checks are waiting for polkit that this one had no turn.
    NoTurn,
    /// polkit could not be asked; the reason is for the log.
    Unavailable(String),
}

impl Refusal {
    /// The outcome in the log.
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::NotAuthorized | Self::NoAgent | Self::Unanswered(_) => "denied",
            Self::Dismissed | Self::Left => "dismissed",
            Self::Challenge => "challenge",
            Self::Busy(_) | Self::NoTurn => "busy",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// The reason in the log, where the outcome does not say it all.
    pub(crate) fn reason(&self) -> Option<&str> {
        match self {
            Self::Left => Some("the caller left"),
            Self::NoAgent => Some("no authentication agent"),
            Self::Unanswered(_) => Some("not answered"),
            Self::NoTurn => Some("no turn at polkit"),
            Self::Unavailable(reason) => Some(reason),
            _ => None,
        }
    }

    /// The error for the caller.
    pub(crate) fn fault(&self, action: Action) -> Fault {
        let denied = |text: String| Fault::new(Kind::AccessDenied, text);
        match self {
            Self::NotAuthorized => denied(format!("polkit refused the call (action {action})")),
            Self::Dismissed => Fault::new(
                Kind::AuthenticationDismissed,
                format!("the dialog that asked for a password was dismissed (action {action})"),
            )
            .hint("try again, and answer it"),
            Self::Left => denied("the caller left the bus".to_owned()),
            Self::NoAgent => {
                let what = "a password is needed, and no authentication agent could ask for it";
                denied(format!("{what} (action {action})")).hint(
                    "call as root, start the program under pkttyagent as iscsictl(1) shows, or let a polkit rule allow \
                     the action",
                )
            }
            Self::Unanswered(limit) => {
                denied(format!("the authentication dialog was not answered within {} s", limit.as_secs()))
            }
            Self::Challenge => Fault::new(
                Kind::InteractiveAuthorizationRequired,
                format!("a password is needed, and the call did not allow asking for one (action {action})"),
            )
            .hint(
                "set the message flag ALLOW_INTERACTIVE_AUTHORIZATION, or let a polkit rule allow the action",
            ),
            Self::Busy(Full::Yours(each)) => {
                Fault::new(Kind::Busy, format!("{each} authentication dialogs of this user are open already"))
                    .hint("answer or close one of them")
            }
            Self::Busy(Full::All(all)) => {
                Fault::new(Kind::Busy, format!("{all} authentication dialogs are open already"))
                    .hint("try again later")
            }
            Self::NoTurn => Fault::new(
                Kind::Busy,
                "too many calls of this user, or of all, are waiting to be authorised".to_owned(),
            )
            .hint("try again later"),
            Self::Unavailable(reason) => denied(
                "polkit could not be asked, so the call was refused".to_owned(),
            )
            .hint(if reason.starts_with("timed out") {
                "it does not answer: systemctl restart polkit"
            } else if reason.contains("UnitMasked") || reason.contains(" masked") {
                "an administrator has masked it; to allow it again: systemctl unmask polkit && systemctl start polkit"
            } else {
                "start it: systemctl start polkit"
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_error_and_its_word_in_the_log() {
        let limit = Duration::from_secs(300);
        for (refusal, kind, outcome, says) in [
            (Refusal::NotAuthorized, Kind::AccessDenied, "denied", "polkit refused"),
            (Refusal::Dismissed, Kind::AuthenticationDismissed, "dismissed", "dismissed"),
            (Refusal::Left, Kind::AccessDenied, "dismissed", "left"),
            (Refusal::NoAgent, Kind::AccessDenied, "denied", "no authentication agent"),
            (Refusal::Unanswered(limit), Kind::AccessDenied, "denied", "within 300 s"),
            (Refusal::Challenge, Kind::InteractiveAuthorizationRequired, "challenge", "did not allow"),
            (Refusal::Busy(Full::Yours(4)), Kind::Busy, "busy", "4 authentication dialogs of this user"),
            (Refusal::Busy(Full::All(32)), Kind::Busy, "busy", "32 authentication dialogs"),
            (Refusal::NoTurn, Kind::Busy, "busy", "waiting to be authorised"),
            (
                Refusal::Unavailable("x".into()),
                Kind::AccessDenied,
                "unavailable",
                "polkit could not be asked",
            ),
        ] {
            let fault = refusal.fault(Action::Login);
            assert_eq!((fault.kind(), refusal.outcome()), (kind, outcome));
            assert!(fault.message().contains(says), "{fault}");
        }
    }

    #[test]
    fn the_reason_of_trouble_stays_in_the_log() {
        let refusal = Refusal::Unavailable("NameHasNoOwner: x".into());
        assert_eq!(refusal.reason(), Some("NameHasNoOwner: x"));
        assert!(!refusal.fault(Action::Login).to_string().contains("NameHasNoOwner"));
    }

    #[test]
    fn a_polkit_that_is_stopped_is_to_be_started_and_one_that_hangs_restarted() {
        for (reason, command) in [
            ("org.freedesktop.systemd1.NoSuchUnit: x", ": systemctl start polkit"),
            ("org.freedesktop.systemd1.UnitMasked: x", ": systemctl unmask polkit && systemctl start polkit"),
            (
                "NameHasNoOwner: Unit polkit.service is masked.",
                "systemctl unmask polkit && systemctl start polkit",
            ),
            ("timed out after 20s", "systemctl restart polkit"),
        ] {
            let fault = Refusal::Unavailable(reason.to_owned()).fault(Action::Login);
            assert!(fault.next_step().ends_with(command), "{}", fault.next_step());
        }
    }
}
