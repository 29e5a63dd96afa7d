//! The steps of a call, as a person waits for them.

use super::messages::messages;

messages! {
    DISCOVER = message("Asking for targets");
    RECORD = message("Recording targets");
    SET_CHAP = message("Storing user name and secret");
    LOGIN = message("Logging in");
    UNDO = message("Putting everything back");
    DISKS = message("Waiting for the disks");
    CHECK = message("Finding out what uses the disks");
    FLUSH = message("Writing cached data");
    MAPS = message("Removing maps");
    LOGOUT = message("Logging out");
    RELEASE = message("Giving up the hold");
    SCAN = message("Looking for disks");
    RESIZE = message("Taking over new sizes");
    CONFIGURE = message("Writing the configuration");
    SERVICES = message("Starting services");
    RELOAD = message("Reading the configuration");
    EXAMINE = message("Examining this machine");
    FIXING = message("Fixing what is safe to fix");
    RENAMING = message("Changing the initiator name");
    FORGETTING = message("Removing the damaged record");
    RENAMED = message("This machine’s initiator name is {name} now");
    FIXED = message("What was safe to fix on this machine is fixed");
    FORGOTTEN = message("The damaged record of {target} at {portal} is removed");
    STORE_DISCOVERY_CHAP = message("Storing user name and secret for discoveries");
    DISCOVERY_CHAP_STORED = message("User name and secret for discoveries at {portal} are stored");
    STARTUP_SET = message("{target} is connected at startup again");
    STARTUP = message("Switching the connection at startup on again");
    CANCELLING = message("Cancelling");
}
