//! What the buttons of remedies and the entries of menus do: each is an action of the window, `act` and `do`, so that who
//! shows a button need not know what is behind it.

use gtk::{glib, prelude::*};
use iscsi_initiator_model::{overview::Deed, remedy::Action};

/// What a button is about; either may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct About {
    pub(super) target: String,
    pub(super) portal: String,
}

/// Does what a button says.
pub(super) fn activate(widget: &impl IsA<gtk::Widget>, action: Action, about: &About) {
    // Without its window a widget does nothing.
    let _ = widget.activate_action("win.act", Some(&act(action, about)));
}

/// Has a button do an action of the window. The parameter comes first: GTK complains of an action that needs one without it.
pub(super) fn point(button: &gtk::Button, action: &str, parameter: &glib::Variant) {
    button.set_action_target_value(Some(parameter));
    button.set_action_name(Some(action));
}

/// The parameter of `win.act`.
pub(super) fn act(action: Action, about: &About) -> glib::Variant {
    (format!("{action:?}"), about.target.as_str(), about.portal.as_str()).to_variant()
}

/// The parameter of `win.do`.
pub(super) fn deed(deed: Deed, about: &About) -> glib::Variant {
    (format!("{deed:?}"), about.target.as_str(), about.portal.as_str()).to_variant()
}

pub(super) fn parse_act(value: &glib::Variant) -> Option<(Action, About)> {
    let (name, about) = parse(value)?;
    Action::ALL.into_iter().find(|action| format!("{action:?}") == name).map(|action| (action, about))
}

pub(super) fn parse_deed(value: &glib::Variant) -> Option<(Deed, About)> {
    let all = [Deed::Connect, Deed::Disconnect, Deed::Diagnose, Deed::Rescan, Deed::ChangeChap, Deed::Forget];
    let (name, about) = parse(value)?;
    all.into_iter().find(|deed| format!("{deed:?}") == name).map(|deed| (deed, about))
}

fn parse(value: &glib::Variant) -> Option<(String, About)> {
    let (name, target, portal) = value.get::<(String, String, String)>()?;
    Some((name, About { target, portal }))
}

/// Whether a dialog closes for it, because what it shows is elsewhere.
pub(super) fn leads_away(action: Action) -> bool {
    matches!(
        action,
        Action::ShowSessions
            | Action::Diagnose
            | Action::SetUpMultipath
            | Action::DisconnectAll
            | Action::Refresh
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_button_is_what_its_parameter_says() {
        let about =
            About { target: "iqn.2003-01.com.example:disks".to_owned(), portal: "192.0.2.1".to_owned() };
        for action in Action::ALL {
            assert_eq!(parse_act(&act(action, &about)), Some((action, about.clone())));
        }
        assert_eq!(parse_deed(&deed(Deed::Forget, &about)), Some((Deed::Forget, about)));
        assert_eq!(parse_deed(&"Forget".to_variant()), None);
    }
}
