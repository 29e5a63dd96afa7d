//! The exit codes: what a script can distinguish.
//! Must not change the meaning of a number: scripts rely on them; numbers are only ever added.

use std::process::{ExitCode, Termination};

use iscsi_initiator_dbus::Kind;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotAllowed = 3,
    Authentication = 4,
    Target = 5,
    Portal = 6,
    TimedOut = 7,
    NotFound = 8,
    InUse = 9,
    Backend = 10,
    Partly = 11,
    NoDaemon = 12,
    Problems = 13,
    /// 128 and the signal's number, as a shell counts.
    Hangup = 129,
    Interrupted = 130,
    Terminated = 143,
}

impl Exit {
    /// Those that the help and the man page list.
    pub(crate) const LISTED: [Self; 14] = [
        Self::Done,
        Self::Failed,
        Self::Usage,
        Self::NotAllowed,
        Self::Authentication,
        Self::Target,
        Self::Portal,
        Self::TimedOut,
        Self::NotFound,
        Self::InUse,
        Self::Backend,
        Self::Partly,
        Self::NoDaemon,
        Self::Problems,
    ];

    /// Several things failed, each with a D-Bus error name: the most telling reason counts.
    pub(crate) fn most_telling<'a>(errors: impl IntoIterator<Item = &'a str>) -> Self {
        errors
            .into_iter()
            .map(|error| error.parse().unwrap_or(Kind::Failed))
            .min_by_key(|kind| kind.rank())
            .unwrap_or(Kind::Failed)
            .into()
    }

    /// The number that a shell sees.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// What the number says, in the help and in the man page.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done, or already so",
            Self::Failed => "failed for a reason not listed here",
            Self::Usage => "wrong arguments; nothing was touched",
            Self::NotAllowed => {
                "not allowed by polkit, its dialog was dismissed, or there was no way to ask for a password"
            }
            Self::Authentication => "the target refused the initiator name, the CHAP user or the secret",
            Self::Target => "the target was not found, is unavailable or refused, or a LUN is another disk",
            Self::Portal => "the portal could not be reached",
            Self::TimedOut => "timed out",
            Self::NotFound => "no such node, or not logged in",
            Self::InUse => "disks are in use, the target is held, or another call is working on it",
            Self::Backend => "open-iscsi or multipath is missing, stopped or wrongly configured",
            Self::Partly => "partly done: some portals failed, or do not accept a session that they had",
            Self::NoDaemon => "the daemon could not be reached on the system bus",
            Self::Problems => "doctor found something that failed or needs attention",
            Self::Hangup | Self::Interrupted | Self::Terminated => "ended by a signal",
        }
    }

    /// The end of `--help`.
    pub(crate) fn help() -> String {
        let mut text = String::from("Exit codes:\n");
        for exit in Self::LISTED {
            text.push_str(&format!("  {:>3}  {}\n", exit.code(), exit.meaning()));
        }
        text.push_str("  128 + N  ended by signal N; 130 also if an interrupt cancelled the command");
        text
    }
}

impl From<Kind> for Exit {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::AccessDenied | Kind::InteractiveAuthorizationRequired | Kind::AuthenticationDismissed => {
                Self::NotAllowed
            }
            Kind::InvalidArgs => Self::Usage,
            Kind::ChapRejected | Kind::MutualChapFailed | Kind::InitiatorNotAllowed => Self::Authentication,
            Kind::TargetNotFound | Kind::TargetUnavailable | Kind::TargetRejected | Kind::LunChanged => {
                Self::Target
            }
            Kind::PortalUnreachable => Self::Portal,
            Kind::TimedOut => Self::TimedOut,
            Kind::NoSuchNode | Kind::NotLoggedIn => Self::NotFound,
            Kind::InUse | Kind::Busy => Self::InUse,
            Kind::BackendUnavailable | Kind::InvalidConfiguration => Self::Backend,
            Kind::Cancelled => Self::Interrupted,
            // A kind that is newer than this program, too.
            _ => Self::Failed,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_failure_has_its_documented_number() {
        let numbers: Vec<_> = Kind::ALL.iter().map(|&kind| (kind.short(), Exit::from(kind).code())).collect();
        assert_eq!(
            numbers,
            [
                ("AccessDenied", 3),
                ("InteractiveAuthorizationRequired", 3),
                ("InvalidArgs", 2),
                ("ChapRejected", 4),
                ("InitiatorNotAllowed", 4),
                ("TargetNotFound", 5),
                ("TargetUnavailable", 5),
                ("TargetRejected", 5),
                ("MutualChapFailed", 4),
                ("PortalUnreachable", 6),
                ("TimedOut", 7),
                ("NoSuchNode", 8),
                ("NotLoggedIn", 8),
                ("InUse", 9),
                ("Busy", 9),
                ("BackendUnavailable", 10),
                ("InvalidConfiguration", 10),
                ("LunChanged", 5),
                ("Cancelled", 130),
                ("AuthenticationDismissed", 3),
                ("Failed", 1),
            ]
        );
    }

    #[test]
    fn the_most_telling_reason_gives_the_number() {
        let telling = |errors: &[&str]| Exit::most_telling(errors.iter().copied());
        assert_eq!(telling(&[Kind::TimedOut.name(), Kind::ChapRejected.name()]), Exit::Authentication);
        assert_eq!(telling(&["com.example.Error.New", Kind::PortalUnreachable.name()]), Exit::Portal);
        for unknown in ["", "com.example.Error.New"] {
            assert_eq!(telling(&[unknown]), Exit::Failed);
        }
    }

    #[test]
    fn the_man_page_lists_the_same_numbers_and_meanings() {
        let page = include_str!("../../../docs/man/iscsictl.1");
        for exit in Exit::LISTED {
            let entry = format!(".It {}\n{}\n", exit.code(), exit.meaning());
            assert!(page.contains(&entry), "{entry}");
        }
    }
}
