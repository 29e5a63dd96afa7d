//! The errors of the contract.

use iscsi_initiator_dbus::{Kind, printed_in};

use super::{
    action::Action,
    place::{Place, Stage},
};
use crate::text::{Message, errors};

/// What is said of an error, and what can be done: the most helpful first.
pub(super) type Entry = (Message, Message, &'static [Action]);

/// The entry of a kind; `None` for a kind that this version does not know.
pub(super) fn entry(kind: Kind, place: &Place) -> Option<Entry> {
    use Action::{
        ChangeAddress, ChangeName, ChooseTarget, CopyName, Diagnose, DisconnectAll, EnterChap,
        EnterDiscoveryChap, EnterMutualChap, FindTargets, Fix, ForgetAndFind, Refresh, SaveReport,
        SetUpMultipath, ShowAccess, ShowSessions, ShowUsers, TryAgain, UseChangedDisk,
    };
    Some(match (kind, place.stage) {
        (Kind::AccessDenied, Stage::Begin) => {
            (errors::NOT_SHOWN, errors::ACCESS_DENIED_ADVICE, &[TryAgain, ShowAccess])
        }
        (Kind::AccessDenied, _) => {
            (errors::ACCESS_DENIED, errors::ACCESS_DENIED_ADVICE, &[TryAgain, ShowAccess])
        }
        (Kind::InteractiveAuthorizationRequired, _) => {
            (errors::INTERACTION_REQUIRED, errors::INTERACTION_REQUIRED_ADVICE, &[TryAgain, ShowAccess])
        }
        (Kind::AuthenticationDismissed, _) => (errors::DISMISSED, errors::DISMISSED_ADVICE, &[TryAgain]),
        (Kind::InvalidArgs, Stage::Rename) => {
            (errors::INVALID_ARGUMENT, errors::INVALID_ARGUMENT_ADVICE, &[ChangeName])
        }
        (Kind::InvalidArgs, Stage::Disconnect | Stage::Begin | Stage::Other) => {
            (errors::INVALID_ARGUMENT, errors::INVALID_ARGUMENT_ADVICE, &[TryAgain, SaveReport])
        }
        (Kind::InvalidArgs, Stage::Discover | Stage::Connect) => {
            (errors::INVALID_ARGUMENT, errors::INVALID_ARGUMENT_ADVICE, &[ChangeAddress, ChooseTarget])
        }
        // What was typed for the target was tried.
        (Kind::ChapRejected, Stage::Discover) if place.has_chap => (
            errors::OTHER_CHAP_FOR_DISCOVERY,
            errors::CHAP_FOR_DISCOVERY_ADVICE,
            &[EnterDiscoveryChap, EnterChap, Diagnose],
        ),
        (Kind::ChapRejected, Stage::Discover) => (
            errors::CHAP_FOR_DISCOVERY,
            errors::CHAP_FOR_DISCOVERY_ADVICE,
            &[EnterChap, EnterDiscoveryChap, Diagnose],
        ),
        (Kind::ChapRejected, _) if !place.has_chap => {
            (errors::CHAP_WANTED, errors::CHAP_WANTED_ADVICE, &[EnterChap, Diagnose])
        }
        (Kind::ChapRejected, _) => {
            (errors::CHAP_REJECTED, errors::CHAP_REJECTED_ADVICE, &[EnterChap, Diagnose])
        }
        (Kind::InitiatorNotAllowed, _) if printed_in(&place.initiator).is_some() => {
            (errors::EXAMPLE_NAME, errors::EXAMPLE_NAME_ADVICE, &[ChangeName, TryAgain])
        }
        (Kind::InitiatorNotAllowed, _) => (
            errors::INITIATOR_NOT_ALLOWED,
            errors::INITIATOR_NOT_ALLOWED_ADVICE,
            &[ChangeName, CopyName, TryAgain],
        ),
        (Kind::TargetNotFound, _) => {
            (errors::TARGET_NOT_FOUND, errors::TARGET_NOT_FOUND_ADVICE, &[ChooseTarget, ChangeName, Diagnose])
        }
        (Kind::TargetUnavailable, _) => {
            (errors::TARGET_UNAVAILABLE, errors::TARGET_UNAVAILABLE_ADVICE, &[TryAgain, Diagnose])
        }
        (Kind::TargetRejected, _) => {
            (errors::TARGET_REJECTED, errors::TARGET_REJECTED_ADVICE, &[Diagnose, TryAgain])
        }
        (Kind::MutualChapFailed, _) => {
            (errors::MUTUAL_CHAP_FAILED, errors::MUTUAL_CHAP_FAILED_ADVICE, &[EnterMutualChap, Diagnose])
        }
        (Kind::PortalUnreachable, _) => (
            errors::PORTAL_UNREACHABLE,
            errors::PORTAL_UNREACHABLE_ADVICE,
            &[TryAgain, ChangeAddress, Diagnose],
        ),
        (Kind::TimedOut, Stage::Discover | Stage::Connect) => {
            (errors::TIMED_OUT, errors::TIMED_OUT_ADVICE, &[TryAgain, ChangeAddress, Diagnose])
        }
        (Kind::TimedOut, _) => (errors::TIMED_OUT, errors::TIMED_OUT_ADVICE, &[TryAgain]),
        (Kind::NoSuchNode, _) => (errors::NO_SUCH_NODE, errors::NO_SUCH_NODE_ADVICE, &[FindTargets, Refresh]),
        (Kind::NotLoggedIn, _) => (errors::NOT_LOGGED_IN, errors::NOT_LOGGED_IN_ADVICE, &[Refresh]),
        (Kind::InUse, Stage::Rename) => {
            let actions = &[ShowSessions, DisconnectAll, TryAgain, ChangeName];
            (errors::IN_USE_NAME, errors::IN_USE_NAME_ADVICE, actions)
        }
        (Kind::InUse, _) => (errors::IN_USE, errors::IN_USE_ADVICE, &[ShowUsers, TryAgain]),
        (Kind::Busy, _) => (errors::BUSY, errors::BUSY_ADVICE, &[TryAgain]),
        (Kind::BackendUnavailable, _) => (
            errors::BACKEND_UNAVAILABLE,
            errors::BACKEND_UNAVAILABLE_ADVICE,
            &[Fix, SetUpMultipath, TryAgain],
        ),
        (Kind::InvalidConfiguration, stage) if place.initiator.is_empty() && stage != Stage::Disconnect => {
            (errors::NO_INITIATOR_NAME, errors::NO_INITIATOR_NAME_ADVICE, &[ChangeName, Fix, TryAgain])
        }
        (Kind::InvalidConfiguration, Stage::Connect) => (
            errors::INVALID_CONFIGURATION,
            errors::INVALID_CONFIGURATION_ADVICE,
            &[Fix, ForgetAndFind, SaveReport],
        ),
        (Kind::InvalidConfiguration, _) => {
            (errors::INVALID_CONFIGURATION, errors::INVALID_CONFIGURATION_ADVICE, &[Fix, SaveReport])
        }
        (Kind::LunChanged, _) => {
            (errors::LUN_CHANGED, errors::LUN_CHANGED_ADVICE, &[TryAgain, UseChangedDisk])
        }
        (Kind::Cancelled, _) => (errors::CANCELLED, errors::CANCELLED_ADVICE, &[TryAgain]),
        (Kind::Failed, _) => (errors::FAILED, errors::FAILED_ADVICE, &[TryAgain, SaveReport]),
        // A newer kind.
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const STAGES: [Stage; 6] =
        [Stage::Discover, Stage::Connect, Stage::Disconnect, Stage::Rename, Stage::Begin, Stage::Other];

    #[test]
    fn every_error_of_the_contract_has_a_remedy_at_every_stage() {
        for &kind in Kind::ALL {
            for stage in STAGES {
                for has_chap in [false, true] {
                    let place = Place { stage, has_chap, ..Place::default() };
                    let (sentence, advice, actions) = entry(kind, &place)
                        .unwrap_or_else(|| panic!("{kind:?} has no remedy at {stage:?}: add one"));
                    assert!(!actions.is_empty(), "{kind:?}: a way out");
                    let once: BTreeSet<Action> = actions.iter().copied().collect();
                    assert_eq!(once.len(), actions.len(), "{kind:?}");
                    assert!(!actions.first().unwrap().is_destructive(), "{kind:?}: not by pressing Return");
                    assert_ne!(sentence, advice);
                }
            }
        }
    }

    #[test]
    fn a_name_from_documentation_is_called_that() {
        let mut place =
            Place { initiator: "iqn.1994-05.com.redhat:rh7-client".to_owned(), ..Place::default() };
        let (sentence, _, actions) = entry(Kind::InitiatorNotAllowed, &place).unwrap();
        assert_eq!((sentence, actions[0]), (errors::EXAMPLE_NAME, Action::ChangeName));
        place.initiator = "iqn.1994-05.com.redhat:8b41c9f7d2e0".to_owned();
        assert_eq!(entry(Kind::InitiatorNotAllowed, &place).unwrap().0, errors::INITIATOR_NOT_ALLOWED);
    }

    #[test]
    fn every_error_has_a_sentence_of_its_own() {
        let place = Place::default();
        let sentences: BTreeSet<&str> =
            Kind::ALL.iter().map(|kind| entry(*kind, &place).unwrap().0.id()).collect();
        assert_eq!(sentences.len(), Kind::ALL.len());
    }

    #[test]
    fn the_errors_that_the_reference_of_the_interface_lists_are_these() {
        let page = include_str!("../../../../docs/dbus-api.md");
        let (_, tables) = page.split_once("\n## Errors\n").unwrap();
        let (tables, _) = tables.split_once("\n## ").unwrap();
        let names = tables.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
        let names: BTreeSet<&str> = names.map(|(name, _)| name.rsplit('.').next().unwrap()).collect();
        let known: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.short()).collect();
        assert_eq!(names, known);
    }
}
