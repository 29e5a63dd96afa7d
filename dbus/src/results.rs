//! The answers: one `a{sv}` an entry, every key always there.
//! It may not change or drop a key: programs outside rely on them; keys are only ever added.

use serde::{Deserialize, Serialize};
use zbus::{DeserializeDict, OwnedVariant, SerializeDict, Type, Variant};

use crate::Fault;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, Type, Variant, OwnedVariant)]
        #[serde(rename_all = "kebab-case")]
        #[zbus(signature = "s", rename_all = "kebab-case")]
        pub enum $name { $($(#[$word_doc])* $word),+ }

        impl $name {
            /// Every word, for tests and help texts.
            pub const ALL: &[Self] = &[$(Self::$word),+];

            /// The word on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$word => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$word),)+
                    _ => Err([$($text),+].join(" or ")),
                }
            }
        }
    };
}

words! {
    /// When a node is logged in to without being asked (`node.startup`).
    Startup {
        /// Only when somebody asks.
        Manual = "manual",
        /// At boot, by open-iscsi's own service.
        Automatic = "automatic",
        /// By the initial ramdisk; never set by this service.
        Onboot = "onboot",
    }
}

words! {
    /// Which authentication a node record asks for.
    ChapMode {
        /// Nobody proves anything.
        None = "none",
        /// The initiator proves that it knows the secret.
        OneWay = "one-way",
        /// Both prove it.
        Mutual = "mutual",
    }
}

words! {
    /// How a node stands after a discovery.
    NodeState {
        /// Listed, and recorded just now.
        New = "new",
        /// Listed, and recorded before; its record was not changed.
        Known = "known",
        /// Recorded by an earlier discovery at this portal, and not listed any more.
        Gone = "gone",
    }
}

words! {
    /// What became of a login at one portal.
    LoginOutcome {
        /// A new session.
        LoggedIn = "logged-in",
        /// There was a session already: a success.
        AlreadyLoggedIn = "already-logged-in",
        /// No session; `error`, `message` and `hint` say why.
        Failed = "failed",
    }
}

words! {
    /// What became of a logout at one portal.
    LogoutOutcome {
        /// The session is gone.
        LoggedOut = "logged-out",
        /// There was none: a success.
        NotLoggedIn = "not-logged-in",
        /// The session is still there; `error` and `message` say why.
        Failed = "failed",
    }
}

words! {
    /// What became of a rescan of one session.
    RescanOutcome {
        /// Its LUNs were looked at.
        Rescanned = "rescanned",
        /// They were not; `error`, `message` and `hint` say why.
        Failed = "failed",
    }
}

words! {
    /// How a check of `Diagnose`, or a finding of `Examine`, ended.
    CheckState {
        /// As it should be.
        Ok = "ok",
        /// It works, or may work; something about it deserves a look.
        Warning = "warning",
        /// This keeps a login from working, or shows a secret; `detail` says what was seen, `hint` what to do.
        Failed = "failed",
        /// Not looked at: it does not apply, or something before it failed; `detail` says which.
        Skipped = "skipped",
    }
}

words! {
    /// A step of `Connect`, as its progress tells it.
    Step {
        /// The portal is asked for its targets.
        Discover = "discover",
        /// The nodes are recorded, those that are new.
        Record = "record",
        /// CHAP goes into the records.
        SetChap = "set-chap",
        /// Every portal is asked, and those that would let us in are logged in to.
        Login = "login",
        /// What the call had changed before it failed is put back.
        Undo = "undo",
    }
}

/// A node: a target at a portal, as `Discover` and `ListNodes` answer it.
#[derive(Clone, Debug, PartialEq, SerializeDict, DeserializeDict, Type, Variant, OwnedVariant)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct Node {
    /// The target's name.
    pub target: String,
    /// Numeric `address:port` or `[v6]:port`.
    pub portal: String,
    /// The target portal group tag, 0 to 65535.
    pub tpgt: u16,
    /// When it is logged in to.
    pub startup: Startup,
    /// What its record asks for.
    pub chap: ChapMode,
    /// How it stands after the discovery.
    pub state: NodeState,
    /// Whether a session is up.
    pub logged_in: bool,
    /// The network card that it is bound to; empty: the routes decide.
    pub interface: String,
}

/// What became of a login at one portal.
#[derive(Clone, Debug, PartialEq, SerializeDict, DeserializeDict, Type, Variant, OwnedVariant)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct Login {
    /// The target's name.
    pub target: String,
    /// Numeric `address:port` or `[v6]:port`.
    pub portal: String,
    /// What became of it.
    pub outcome: LoginOutcome,
    /// The session's number, from 1; 0 if there is none.
    pub sid: u32,
    /// The disks of this session by kernel name (`sda`), in the order of their LUNs.
    pub devices: Vec<String>,
    /// The multipath map over the first disk; empty if there is none.
    pub map: String,
    /// The multipath maps over all of them, in the order of their LUNs.
    pub maps: Vec<String>,
    /// The D-Bus error name; empty on success.
    pub error: String,
    /// What was seen. On success empty, or a remark: no LUN, disks not ready in time, reconnecting.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
}

impl Login {
    /// No session, and why.
    pub fn failed(target: &str, portal: &str, fault: &Fault) -> Self {
        Self {
            target: target.to_owned(),
            portal: portal.to_owned(),
            outcome: LoginOutcome::Failed,
            sid: 0,
            devices: Vec::new(),
            map: String::new(),
            maps: Vec::new(),
            error: fault.error_name().to_owned(),
            message: fault.message().to_owned(),
            hint: fault.next_step().to_owned(),
        }
    }
}

/// What became of a logout at one portal.
#[derive(Clone, Debug, PartialEq, SerializeDict, DeserializeDict, Type, Variant, OwnedVariant)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct Logout {
    /// The target's name.
    pub target: String,
    /// Numeric `address:port` or `[v6]:port`.
    pub portal: String,
    /// What became of it.
    pub outcome: LogoutOutcome,
    /// The D-Bus error name; empty on success.
    pub error: String,
    /// What was seen. On success empty, or what of the session is still there at the deadline.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
}

impl Logout {
    /// What became of it, without an error.
    pub fn done(target: &str, portal: &str, outcome: LogoutOutcome) -> Self {
        Self {
            target: target.to_owned(),
            portal: portal.to_owned(),
            outcome,
            error: String::new(),
            message: String::new(),
            hint: String::new(),
        }
    }

    /// The session is still there, and why.
    pub fn failed(target: &str, portal: &str, fault: &Fault) -> Self {
        Self {
            error: fault.error_name().to_owned(),
            message: fault.message().to_owned(),
            hint: fault.next_step().to_owned(),
            ..Self::done(target, portal, LogoutOutcome::Failed)
        }
    }
}

/// What a rescan found in one session.
#[derive(Clone, Debug, PartialEq, SerializeDict, DeserializeDict, Type, Variant, OwnedVariant)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct Rescan {
    /// The target's name.
    pub target: String,
    /// Numeric `address:port` or `[v6]:port`.
    pub portal: String,
    /// The session's number, from 1.
    pub sid: u32,
    /// What became of it.
    pub outcome: RescanOutcome,
    /// The disks of this session by kernel name (`sda`), in the order of their LUNs.
    pub devices: Vec<String>,
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that have another size than before.
    pub resized: Vec<String>,
    /// Those whose LUN the target does not offer any more: they are still there.
    pub vanished: Vec<String>,
    /// The multipath maps that are new or have another size than before.
    pub maps: Vec<String>,
    /// The D-Bus error name; empty on success.
    pub error: String,
    /// What was seen. On success empty, or what deserves a look.
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
}

impl Rescan {
    /// Nothing found yet.
    pub fn done(target: &str, portal: &str, sid: u32) -> Self {
        Self {
            target: target.to_owned(),
            portal: portal.to_owned(),
            sid,
            outcome: RescanOutcome::Rescanned,
            devices: Vec::new(),
            added: Vec::new(),
            resized: Vec::new(),
            vanished: Vec::new(),
            maps: Vec::new(),
            error: String::new(),
            message: String::new(),
            hint: String::new(),
        }
    }

    /// It was not looked at, and why.
    pub fn failed(target: &str, portal: &str, sid: u32, fault: &Fault) -> Self {
        Self {
            outcome: RescanOutcome::Failed,
            error: fault.error_name().to_owned(),
            message: fault.message().to_owned(),
            hint: fault.next_step().to_owned(),
            ..Self::done(target, portal, sid)
        }
    }
}

/// What `SetupMultipath` changed, or would change.
#[derive(Clone, Debug, Default, PartialEq, SerializeDict, DeserializeDict, Type, Variant, OwnedVariant)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct MultipathChange {
    /// Whether anything is other than before; with `dry-run`, whether anything would be.
    pub changed: bool,
    /// The one configuration file that this service writes.
    pub file: String,
    /// The difference to what the file held, as a unified diff; empty if there is none.
    pub difference: String,
    /// Of multipath-tools, as `0.11.1`.
    pub version: String,
    /// What became of units: `multipathd.service: enabled`, `iscsid.socket: started`.
    pub services: Vec<String>,
    /// What is worth knowing although it worked: a setting that another file overrides.
    pub message: String,
    /// What to do about the message.
    pub hint: String,
}

/// One thing that `Examine` looked at.
#[derive(Clone, Debug, PartialEq, SerializeDict, DeserializeDict, Type, Variant, OwnedVariant)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct Finding {
    /// What was looked at: `secret-files`, `services`, `lun-map`, ….
    pub name: String,
    /// The file, unit, node, session or disk that it is about; empty if it is about all of them.
    pub subject: String,
    /// How it stands; after a fix, how it stands then.
    pub state: CheckState,
    /// What was seen; a sentence without a full stop.
    pub detail: String,
    /// What to do next, with the command; empty if there is nothing to do.
    pub hint: String,
    /// What the option `fix` does about it, in words; empty if it has to be done by hand, or is done.
    pub fix: String,
    /// Whether this call has fixed it.
    pub fixed: bool,
}

/// One thing that `Diagnose` looked at.
#[derive(Clone, Debug, PartialEq, SerializeDict, DeserializeDict, Type, Variant, OwnedVariant)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct Check {
    /// Which: `open-iscsi`, `tcp`, `chap`, ….
    pub name: String,
    /// How it ended.
    pub state: CheckState,
    /// The portal it is about, as `address:port`; empty if it is about this machine.
    pub portal: String,
    /// What was seen; a sentence without a full stop.
    pub detail: String,
    /// What to do next; empty if there is nothing to do.
    pub hint: String,
    /// What `Login` would fail with: the D-Bus error name; empty unless `failed`.
    pub error: String,
}

/// A path: one LUN through one session. A session without a LUN is one entry whose `device` is empty.
#[derive(Clone, Debug, Default, PartialEq, SerializeDict, DeserializeDict, Type, Variant, OwnedVariant)]
#[zbus(signature = "dict", rename_all = "kebab-case")]
pub struct Path {
    /// The target's name.
    pub target: String,
    /// Numeric `address:port` or `[v6]:port`.
    pub portal: String,
    /// The session's number, from 1.
    pub sid: u32,
    /// The kernel's word: `LOGGED_IN`, `FAILED` or `FREE`.
    pub session_state: String,
    /// SCSI host, channel and target number: the H, C and T of H:C:T:L.
    pub host: u32,
    /// See `host`.
    pub channel: u32,
    /// See `host`.
    pub id: u32,
    /// The LUN, the L of H:C:T:L.
    pub lun: u64,
    /// The disk's kernel name (`sda`); empty if the session has no LUN or the LUN is no disk.
    pub device: String,
    /// In bytes.
    pub size: u64,
    /// As the LUN says it; blanks at the ends are dropped.
    pub vendor: String,
    /// As the LUN says it; blanks at the ends are dropped.
    pub model: String,
    /// The SCSI identifier (`naa.…`, `t10.…`).
    pub wwid: String,
    /// The kernel's word: `running`, `blocked`, `transport-offline`, `offline`, ….
    pub device_state: String,
    /// The multipath map's name; empty if there is none.
    pub map: String,
    /// The map's kernel name (`dm-0`).
    pub map_device: String,
    /// multipathd's words: `active`, `failed`, …; empty if multipathd does not run.
    pub dm_state: String,
    /// multipathd's words: `ready`, `faulty`, …; empty if multipathd does not run.
    pub checker_state: String,
    /// The path group, from 1; 0 if unknown.
    pub group: u32,
    /// The path's priority; -1 if unknown.
    pub priority: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_on_the_wire_are_the_contracts() {
        fn check<T: Copy + std::fmt::Debug + PartialEq + Into<Variant<'static>>>(
            all: &[T],
            text: fn(T) -> &'static str,
        ) {
            for &word in all {
                let variant: Variant<'static> = word.into();
                assert_eq!(variant, Variant::from(text(word)), "{word:?}");
            }
        }
        check(Startup::ALL, Startup::as_str);
        check(ChapMode::ALL, ChapMode::as_str);
        check(NodeState::ALL, NodeState::as_str);
        check(LoginOutcome::ALL, LoginOutcome::as_str);
        check(RescanOutcome::ALL, RescanOutcome::as_str);
        check(LogoutOutcome::ALL, LogoutOutcome::as_str);
        check(CheckState::ALL, CheckState::as_str);
        check(Step::ALL, Step::as_str);
    }

    #[test]
    fn a_path_has_exactly_the_keys_and_types_of_the_contract() {
        use zbus::wire::{LE, serialized::Context, to_bytes};
        let bytes = to_bytes(Context::new(LE, 0), &Path::default()).unwrap();
        let (dict, _): (std::collections::BTreeMap<String, OwnedVariant>, _) = bytes.deserialize().unwrap();
        let keys: Vec<(String, String)> =
            dict.iter().map(|(key, value)| (key.clone(), value.value_signature().to_string())).collect();
        let expected = [
            ("channel", "u"),
            ("checker-state", "s"),
            ("device", "s"),
            ("device-state", "s"),
            ("dm-state", "s"),
            ("group", "u"),
            ("host", "u"),
            ("id", "u"),
            ("lun", "t"),
            ("map", "s"),
            ("map-device", "s"),
            ("model", "s"),
            ("portal", "s"),
            ("priority", "i"),
            ("session-state", "s"),
            ("sid", "u"),
            ("size", "t"),
            ("target", "s"),
            ("vendor", "s"),
            ("wwid", "s"),
        ];
        let expected: Vec<(String, String)> = expected.map(|(k, s)| (k.to_owned(), s.to_owned())).to_vec();
        assert_eq!(keys, expected);
    }
}
