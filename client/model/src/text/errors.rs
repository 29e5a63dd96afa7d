//! What went wrong, each as a sentence and as what to do about it.

use super::{Message, messages::messages};

messages! {
    UNNAMED_CHAP_REJECTED = message("The gateway rejected the user name or the secret");
    UNNAMED_CHAP_WANTED = message("The gateway asks for a user name and a secret");
    UNNAMED_CHAP_FOR_DISCOVERY = message("The gateway lists its targets only for a user name and a secret");
    UNNAMED_OTHER_CHAP_FOR_DISCOVERY = message("The gateway does not list its targets for this user name and secret");
    UNNAMED_NOT_ALLOWED = message("The gateway does not know this machine’s name");
    UNNAMED_TARGET_NOT_FOUND = message("The gateway does not offer this target");
    UNNAMED_NO_TARGETS = message("The gateway offers no target to this machine");
    UNNAMED_NO_TARGETS_ADVICE = message("Have the gateway’s administrator allow this machine’s name");
    UNNAMED_TARGET_REJECTED = message("The gateway rejected the connection");
    UNNAMED_MUTUAL_CHAP_FAILED = message("The gateway could not prove that it is yours");
    UNNAMED_PORTAL_UNREACHABLE = message("No iSCSI gateway can be reached there");
    UNNAMED_TIMED_OUT = message("The gateway did not answer in time");
    UNNAMED_LUN_CHANGED = message("A disk is not the one that was there before");

    ACCESS_DENIED = message("You are not allowed to do this, or no one confirmed it in time");
    ACCESS_DENIED_ADVICE = message("Confirm it as an administrator, or ask one to add you to the group “iscsi”");
    NOT_SHOWN = message("You are not allowed to see the iSCSI targets");
    INTERACTION_REQUIRED = message("The question for permission could not be shown");
    INTERACTION_REQUIRED_ADVICE = message("Try again from a desktop session that can ask for a password");
    INVALID_ARGUMENT = message("Something that was entered cannot be used");
    INVALID_ARGUMENT_ADVICE = message("Correct it and try again; the details name it");
    CHAP_REJECTED = message("{portal} rejected the user name or the secret");
    CHAP_REJECTED_ADVICE = message("Enter both as the gateway’s administrator set them");
    CHAP_WANTED = message("{portal} asks for a user name and a secret");
    CHAP_WANTED_ADVICE = message("Enter the CHAP user name and secret that the gateway has for this machine");
    CHAP_FOR_DISCOVERY = message("{portal} lists its targets only for a user name and a secret");
    CHAP_FOR_DISCOVERY_ADVICE = message("Enter those that the gateway has for discovery");
    OTHER_CHAP_FOR_DISCOVERY = message("{portal} does not list its targets for this user name and secret");
    EXAMPLE_NAME = message("{portal} does not know this machine’s name {initiator}, which is an example that other machines may have, too");
    EXAMPLE_NAME_ADVICE = message("Set the name that the gateway’s administrator gave to this machine");
    INITIATOR_NOT_ALLOWED = message("{portal} does not know this machine’s name {initiator}");
    INITIATOR_NOT_ALLOWED_ADVICE = message("Have the name added at the gateway, or change it to the one that is expected");
    TARGET_NOT_FOUND = message("{portal} does not offer the target {target}");
    TARGET_NOT_FOUND_ADVICE = message("It may be disabled, hidden from this machine’s name, or elsewhere");
    NO_TARGETS = message("{portal} offers no target to this machine");
    NO_TARGETS_ADVICE = message("Have the gateway’s administrator allow this machine’s name {initiator}");
    TARGET_UNAVAILABLE = message("The target is there, but cannot serve at the moment");
    TARGET_UNAVAILABLE_ADVICE = message("Try again in a while; if that does not help, ask the gateway’s administrator");
    TARGET_REJECTED = message("{portal} rejected the connection");
    TARGET_REJECTED_ADVICE = message("Diagnose shows at which step, and what the gateway said");
    MUTUAL_CHAP_FAILED = message("{portal} could not prove that it is your gateway");
    MUTUAL_CHAP_FAILED_ADVICE = message("If it is, enter the gateway’s own user name and secret again");
    PORTAL_UNREACHABLE = message("No iSCSI gateway can be reached at {portal}");
    PORTAL_UNREACHABLE_ADVICE = message("Check the address, the port and the cable, and that the gateway runs");
    TIMED_OUT = message("{portal} did not answer in time");
    TIMED_OUT_ADVICE = message("Check the network and any firewall on the way");
    NO_SUCH_NODE = message("The target is not recorded on this machine any more");
    NO_SUCH_NODE_ADVICE = message("Look for it at its portal again");
    NOT_LOGGED_IN = message("The target is not connected any more");
    NOT_LOGGED_IN_ADVICE = message("Another program may have disconnected it; the list shows how it is now");
    IN_USE = message("It is still in use");
    IN_USE_ADVICE = message("End what uses it, then try again");
    IN_USE_NAME = message("The initiator name cannot be changed while targets are connected");
    IN_USE_NAME_ADVICE = message("Disconnect them, then try again");
    BUSY = message("Something else is being done there");
    BUSY_ADVICE = message("Wait until it is done, then try again");
    BACKEND_UNAVAILABLE = message("A program that is needed is missing or not running");
    BACKEND_UNAVAILABLE_ADVICE = message("The details name it; Fix starts what is safe to start");
    MULTIPATH_UNAVAILABLE = message("Multipath is missing or not running");
    MULTIPATH_UNAVAILABLE_ADVICE = message("Set up multipath, so that a disk with several paths is one disk");
    INVALID_CONFIGURATION = message("A configuration file of iSCSI on this machine is damaged or not safe to use");
    INVALID_CONFIGURATION_ADVICE = message("The details name it; Fix repairs what is safe to repair");
    NO_INITIATOR_NAME = message("This machine has no usable initiator name, or a file of iSCSI is damaged");
    NO_INITIATOR_NAME_ADVICE = message("Set the name that the gateway’s administrator gave to this machine; the details say more");
    LUN_CHANGED = message("A disk at {portal} is not the one that was there before");
    LUN_CHANGED_ADVICE = message("Ask the gateway’s administrator first: with the wrong disk, data can be lost");
    CANCELLED = message("It was cancelled");
    CANCELLED_ADVICE = message("Everything is as it was before, unless the details say otherwise");
    DISMISSED = message("The question for permission was closed");
    DISMISSED_ADVICE = message("Nothing was changed; try again when you want to answer it");
    FAILED = message("It did not work");
    FAILED_ADVICE = message("The details say what was seen; the report has what is needed to ask for help");

    OLDER_DAEMON = message("The iSCSI service is too old for this");
    OLDER_DAEMON_ADVICE = message("Update iscsi-initiatord, and restart the machine or the service");
    NO_DAEMON = message("The iSCSI service cannot be reached");
    NO_DAEMON_ADVICE = message("Install iscsi-initiatord; if it is installed, its log says why it does not start");
    DAEMON_AWAY = message("The iSCSI service has gone away");
    DAEMON_AWAY_ADVICE = message("It may come back by itself: try again in a moment; if it does not, its log says why");
    DAEMON_GONE = message("The iSCSI service stopped before it replied");
    DAEMON_GONE_ADVICE = message("Try again; if it stops again, its log says why");
    DAEMON_MASKED = message("An administrator of this machine has switched the iSCSI service off");
    DAEMON_MASKED_ADVICE = message("Only an administrator can switch it on again");
    NO_BUS = message("The connection to the system bus was lost");
    NO_BUS_ADVICE = message("It comes back with the bus; if it does not, log out and in again");

    SEVERAL_TARGETS = message("Disks of several targets count as one disk");
    SEVERAL_TARGETS_ADVICE = message("What is written goes to either of them: disconnect one of the targets");
    UNEQUAL_PATHS = message("The paths of this disk lead to different disks");
    UNEQUAL_PATHS_ADVICE = message("Do not write to it; ask the gateway’s administrator");
    NO_CAPACITY = message("The disk is not ready, or not offered any more");
    NO_CAPACITY_ADVICE = message("Ask the gateway’s administrator, then look for changes");
    NO_MAP = message("The disk has several paths, and multipath does not use them as one");
    NO_MAP_ADVICE = message("Set up multipath, or use one of the paths only");
    OTHER_PROBLEM = message("Something about this disk needs attention");
    OTHER_PROBLEM_ADVICE = message("The details say what was seen");
}

/// The same where a name that it has is not known; one without names is its own.
pub(crate) fn unnamed(message: Message) -> Message {
    let pairs = [
        (CHAP_REJECTED, UNNAMED_CHAP_REJECTED),
        (CHAP_WANTED, UNNAMED_CHAP_WANTED),
        (CHAP_FOR_DISCOVERY, UNNAMED_CHAP_FOR_DISCOVERY),
        (OTHER_CHAP_FOR_DISCOVERY, UNNAMED_OTHER_CHAP_FOR_DISCOVERY),
        (INITIATOR_NOT_ALLOWED, UNNAMED_NOT_ALLOWED),
        (EXAMPLE_NAME, UNNAMED_NOT_ALLOWED),
        (TARGET_NOT_FOUND, UNNAMED_TARGET_NOT_FOUND),
        (NO_TARGETS, UNNAMED_NO_TARGETS),
        (NO_TARGETS_ADVICE, UNNAMED_NO_TARGETS_ADVICE),
        (TARGET_REJECTED, UNNAMED_TARGET_REJECTED),
        (MUTUAL_CHAP_FAILED, UNNAMED_MUTUAL_CHAP_FAILED),
        (PORTAL_UNREACHABLE, UNNAMED_PORTAL_UNREACHABLE),
        (TIMED_OUT, UNNAMED_TIMED_OUT),
        (LUN_CHANGED, UNNAMED_LUN_CHANGED),
    ];
    pairs.into_iter().find(|(named, _)| *named == message).map_or(message, |(_, unnamed)| unnamed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sentence_with_a_name_has_one_without() {
        for message in ALL.iter().filter(|message| message.id().contains('{')) {
            assert!(!unnamed(*message).id().contains('{'), "{}", message.id());
        }
    }
}
