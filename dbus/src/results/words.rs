//! The words in the answers, and those that this version does not know.

use std::fmt;

use super::list::{Body, Field, write_word};

/// A word of an answer that this version of the crate does not know: a newer daemon's.
///
/// Only reading an answer makes one, so that no daemon built with this crate can send one. It is shown
/// as it came; of more than [`Unknown::MAX`] bytes the beginning, with `…` after it. Where the key is
/// missing it is empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unknown {
    length: u8,
    bytes: [u8; Self::MAX],
}

impl Unknown {
    /// The most bytes that are kept of a word; the longest one known has 17.
    pub const MAX: usize = 63;

    const NONE: Self = Self { length: 0, bytes: [0; Self::MAX] };

    fn new(word: &str) -> Self {
        const CUT: &str = "…";
        let (kept, end) =
            if word.len() <= Self::MAX { (word.len(), "") } else { (Self::MAX - CUT.len(), CUT) };
        let mut unknown = Self::NONE;
        let mut length = 0;
        let whole = word.char_indices().take_while(|(at, c)| at + c.len_utf8() <= kept);
        let bytes = whole.flat_map(|(_, c)| c.encode_utf8(&mut [0; 4]).as_bytes().to_vec());
        for (slot, byte) in unknown.bytes.iter_mut().zip(bytes.chain(end.bytes())) {
            *slot = byte;
            length += 1;
        }
        Self { length, ..unknown }
    }

    /// The word.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// What stands for a value whose key is missing.
pub(super) trait Absent {
    const ABSENT: Self;
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        ///
        /// Parsing is strict: [`FromStr`](std::str::FromStr) takes the words below and no other.
        /// Reading an answer takes any word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, zbus::Type)]
        #[zbus(signature = "s")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$word_doc])* $word,)+
            /// A word that this version does not know; empty if the key was missing.
            Other(Unknown),
        }

        impl $name {
            /// Every word that this version knows, for tests and help texts.
            pub const ALL: &[Self] = &[$(Self::$word),+];

            /// The word on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$word => $text,)+
                    Self::Other(word) => word.as_str(),
                }
            }

            /// What stands for a word that is missing.
            pub(crate) const fn unknown() -> Self {
                Self::Other(Unknown::NONE)
            }

            fn read(text: &str) -> Self {
                match text {
                    $($text => Self::$word,)+
                    _ => Self::Other(Unknown::new(text)),
                }
            }
        }

        impl Field for $name {
            const SIGNATURE: &'static str = "s";

            fn write(&self, body: &mut Body) {
                write_word(self.as_str(), body);
            }
        }

        impl Absent for $name {
            const ABSENT: Self = Self::unknown();
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;
            /// # Errors
            ///
            /// The known words, joined by `or`, if it is none of them.
            fn from_str(text: &str) -> Result<Self, String> {
                match Self::read(text) {
                    Self::Other(_) => Err([$($text),+].join(" or ")),
                    known => Ok(known),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Word;
                impl serde::de::Visitor<'_> for Word {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a word")
                    }
                    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<$name, E> {
                        Ok($name::read(text))
                    }
                }
                deserializer.deserialize_str(Word)
            }
        }

        impl From<$name> for zbus::Variant<'static> {
            fn from(word: $name) -> Self {
                word.as_str().to_owned().into()
            }
        }
    };
}

words! {
    /// When a node is logged in to without being asked (`node.startup`).
    Startup {
        /// Only when a caller asks.
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
        /// Neither side proves anything.
        None = "none",
        /// The initiator proves that it knows the secret.
        OneWay = "one-way",
        /// Both sides prove it.
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
        /// The session has ended.
        LoggedOut = "logged-out",
        /// There was none: a success.
        NotLoggedIn = "not-logged-in",
        /// The session is still there; `error` and `message` say why.
        Failed = "failed",
    }
}

words! {
    /// What is wrong with a disk or its map. Empty where nothing is.
    Problem {
        /// Disks of several targets have one identifier, or are in one map.
        SeveralTargets = "several-targets",
        /// Disks with one identifier, or in one map, that cannot be one disk.
        UnequalPaths = "unequal-paths",
        /// The LUN is not ready, or not offered any more.
        NoCapacity = "no-capacity",
        /// A LUN with several paths has no multipath map.
        NoMap = "no-map",
    }
}

words! {
    /// What holds a target or its disks.
    HolderKind {
        /// A mounted file system.
        Mount = "mount",
        /// Swap space, on the device itself or in a file on it.
        Swap = "swap",
        /// A file on it, or the device itself, is a loop device.
        Loop = "loop",
        /// It is a member of a mounted btrfs.
        Btrfs = "btrfs",
        /// A logical volume of LVM lies on it.
        LogicalVolume = "logical-volume",
        /// It is open as an encrypted device.
        Encrypted = "encrypted",
        /// It is a path of another multipath map.
        MultipathMap = "multipath-map",
        /// It is a member of a RAID array.
        Raid = "raid",
        /// It is part of a cached device.
        Bcache = "bcache",
        /// Another device of the device mapper lies on it.
        DeviceMapper = "device-mapper",
        /// Another device lies on it.
        Device = "device",
        /// A process has it open or mapped.
        Process = "process",
        /// A process of udev's is looking at it, which ends by itself.
        Udev = "udev",
        /// It is claimed by what the kernel does not name: a file system, a volume manager, a program.
        Claim = "claim",
        /// A process that could not be inspected may have it open.
        Uninspected = "uninspected",
        /// It could not be found out.
        Unknown = "unknown",
        /// This machine runs from the session: not even `force` ends it.
        Boot = "boot",
        /// A lease that was taken with `Hold`.
        Lease = "lease",
    }
}

words! {
    /// Whether a disk can be used, and with which reserve.
    Health {
        /// Every path of its map works.
        Optimal = "optimal",
        /// Some paths of its map work, and some do not.
        Degraded = "degraded",
        /// No path works, and what is read or written waits.
        Queueing = "queueing",
        /// No path works, and what is read or written fails.
        Down = "down",
        /// It works, without a map: with its path the disk is gone.
        Single = "single",
    }
}

words! {
    /// What became of a rescan of one session.
    RescanOutcome {
        /// Its LUNs were scanned.
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
        /// It works, or may work; something about it needs attention.
        Warning = "warning",
        /// This keeps a login from working, or shows a secret; `detail` says what was seen, `hint` what to do.
        Failed = "failed",
        /// Not examined: it does not apply, or something before it failed; `detail` says which.
        Skipped = "skipped",
    }
}

words! {
    /// A step of a call, as the signal `Progress` reports it. The steps of `Diagnose` are its checks, by their
    /// names, which are not listed here.
    Step {
        /// The portal is asked for its targets.
        Discover = "discover",
        /// The nodes that are new are recorded.
        Record = "record",
        /// CHAP is stored in the records.
        SetChap = "set-chap",
        /// Every portal is asked, and those that accept the login are logged in to.
        Login = "login",
        /// What the call had changed before it failed or was cancelled is put back.
        Undo = "undo",
        /// The disks and their maps are waited for.
        Disks = "disks",
        /// It is found out whether anything uses the disks.
        Check = "check",
        /// Cached data is written to the disks.
        Flush = "flush",
        /// The maps are removed. From here on a logout cannot be cancelled.
        Maps = "maps",
        /// The sessions are ended, and what is left of their disks is waited for.
        Logout = "logout",
        /// The sessions are scanned for LUNs.
        Scan = "scan",
        /// The maps get the size of their paths.
        Resize = "resize",
        /// multipath's configuration is written.
        Configure = "configure",
        /// Units are enabled and started, or stopped and disabled.
        Services = "services",
        /// multipathd reads its configuration.
        Reload = "reload",
        /// A part of this machine was examined.
        Examine = "examine",
        /// What is safe to fix is fixed.
        Fix = "fix",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_words_on_the_wire_are_the_contracts() {
        fn check<T: Copy + fmt::Display + fmt::Debug + Into<zbus::Variant<'static>>>(all: &[T], words: &str) {
            let shown: Vec<String> = all.iter().map(ToString::to_string).collect();
            assert_eq!(shown.join(" "), words);
            for &word in all {
                let variant: zbus::Variant<'static> = word.into();
                assert_eq!(variant, zbus::Variant::from(word.to_string()), "{word:?}");
            }
        }
        check(Startup::ALL, "manual automatic onboot");
        check(ChapMode::ALL, "none one-way mutual");
        check(NodeState::ALL, "new known gone");
        check(LoginOutcome::ALL, "logged-in already-logged-in failed");
        check(RescanOutcome::ALL, "rescanned failed");
        check(
            HolderKind::ALL,
            "mount swap loop btrfs logical-volume encrypted multipath-map raid bcache device-mapper device \
             process udev claim uninspected unknown boot lease",
        );
        check(Health::ALL, "optimal degraded queueing down single");
        check(Problem::ALL, "several-targets unequal-paths no-capacity no-map");
        check(LogoutOutcome::ALL, "logged-out not-logged-in failed");
        check(CheckState::ALL, "ok warning failed skipped");
        check(
            Step::ALL,
            "discover record set-chap login undo disks check flush maps logout scan resize configure services \
             reload examine fix",
        );
    }

    #[test]
    fn parsing_takes_the_known_words_only() {
        assert_eq!("automatic".parse(), Ok(Startup::Automatic));
        assert_eq!("sometimes".parse::<Startup>(), Err("manual or automatic or onboot".to_owned()));
        assert!("".parse::<CheckState>().is_err());
    }

    #[test]
    fn a_word_that_is_not_known_is_shown_as_it_came() {
        assert_eq!(NodeState::read("moved").to_string(), "moved");
        assert_eq!(format!("{:?}", NodeState::read("moved")), "Other(\"moved\")");
        assert_eq!(NodeState::read("moved"), NodeState::read("moved"));
        assert_ne!(NodeState::read("moved"), NodeState::read("lost"));
        let longest = "ü".repeat(31) + "x";
        assert_eq!(Unknown::new(&longest).as_str(), longest);
        assert_eq!(Unknown::new(&"ü".repeat(32)).as_str(), "ü".repeat(30) + "…");
    }

    proptest! {
        #[test]
        fn any_word_is_kept_within_its_bound(word in ".{0,200}") {
            let unknown = Unknown::new(&word);
            prop_assert!(unknown.as_str().len() <= Unknown::MAX);
            if word.len() <= Unknown::MAX {
                prop_assert_eq!(unknown.as_str(), word);
            } else {
                let kept = unknown.as_str().strip_suffix('…').unwrap();
                prop_assert!(word.starts_with(kept) && kept.len() >= Unknown::MAX - 6);
            }
        }
    }
}
