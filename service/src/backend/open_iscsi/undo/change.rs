//! A change that can be undone, its backup, and the name of its entry.

use iscsi_initiator_dbus::Iqn;
use serde::{Deserialize, Serialize};

use crate::backend::{
    multipath::memory::Setup,
    open_iscsi::{
        database::{NodeKey, backup::RecordsBackup, login_retries::LoginRetries},
        initiator_name::NameChange,
    },
};

/// A change with its backup. `Debug` shows no content of a file that may hold secrets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Undo {
    /// A record's login retries, lowered for one attempt.
    LoginRetries(LoginRetries),
    /// Records of one target, created or changed.
    Records(RecordsBackup),
    /// The initiator name.
    InitiatorName(NameChange),
    /// A setup of multipath.
    MultipathSetup(Setup),
}

/// The kind of an entry: a part of its file's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    LoginRetries,
    Records,
    InitiatorName,
    MultipathSetup,
}

impl Kind {
    pub(super) const ALL: [Self; 4] =
        [Self::LoginRetries, Self::Records, Self::InitiatorName, Self::MultipathSetup];

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::LoginRetries => "login-retries",
            Self::Records => "records",
            Self::InitiatorName => "initiator-name",
            Self::MultipathSetup => "multipath-setup",
        }
    }
}

impl Undo {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::LoginRetries(_) => Kind::LoginRetries,
            Self::Records(_) => Kind::Records,
            Self::InitiatorName(_) => Kind::InitiatorName,
            Self::MultipathSetup(_) => Kind::MultipathSetup,
        }
    }

    /// The subject of a change, by which the entries about it are found.
    pub(super) fn tag(&self) -> u64 {
        match self {
            Self::LoginRetries(change) => tag_of_node(&change.node),
            Self::Records(backup) => tag_of_target(backup.target()),
            Self::InitiatorName(_) | Self::MultipathSetup(_) => 0,
        }
    }
}

pub(super) fn tag_of_node(node: &NodeKey) -> u64 {
    tag(&node.path())
}

pub(super) fn tag_of_target(target: &Iqn) -> u64 {
    tag(target.as_str())
}

/// FNV-1a: the same in every version. Two subjects with the same tag are distinguished by the
/// content of their entries.
fn tag(text: &str) -> u64 {
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, add)
}
