//! A button.

use crate::text::{Message, actions};

/// What a person can do about something: a button. Each does one thing, which the client carries out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Action {
    /// The same call once more.
    TryAgain,
    /// Ask for another initiator name, call `SetInitiatorName`, then the same call once more.
    ChangeName,
    /// Put the initiator name on the clipboard.
    CopyName,
    /// To the fields of user name and secret.
    EnterChap,
    /// To the fields of the gateway's user name and secret.
    EnterMutualChap,
    /// To the fields of user name and secret for discoveries.
    EnterDiscoveryChap,
    /// To the field of the address.
    ChangeAddress,
    /// List the portal's targets, and let one be chosen.
    ChooseTarget,
    /// `Discover` at the portal.
    FindTargets,
    /// `Diagnose`, each check as it is done.
    Diagnose,
    /// Ask whether to, then the same call once more with `accept-changed-luns`.
    UseChangedDisk,
    /// Show what is connected, with the way to disconnect it.
    ShowSessions,
    /// Disconnect every target, after what uses them was shown; then the same call once more.
    DisconnectAll,
    /// `CheckInUse`.
    ShowUsers,
    /// `SetupMultipath`, after its difference was shown.
    SetUpMultipath,
    /// `Examine` with `fix`, then the same call once more.
    Fix,
    /// Ask whether to, then `Forget`, `Discover` and the same call once more.
    ForgetAndFind,
    /// `Rescan`.
    Rescan,
    /// Show how it is now.
    Refresh,
    /// Save what is needed to ask for help.
    SaveReport,
    /// Say how to get permission: the group `iscsi`, the example rule.
    ShowAccess,
    /// Say how the daemon is installed and started.
    ShowInstall,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 22] = [
        Self::TryAgain,
        Self::ChangeName,
        Self::CopyName,
        Self::EnterChap,
        Self::EnterMutualChap,
        Self::EnterDiscoveryChap,
        Self::ChangeAddress,
        Self::ChooseTarget,
        Self::FindTargets,
        Self::Diagnose,
        Self::UseChangedDisk,
        Self::ShowSessions,
        Self::DisconnectAll,
        Self::ShowUsers,
        Self::SetUpMultipath,
        Self::Fix,
        Self::ForgetAndFind,
        Self::Rescan,
        Self::Refresh,
        Self::SaveReport,
        Self::ShowAccess,
        Self::ShowInstall,
    ];

    /// What the button says.
    pub fn label(self) -> Message {
        match self {
            Self::TryAgain => actions::TRY_AGAIN,
            Self::ChangeName => actions::CHANGE_NAME,
            Self::CopyName => actions::COPY_NAME,
            Self::EnterChap => actions::ENTER_CHAP,
            Self::EnterMutualChap => actions::ENTER_MUTUAL_CHAP,
            Self::EnterDiscoveryChap => actions::ENTER_DISCOVERY_CHAP,
            Self::ChangeAddress => actions::CHANGE_ADDRESS,
            Self::ChooseTarget => actions::CHOOSE_TARGET,
            Self::FindTargets => actions::FIND_TARGETS,
            Self::Diagnose => actions::DIAGNOSE,
            Self::UseChangedDisk => actions::USE_CHANGED_DISK,
            Self::ShowSessions => actions::SHOW_SESSIONS,
            Self::DisconnectAll => actions::DISCONNECT_ALL,
            Self::ShowUsers => actions::SHOW_USERS,
            Self::SetUpMultipath => actions::SET_UP_MULTIPATH,
            Self::Fix => actions::FIX,
            Self::ForgetAndFind => actions::FORGET_AND_FIND,
            Self::Rescan => actions::RESCAN,
            Self::Refresh => actions::REFRESH,
            Self::SaveReport => actions::SAVE_REPORT,
            Self::ShowAccess => actions::SHOW_ACCESS,
            Self::ShowInstall => actions::SHOW_INSTALL,
        }
    }

    /// Whether data may be lost: it is asked about first, and its button is marked.
    pub fn is_destructive(self) -> bool {
        matches!(self, Self::UseChangedDisk | Self::ForgetAndFind)
    }

    /// The feature that a daemon needs for it (`Features`); a button without it is not shown.
    pub fn feature(self) -> Option<&'static str> {
        match self {
            Self::Diagnose => Some("diagnose"),
            Self::UseChangedDisk => Some("lun-changed"),
            Self::ShowUsers => Some("check-in-use"),
            Self::EnterDiscoveryChap => Some("discovery-chap"),
            Self::SetUpMultipath => Some("setup-multipath"),
            Self::Fix => Some("examine"),
            Self::ForgetAndFind => Some("forget"),
            Self::Rescan => Some("rescan"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_button_says_something_of_its_own_and_asks_first_where_it_must() {
        let labels: BTreeSet<&str> = Action::ALL.iter().map(|action| action.label().id()).collect();
        assert_eq!(labels.len(), Action::ALL.len());
        for action in Action::ALL {
            let label = action.label().id();
            assert!(label.starts_with(char::is_uppercase) && label != "OK", "{label}");
            assert!(!action.is_destructive() || label.ends_with('…'), "{label}");
        }
    }

    #[test]
    fn the_features_are_those_of_the_contract() {
        let page = include_str!("../../../../docs/dbus-api.md");
        let (_, features) = page.split_once("| `Features` | `as` |").unwrap();
        let features = features.lines().next().unwrap();
        for feature in Action::ALL.into_iter().filter_map(Action::feature) {
            assert!(features.contains(&format!("`{feature}`")), "{feature}");
        }
    }
}
