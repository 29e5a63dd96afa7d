//! The way out for who is refused by polkit: as an administrator, as a member of a group, or with an agent.
//! Must not advise what the person already is, or what would not help.

use std::{env, fs};

use crate::language::say;

use iscsi_initiator_dbus::shell;

/// The group that the example rule lets do most things.
const GROUP: &str = "iscsi";

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The rule for the group does not give this to its members.
    is_for_administrators: bool,
    /// The whole command, as an administrator.
    command: String,
}

impl Asked {
    /// `typed` is what follows the program's name. No secret is in it: no option takes one.
    pub(crate) fn new(is_for_administrators: bool, typed: &[String]) -> Self {
        let words = ["sudo", "iscsictl"].into_iter().chain(typed.iter().map(String::as_str));
        Self { is_for_administrators, command: shell::command(words) }
    }

    /// What this user can do about a refusal.
    pub(super) fn way_out(&self) -> String {
        self.hint(is_member(), is_graphical())
    }

    /// polkit asks through an agent of the session. A desktop has one; a text session does not, and one that
    /// is started there serves only the process it is given (polkit's get_authentication_agent_for_subject).
    fn hint(&self, is_member: bool, is_graphical: bool) -> String {
        let command = &self.command;
        if self.is_for_administrators {
            say!("an administrator must do this: {command}", command)
        } else if is_member {
            say!(
                "the polkit rule for the group iscsi, of which this user is a member, is not installed or does not allow it: {command}",
                command
            )
        } else if is_graphical {
            say!(
                "an administrator can do this, or install the polkit rule for the group iscsi and add this user to it: {command}",
                command
            )
        } else {
            say!(
                "no program asks for a password in this session (iscsictl(1) shows how to start one, pkttyagent), and this user is not in the group iscsi: {command}",
                command
            )
        }
    }
}

fn is_graphical() -> bool {
    ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// By the files that polkit's own look at the group ends with on most machines. Where a directory service has
/// the groups, the process's own say it.
fn is_member() -> bool {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let own: Vec<u32> = rustix::process::getgroups()
        .unwrap_or_default()
        .into_iter()
        .chain([rustix::process::getegid()])
        .map(rustix::process::Gid::as_raw)
        .collect();
    let uid = rustix::process::getuid().as_raw();
    is_listed(&read("/etc/group"), &read("/etc/passwd"), uid, &own)
}

fn is_listed(groups: &str, users: &str, uid: u32, own: &[u32]) -> bool {
    let field = |line: &str, number: usize| line.split(':').nth(number).map(str::to_owned);
    let uid = uid.to_string();
    let user =
        users.lines().find(|line| field(line, 2).as_deref() == Some(&uid)).and_then(|line| field(line, 0));
    let Some(group) = groups.lines().find(|line| field(line, 0).as_deref() == Some(GROUP)) else {
        return false;
    };
    let gid = field(group, 2).and_then(|gid| gid.parse().ok());
    let members = field(group, 3).unwrap_or_default();
    gid.is_some_and(|gid| own.contains(&gid))
        || user.is_some_and(|user| members.split(',').any(|member| member.trim() == user))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_by_name_and_by_number() {
        let (groups, users) =
            ("wheel:x:10:a\niscsi:x:990:ann,bob\n", "root:x:0:0::/:/bin/sh\nbob:x:1001:1001::/:\n");
        assert!(is_listed(groups, users, 1001, &[1001]));
        assert!(is_listed(groups, users, 7, &[990]));
        assert!(!is_listed(groups, users, 0, &[0, 10]));
        assert!(!is_listed("wheel:x:10:bob\n", users, 1001, &[10]));
    }

    #[test]
    fn each_refusal_has_its_own_way_out_and_none_that_would_not_help() {
        let asked = |is_for_administrators| Asked {
            is_for_administrators,
            command: "sudo iscsictl forget iqn.a".to_owned(),
        };
        for (is_member, is_graphical) in [(false, false), (false, true), (true, false), (true, true)] {
            let hint = asked(true).hint(is_member, is_graphical);
            assert_eq!(hint, "an administrator must do this: sudo iscsictl forget iqn.a");
            let hint = asked(false).hint(is_member, is_graphical);
            assert!(hint.ends_with(": sudo iscsictl forget iqn.a"), "{hint}");
            assert!(!is_member || !hint.contains("add this user"), "{hint}");
            assert_eq!(hint.contains("pkttyagent"), !is_member && !is_graphical, "{hint}");
        }
    }
}
