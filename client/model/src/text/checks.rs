//! The checks of `Diagnose` and the findings of `Examine`: what each looks at, by its name.

use super::{Message, messages::messages};

messages! {
    OPEN_ISCSI = message("open-iscsi is installed");
    KERNEL_MODULES = message("The kernel’s modules are there");
    ISCSID = message("The iSCSI daemon can run");
    INITIATOR_NAME = message("This machine has a valid initiator name");
    INITIATOR_NAME_USED = message("The initiator name is the one in use");
    INITIATOR_NAME_UNIQUE = message("The initiator name belongs to this machine alone");
    NAME_RESOLUTION = message("The gateway’s name has an address");
    TCP = message("The gateway takes connections");
    ISCSI = message("The gateway speaks iSCSI");
    DISCOVERY = message("The gateway lists the target");
    INITIATOR_ACCEPTED = message("The target knows this machine");
    CHAP = message("The target accepts the user name and the secret");
    MUTUAL_CHAP = message("The target proves who it is");
    LUNS = message("The target offers disks");
    SESSION = message("The target is connected");
    NODE_RECORD = message("The target’s record is sound");
    PROGRAMS = message("The programs fit each other");
    SERVICES = message("The services run");
    SECRET_FILES = message("Secrets are readable by the administrator only");
    RECORDS = message("All records are sound");
    LEFTOVERS = message("Nothing is left of calls that were broken off");
    SESSIONS = message("All sessions work");
    MULTIPATH_CONFIG = message("Multipath is set up for iSCSI");
    LUN_MAP = message("Each disk with several paths is one disk");
    VOLUME_GROUPS = message("No volume group is active without need");
    DISK = message("All disks are ready");
    LEASES = message("What is held is connected");
    AUTOMATIC = message("What connects automatically is connected");
    POLKIT_POLICY = message("The rules for permissions are installed");
    MARK_GOOD = message("OK");
    MARK_WARNING = message("Warning");
    MARK_BAD = message("Failed");
    MARK_SKIPPED = message("Not Checked");
    FIXED = message("This is fixed now");
    ALL_GOOD = message("Everything is as it should be");
    SOME_WARNINGS = plural("{n} check needs attention", "{n} checks need attention");
    SOME_BAD = plural("{n} check failed", "{n} checks failed");
    EXAMPLE_NAME = message("This machine’s name is an example from documentation: another machine with it would take over its sessions");
    CLONED_NAME = message("This machine’s name is older than the machine: copies of one image share it, and take over each other’s sessions");
    BUS_POLICY = message("The rules of the system bus are installed");
}

/// The title of a check or finding; `None` for one of a newer daemon, whose name is shown as it came.
pub fn title(name: &str) -> Option<Message> {
    Some(match name {
        "open-iscsi" => OPEN_ISCSI,
        "kernel-modules" => KERNEL_MODULES,
        "iscsid" => ISCSID,
        "initiator-name" => INITIATOR_NAME,
        "initiator-name-used" => INITIATOR_NAME_USED,
        "initiator-name-unique" => INITIATOR_NAME_UNIQUE,
        "name-resolution" => NAME_RESOLUTION,
        "tcp" => TCP,
        "iscsi" => ISCSI,
        "discovery" => DISCOVERY,
        "initiator-accepted" => INITIATOR_ACCEPTED,
        "chap" => CHAP,
        "mutual-chap" => MUTUAL_CHAP,
        "luns" => LUNS,
        "session" => SESSION,
        "node-record" => NODE_RECORD,
        "programs" => PROGRAMS,
        "services" => SERVICES,
        "secret-files" => SECRET_FILES,
        "records" => RECORDS,
        "leftovers" => LEFTOVERS,
        "sessions" => SESSIONS,
        "multipath-config" => MULTIPATH_CONFIG,
        "lun-map" => LUN_MAP,
        "volume-groups" => VOLUME_GROUPS,
        "disk" => DISK,
        "leases" => LEASES,
        "automatic" => AUTOMATIC,
        "polkit-policy" => POLKIT_POLICY,
        "bus-policy" => BUS_POLICY,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in the first column of the table with this head, in the reference of the interface.
    fn documented(head: &str) -> Vec<String> {
        let page = include_str!("../../../../docs/dbus-api.md");
        let (_, table) = page.split_once(head).unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let names = rows.flat_map(|row| row.split('|').nth(1).unwrap().split(',').collect::<Vec<_>>());
        names.map(|name| name.trim().trim_matches('`').to_owned()).collect()
    }

    #[test]
    fn every_check_and_finding_of_the_contract_has_a_title() {
        let checks = documented("| check | what it looks at |");
        let findings = documented("| name | subject | what it looks at | `fix` |");
        assert!(checks.len() >= 16 && findings.len() >= 17, "{checks:?} {findings:?}");
        for name in checks.iter().chain(&findings) {
            assert!(title(name).is_some(), "{name}");
        }
        assert_eq!(title("a-newer-one"), None);
    }
}
