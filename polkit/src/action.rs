//! The actions of the `.policy` file.
//! Must not say who is allowed what: the policy file and the rules do.

use std::fmt;

/// An action that polkit knows; see `org.cloudatlas.IscsiInitiator.policy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `ListPaths`, `ListNodes`, `Examine`, `Subscribe` and the objects: reading.
    ListPaths,
    /// `Discover` and `AddNode`.
    Discover,
    /// `Login`, `Hold`, `Diagnose`, `SetStartup` and `Rescan`, and the startup `automatic` of `Discover`,
    /// `AddNode` and `Connect`.
    Login,
    /// `Connect`.
    Connect,
    /// `Logout` without `force`, `CheckInUse` and `Release`.
    Logout,
    /// `SetChap`, and the use of what it stored where that is not recorded for the portal.
    SetChap,
    /// `SetInitiatorName`, `SetupMultipath`, `Forget`, and `Examine` with `fix`.
    Configure,
    /// `Logout` with `force`.
    LogoutInUse,
}

impl Action {
    /// Every action, for tests and tables.
    pub const ALL: [Self; 8] = [
        Self::ListPaths,
        Self::Discover,
        Self::Login,
        Self::Connect,
        Self::Logout,
        Self::SetChap,
        Self::Configure,
        Self::LogoutInUse,
    ];

    /// The identifier that polkit knows it by.
    pub fn id(self) -> &'static str {
        match self {
            Self::ListPaths => "org.cloudatlas.IscsiInitiator.list-paths",
            Self::Discover => "org.cloudatlas.IscsiInitiator.discover",
            Self::Login => "org.cloudatlas.IscsiInitiator.login",
            Self::Connect => "org.cloudatlas.IscsiInitiator.connect",
            Self::Logout => "org.cloudatlas.IscsiInitiator.logout",
            Self::SetChap => "org.cloudatlas.IscsiInitiator.set-chap",
            Self::Configure => "org.cloudatlas.IscsiInitiator.configure",
            Self::LogoutInUse => "org.cloudatlas.IscsiInitiator.logout-in-use",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::POLICY;

    /// The text between two marks.
    fn between<'a>(text: &'a str, open: &'a str, close: &'a str) -> Vec<&'a str> {
        text.split(open).skip(1).map(|rest| rest.split(close).next().unwrap()).collect()
    }

    /// Each `<action>` of the file: its id and its body.
    fn actions() -> Vec<(&'static str, &'static str)> {
        between(POLICY, "<action id=\"", "</action>").iter().map(|a| a.split_once("\">").unwrap()).collect()
    }

    #[test]
    fn the_policy_file_has_exactly_these_actions() {
        let ids: Vec<&str> = actions().iter().map(|(id, _)| *id).collect();
        assert_eq!(ids, Action::ALL.map(Action::id));
    }

    #[test]
    fn the_defaults_are_those_of_the_design() {
        for (action, (id, body)) in Action::ALL.into_iter().zip(actions()) {
            let expected = match action {
                Action::ListPaths => ["yes", "yes", "yes"],
                Action::Configure | Action::LogoutInUse => ["auth_admin", "auth_admin", "auth_admin"],
                _ => ["auth_admin", "auth_admin", "auth_admin_keep"],
            };
            let found = ["allow_any", "allow_inactive", "allow_active"].map(|key| {
                let found = between(body, &format!("<{key}>"), &format!("</{key}>")).join(" ");
                found.trim().to_owned()
            });
            assert_eq!(found, expected, "{id}");
        }
    }

    #[test]
    fn every_message_names_what_it_is_about() {
        for (id, body) in actions() {
            let message = between(body, "<message>", "</message>").join(" ");
            assert_eq!(message.matches("$(").collect::<Vec<_>>(), ["$("], "{id}: {message}");
            let end = message.strip_suffix(" Data may be lost.").unwrap_or(&message).trim_end_matches('.');
            assert!(end.ends_with("$(named)"), "{id}: {message}");
            assert!(body.contains("<description>"), "{id}");
        }
    }
}
