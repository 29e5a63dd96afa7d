//! Of an error as it came, the bus's own included.

use iscsi_initiator_dbus::{Fault, Kind};

use super::{
    action::Action,
    errors::{Entry, entry},
    place::{Place, Stage},
};
use crate::{
    mirror::is_unreachable,
    overview,
    text::{Message, Phrase, errors},
};

/// What is said of an error, and what can be done about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// What is wrong.
    pub sentence: Phrase,
    /// What to do next.
    pub advice: Phrase,
    /// The buttons, the most helpful first; never none. Those of a missing [feature](Action::feature) are left out by
    /// the client.
    pub actions: Vec<Action>,
    /// What the daemon said.
    pub details: Details,
}

/// What the daemon said, in English: for who wants to know more, and for a report. It can be selected, and is no
/// markup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// The name of the error.
    pub error: String,
    /// What was seen.
    pub message: String,
    /// What to do, usually a command of `iscsictl`; may be empty.
    pub hint: String,
}

/// The remedy of an error.
pub fn remedy(fault: &Fault, place: &Place) -> Remedy {
    let error = fault.error_name();
    let (sentence, advice, actions) = match bus(error, fault, place) {
        Some(entry) => entry,
        None => entry_of(fault, place),
    };
    let details = Details {
        error: error.to_owned(),
        message: fault.message().to_owned(),
        hint: fault.next_step().to_owned(),
    };
    Remedy {
        sentence: named(sentence, place),
        advice: named(advice, place),
        actions: actions.to_vec(),
        details,
    }
}

impl Remedy {
    /// The remedy of an entry of an answer that has failed: by the name of its error, its message and its hint.
    pub fn of_entry(error: &str, message: &str, hint: &str, place: &Place) -> Self {
        let kind = error.parse().unwrap_or(Kind::Failed);
        let mut remedy = remedy(&Fault::new(kind, message).hint(hint), place);
        error.clone_into(&mut remedy.details.error);
        remedy
    }

    /// A portal that lists nothing.
    pub fn of_empty_list(place: &Place) -> Self {
        let actions = vec![Action::ChangeName, Action::ChangeAddress, Action::CopyName, Action::TryAgain];
        let (sentence, advice) = (named(errors::NO_TARGETS, place), named(errors::NO_TARGETS_ADVICE, place));
        Self { sentence, advice, actions, details: Details::default() }
    }
}

fn entry_of(fault: &Fault, place: &Place) -> Entry {
    let is_multipath = fault.kind() == Kind::BackendUnavailable
        && [fault.message(), fault.next_step()].iter().any(|text| text.contains("multipath"));
    if is_multipath {
        let actions = &[Action::SetUpMultipath, Action::Fix, Action::TryAgain];
        return (errors::MULTIPATH_UNAVAILABLE, errors::MULTIPATH_UNAVAILABLE_ADVICE, actions);
    }
    let failed = (errors::FAILED, errors::FAILED_ADVICE, [Action::TryAgain, Action::SaveReport].as_slice());
    entry(fault.kind(), place).unwrap_or(failed)
}

/// What is not the daemon's error: it is not there, is too old, or the bus is gone.
fn bus(error: &str, fault: &Fault, place: &Place) -> Option<Entry> {
    let standard = error.strip_prefix("org.freedesktop.DBus.Error.").unwrap_or_default();
    let is_masked = error.contains("UnitMasked") || fault.message().contains(" masked");
    Some(match standard {
        "UnknownMethod" | "UnknownInterface" | "UnknownProperty" => {
            (errors::OLDER_DAEMON, errors::OLDER_DAEMON_ADVICE, &[Action::ShowInstall, Action::SaveReport])
        }
        "Disconnected" | "NoServer" => (errors::NO_BUS, errors::NO_BUS_ADVICE, &[Action::TryAgain]),
        "NoReply" => {
            (errors::DAEMON_GONE, errors::DAEMON_GONE_ADVICE, &[Action::TryAgain, Action::SaveReport])
        }
        _ if !is_unreachable(error) => return None,
        _ if is_masked => {
            (errors::DAEMON_MASKED, errors::DAEMON_MASKED_ADVICE, &[Action::ShowInstall, Action::TryAgain])
        }
        _ if place.stage == Stage::Begin => {
            (errors::NO_DAEMON, errors::NO_DAEMON_ADVICE, &[Action::ShowInstall, Action::TryAgain])
        }
        // Whatever else is asked for, it was there before.
        _ => (errors::DAEMON_AWAY, errors::DAEMON_AWAY_ADVICE, &[Action::TryAgain, Action::ShowInstall]),
    })
}

/// What is not known is spoken of without a name, in a sentence of its own.
fn named(message: Message, place: &Place) -> Phrase {
    let known = [
        ("portal", overview::portal(&place.portal)),
        ("target", &place.target),
        ("initiator", &place.initiator),
    ];
    let is_missing = |message: Message| {
        known.iter().any(|(name, value)| value.is_empty() && message.id().contains(&format!("{{{name}}}")))
    };
    let message = match is_missing(message) {
        true => errors::unnamed(message),
        false => message,
    };
    known.into_iter().fold(Phrase::from(message), |phrase, (name, value)| phrase.with(name, value))
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::zbus;

    use super::*;

    /// An error of any name, as it comes over the bus.
    fn came(name: &str, words: &str) -> Fault {
        let call = zbus::Message::method_call("/x", "X").build(&()).unwrap();
        let reply = zbus::Message::error(&call.header(), name).build(&words).unwrap();
        Fault::from(zbus::Error::from(reply))
    }

    #[test]
    fn no_sentence_has_a_name_that_is_missing() {
        for &kind in Kind::ALL {
            for place in
                [Place::default(), Place { portal: "192.0.2.21:3260".to_owned(), ..Place::default() }]
            {
                let remedy = remedy(&Fault::new(kind, "seen").hint("do"), &place);
                for text in [remedy.sentence.to_string(), remedy.advice.to_string()] {
                    assert!(
                        !text.contains('{') && !text.contains("  ") && !text.is_empty(),
                        "{kind:?}: {text}"
                    );
                }
                assert_eq!(remedy.details.error, kind.name());
                assert_eq!((remedy.details.message.as_str(), remedy.details.hint.as_str()), ("seen", "do"));
            }
        }
        let place = Place {
            portal: "192.0.2.21:3260".to_owned(),
            initiator: "iqn.1989-06.example:me".to_owned(),
            ..Place::default()
        };
        let said = remedy(&Fault::new(Kind::InitiatorNotAllowed, ""), &place).sentence.to_string();
        assert_eq!(said, "192.0.2.21 does not know this machine’s name iqn.1989-06.example:me");
        assert_eq!(
            Remedy::of_empty_list(&Place::default()).sentence.to_string(),
            "The gateway offers no target to this machine"
        );
        let fault = Fault::new(Kind::PortalUnreachable, "");
        let said = remedy(&fault, &Place::default()).sentence.to_string();
        assert_eq!(said, "No iSCSI gateway can be reached there");
    }

    #[test]
    fn what_the_bus_says_is_no_error_of_the_gateway() {
        let sentence = |name: &str, words: &str| {
            let place = Place { stage: Stage::Begin, ..Place::default() };
            let remedy = remedy(&came(name, words), &place);
            assert!(!remedy.actions.is_empty());
            remedy.sentence.message().unwrap()
        };
        let standard = |name: &str| sentence(&format!("org.freedesktop.DBus.Error.{name}"), "why");
        assert_eq!(standard("ServiceUnknown"), errors::NO_DAEMON);
        assert_eq!(standard("Spawn.ChildExited"), errors::NO_DAEMON);
        assert_eq!(standard("NoReply"), errors::DAEMON_GONE);
        assert_eq!(standard("Disconnected"), errors::NO_BUS);
        assert_eq!(standard("UnknownMethod"), errors::OLDER_DAEMON);
        assert_eq!(sentence("org.freedesktop.systemd1.UnitMasked", "x"), errors::DAEMON_MASKED);
        assert_eq!(sentence("com.example.Error.New", "x"), errors::FAILED);
        let newer = "org.cloudatlas.IscsiInitiator.Error.Elsewhere";
        assert_eq!(sentence(newer, "x"), errors::FAILED);
        assert_eq!(Remedy::of_entry(newer, "x", "", &Place::default()).details.error, newer);
    }

    #[test]
    fn a_daemon_that_was_there_before_is_not_to_be_installed_first() {
        let fault = came("org.freedesktop.DBus.Error.ServiceUnknown", "why");
        let remedy = remedy(&fault, &Place { stage: Stage::Disconnect, ..Place::default() });
        assert_eq!(
            (remedy.sentence.message(), remedy.actions[0]),
            (Some(errors::DAEMON_AWAY), Action::TryAgain)
        );
    }

    #[test]
    fn multipath_that_does_not_run_is_set_up_first() {
        let of = |message: &str, hint: &str| {
            let fault = Fault::new(Kind::BackendUnavailable, message).hint(hint);
            remedy(&fault, &Place::default()).actions
        };
        assert_eq!(of("multipathd does not run", "")[0], Action::SetUpMultipath);
        assert_eq!(of("no maps", "iscsictl multipath setup")[0], Action::SetUpMultipath);
        assert_eq!(of("iscsid does not run", "systemctl start iscsid")[0], Action::Fix);
    }

    #[test]
    fn a_rejected_secret_is_distinguished_from_one_that_is_missing() {
        let of = |stage: Stage, has_chap: bool| {
            let portal = "192.0.2.21:3260".to_owned();
            let place = Place { stage, has_chap, portal, ..Place::default() };
            remedy(&Fault::new(Kind::ChapRejected, ""), &place).sentence.message().unwrap()
        };
        assert_eq!(of(Stage::Connect, true), errors::CHAP_REJECTED);
        assert_eq!(of(Stage::Connect, false), errors::CHAP_WANTED);
        assert_eq!(of(Stage::Discover, false), errors::CHAP_FOR_DISCOVERY);
        assert_eq!(of(Stage::Discover, true), errors::OTHER_CHAP_FOR_DISCOVERY);
    }
}
