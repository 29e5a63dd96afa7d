//! Every error that a caller can meet, named for what the caller can do about it.
//! Must not hold a secret, nor a tool's raw output.

use std::{fmt, str::FromStr};

use zbus::{
    DBusError, Message,
    message::Header,
    names::{ErrorName, OwnedErrorName},
};

use crate::{constants::ERROR_PREFIX, shell::PROGRAMS};

/// What kind of failure it is: the part of the error name that programs match.
///
/// Kinds are only ever added. A client meets one that it does not know as [`Kind::Failed`], with the
/// name in [`Fault::error_name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// polkit said no, or could not be asked.
    AccessDenied,
    /// polkit would ask a person, but the caller did not allow it.
    InteractiveAuthorizationRequired,
    /// An argument is wrong; the message begins with its name; nothing was touched.
    InvalidArgs,
    /// The target refused user name or secret (login status 02/01).
    ChapRejected,
    /// The target does not accept this initiator name (02/02).
    InitiatorNotAllowed,
    /// The portal does not have that target (02/03; LIO says 03/01 and does not list it).
    TargetNotFound,
    /// The target is there and cannot serve now (03/xx).
    TargetUnavailable,
    /// The target refused for another reason (02/other), or broke the protocol.
    TargetRejected,
    /// The target could not prove that it knows the mutual secret.
    MutualChapFailed,
    /// Connection refused, or no route.
    PortalUnreachable,
    /// The deadline passed.
    TimedOut,
    /// No node record for that target and portal.
    NoSuchNode,
    /// There is no session to act on.
    NotLoggedIn,
    /// Something still uses the disks or the sessions; the message says what.
    InUse,
    /// Another call works on the same target, or too many calls, questions or secrets wait.
    Busy,
    /// A program or daemon below is missing or stopped; the message says which.
    BackendUnavailable,
    /// An open-iscsi file is damaged or not safe to use.
    InvalidConfiguration,
    /// A LUN is another disk than at the last login, or than through another portal.
    LunChanged,
    /// The caller took the call back; what there was before is there again.
    Cancelled,
    /// A person was asked to authenticate, and dismissed the question.
    AuthenticationDismissed,
    /// Anything else.
    Failed,
}

impl Kind {
    /// Every kind, for tests and tables.
    pub const ALL: &[Self] = &[
        Self::AccessDenied,
        Self::InteractiveAuthorizationRequired,
        Self::InvalidArgs,
        Self::ChapRejected,
        Self::InitiatorNotAllowed,
        Self::TargetNotFound,
        Self::TargetUnavailable,
        Self::TargetRejected,
        Self::MutualChapFailed,
        Self::PortalUnreachable,
        Self::TimedOut,
        Self::NoSuchNode,
        Self::NotLoggedIn,
        Self::InUse,
        Self::Busy,
        Self::BackendUnavailable,
        Self::InvalidConfiguration,
        Self::LunChanged,
        Self::Cancelled,
        Self::AuthenticationDismissed,
        Self::Failed,
    ];

    /// The full D-Bus error name; also the value of the results' key `error`.
    pub fn name(self) -> &'static str {
        macro_rules! own {
            ($name:literal) => {
                concat!("org.cloudatlas.IscsiInitiator.Error.", $name)
            };
        }
        match self {
            Self::AccessDenied => "org.freedesktop.DBus.Error.AccessDenied",
            Self::InteractiveAuthorizationRequired => {
                "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
            }
            Self::InvalidArgs => "org.freedesktop.DBus.Error.InvalidArgs",
            Self::ChapRejected => own!("ChapRejected"),
            Self::InitiatorNotAllowed => own!("InitiatorNotAllowed"),
            Self::TargetNotFound => own!("TargetNotFound"),
            Self::TargetUnavailable => own!("TargetUnavailable"),
            Self::TargetRejected => own!("TargetRejected"),
            Self::MutualChapFailed => own!("MutualChapFailed"),
            Self::PortalUnreachable => own!("PortalUnreachable"),
            Self::TimedOut => own!("TimedOut"),
            Self::NoSuchNode => own!("NoSuchNode"),
            Self::NotLoggedIn => own!("NotLoggedIn"),
            Self::InUse => own!("InUse"),
            Self::Busy => own!("Busy"),
            Self::BackendUnavailable => own!("BackendUnavailable"),
            Self::InvalidConfiguration => own!("InvalidConfiguration"),
            Self::LunChanged => own!("LunChanged"),
            Self::Cancelled => own!("Cancelled"),
            Self::AuthenticationDismissed => own!("AuthenticationDismissed"),
            Self::Failed => own!("Failed"),
        }
    }

    /// The last part of the name, for people.
    pub fn short(self) -> &'static str {
        self.name().rsplit('.').next().unwrap_or_default()
    }

    /// How telling a reason is, when several portals fail differently: lower is more telling.
    /// A target that answered and said why is more informative than one that was not reached.
    pub fn rank(self) -> u8 {
        match self {
            Self::Cancelled => 0,
            Self::LunChanged | Self::InitiatorNotAllowed => 1,
            Self::ChapRejected | Self::MutualChapFailed => 2,
            Self::TargetNotFound => 3,
            Self::TargetRejected => 4,
            Self::TargetUnavailable => 5,
            Self::InUse => 6,
            Self::InvalidConfiguration | Self::BackendUnavailable => 7,
            Self::PortalUnreachable => 8,
            Self::TimedOut => 9,
            Self::Failed => 11,
            _ => 10,
        }
    }
}

impl FromStr for Kind {
    type Err = ();
    /// From the full D-Bus error name.
    ///
    /// # Errors
    ///
    /// If it is not one of this contract's.
    fn from_str(name: &str) -> std::result::Result<Self, ()> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name).ok_or(())
    }
}

/// An error as a caller meets it: its kind, a sentence of what was seen, and the next step.
///
/// It never holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Fault {
    kind: Kind,
    message: String,
    hint: String,
    // The two together: clients that read one string get both.
    text: String,
    // The name of an error that is not ours, kept for clients.
    foreign: Option<OwnedErrorName>,
}

/// For the methods of the contract.
pub type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// A failure with a sentence (lower case, no full stop) and no next step.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { kind, text: message.clone(), message, hint: String::new(), foreign: None }
    }

    /// An argument is wrong: names it first.
    pub fn invalid(argument: &str, why: impl fmt::Display) -> Self {
        Self::new(Kind::InvalidArgs, format!("{argument}: {why}"))
    }

    /// The same failure with what to do next (a sentence or a command to run).
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        if !self.hint.is_empty() {
            self.text = format!("{} ({})", self.message, self.hint);
        }
        self
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What was seen.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// What to do next; may be empty.
    pub fn next_step(&self) -> &str {
        &self.hint
    }

    /// The D-Bus error name, also of an error that is not ours.
    pub fn error_name(&self) -> &str {
        self.foreign.as_ref().map_or(self.kind.name(), |name| name.as_str())
    }
}

impl DBusError for Fault {
    fn create_reply(&self, call: &Header<'_>) -> zbus::Result<Message> {
        // The next step once more on its own: clients that know of it show it apart.
        Message::error(call, self.name()).build(&(self.text.as_str(), self.hint.as_str()))
    }

    fn name(&self) -> ErrorName<'_> {
        ErrorName::from_static_str_unchecked(self.kind.name())
    }

    fn description(&self) -> Option<&str> {
        Some(&self.text)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_name(), self.text)
    }
}

impl std::error::Error for Fault {}

/// The client side: an error reply decoded, or a bus that did not carry the call.
///
/// An error name that is not known makes a [`Kind::Failed`] that keeps the name. If the name is one of
/// this interface's (a newer daemon's), message and hint are kept as they came; any other name also
/// begins the message.
impl From<zbus::Error> for Fault {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, text, reply) => {
                let parts = reply.body().deserialize::<(String, String)>();
                let (text, hint) = parts.unwrap_or_else(|_| (text.unwrap_or_default(), String::new()));
                let kind = name.as_str().parse::<Kind>();
                let is_ours = kind.is_ok() || name.starts_with(ERROR_PREFIX);
                let message = match text.strip_suffix(&format!(" ({hint})")) {
                    Some(message) if !hint.is_empty() => message,
                    _ => &text,
                };
                let fault = if is_ours {
                    Self::new(kind.unwrap_or(Kind::Failed), message)
                } else {
                    Self::new(Kind::Failed, format!("{name}: {message}"))
                };
                Self { foreign: kind.is_err().then(|| name.clone()), ..fault.hint(hint) }
            }
            zbus::Error::FDO(error) => {
                let text = error.description().unwrap_or_default();
                match error.name().as_str().parse() {
                    Ok(kind) => {
                        let (message, hint) = parted(text);
                        Self::new(kind, message).hint(hint)
                    }
                    Err(()) => Self {
                        foreign: OwnedErrorName::try_from(error.name().as_str()).ok(),
                        ..Self::new(Kind::Failed, format!("{}: {text}", error.name()))
                    },
                }
            }
            other => Self {
                foreign: OwnedErrorName::try_from("org.freedesktop.DBus.Error.Disconnected").ok(),
                ..Self::new(Kind::Failed, format!("the system bus: {other}"))
            },
        }
    }
}

/// The message and the next step, where only the two together are known: of an error with a standard name
/// the bus library keeps the first string alone. A next step that is a command is recognized by it.
fn parted(text: &str) -> (&str, &str) {
    let is_command = |part: &str| {
        PROGRAMS.iter().any(|program| part.strip_prefix(program).is_some_and(|rest| rest.starts_with(' ')))
    };
    match text.strip_suffix(')').and_then(|text| text.rsplit_once(" (")) {
        Some((message, hint)) if hint.split(": ").any(is_command) => (message, hint),
        _ => (text, ""),
    }
}

// The prefix is written out in `own!`, because concat! takes literals only; this holds them together.
const _: () = assert!(ERROR_PREFIX.len() == "org.cloudatlas.IscsiInitiator.Error".len());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_step_of_an_error_with_a_standard_name_is_found_by_its_command() {
        let held = "it is held by uid 7 (as root: sudo iscsictl release iqn.a --as 'my (own) x')";
        assert_eq!(
            parted("polkit is down (start it: systemctl start polkit)"),
            ("polkit is down", "start it: systemctl start polkit")
        );
        assert_eq!(parted("no (iscsictl paths)"), ("no", "iscsictl paths"));
        for whole in ["denied (action org.x)", "portal: is missing", "(see: below)", "", held] {
            assert_eq!(parted(whole), (whole, ""));
        }
    }

    #[test]
    fn every_kind_has_a_name_of_its_own_and_is_found_by_it() {
        for &kind in Kind::ALL {
            assert_eq!(kind.name().parse::<Kind>(), Ok(kind));
            assert!(
                kind.name().starts_with(ERROR_PREFIX)
                    || kind.name().starts_with("org.freedesktop.DBus.Error.")
            );
            ErrorName::try_from(kind.name()).unwrap();
        }
    }

    #[test]
    fn a_wrong_argument_is_named_first() {
        let fault = Fault::invalid("options.timeout", "expected u, got s");
        assert_eq!(fault.kind(), Kind::InvalidArgs);
        assert_eq!(fault.to_string(), "options.timeout: expected u, got s");
    }

    #[test]
    fn the_next_step_goes_over_the_bus_with_the_message() {
        let fault = Fault::new(Kind::NoSuchNode, "no node").hint("run iscsictl discover");
        assert_eq!(fault.description(), Some("no node (run iscsictl discover)"));
        assert_eq!((fault.message(), fault.next_step()), ("no node", "run iscsictl discover"));
    }

    fn reply(name: &str, body: &(impl serde::Serialize + zbus::DynamicType)) -> Fault {
        let call = Message::method_call("/x", "X").build(&()).unwrap();
        let reply = Message::error(&call.header(), name).build(body).unwrap();
        Fault::from(zbus::Error::from(reply))
    }

    #[test]
    fn an_error_of_a_newer_daemon_keeps_its_name_and_its_words() {
        let new = format!("{ERROR_PREFIX}.Elsewhere");
        let fault = reply(&new, &("it is not here (try again)", "try again"));
        assert_eq!((fault.kind(), fault.error_name()), (Kind::Failed, new.as_str()));
        assert_eq!((fault.message(), fault.next_step()), ("it is not here", "try again"));
    }

    #[test]
    fn an_error_is_read_however_much_it_holds() {
        let name = Kind::Busy.name();
        let older = reply(name, &"at it");
        assert_eq!((older.kind(), older.message(), older.next_step()), (Kind::Busy, "at it", ""));
        let known = reply(name, &("at it", ""));
        assert_eq!((known.message(), known.next_step()), ("at it", ""));
        for odd in [reply(name, &()), reply(name, &7u32), reply(name, &("", 7u32, vec!["x"]))] {
            assert_eq!(odd.kind(), Kind::Busy);
        }
        let foreign = reply("com.example.Error.New", &"no");
        assert_eq!((foreign.kind(), foreign.error_name()), (Kind::Failed, "com.example.Error.New"));
        assert_eq!(foreign.message(), "com.example.Error.New: no");
    }

    #[test]
    fn the_most_telling_reason_ranks_first() {
        assert!(Kind::ChapRejected.rank() < Kind::PortalUnreachable.rank());
        assert!(Kind::InitiatorNotAllowed.rank() < Kind::TimedOut.rank());
    }
}
