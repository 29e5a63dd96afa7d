//! What is asked before something is done: a title, what follows from it, and a verb for the button.

use super::messages::messages;

messages! {
    DISCONNECT = message("Disconnect {target}?");
    DISCONNECT_BODY = message("Its disks are not there any more until it is connected again. Nothing uses {target} now.");
    DISCONNECT_BUTTON = message("Disconnect Now");
    IN_USE = message("{target} is in use");
    IN_USE_BODY = message("End what uses {target}, then look again.");
    FORCE = message("Disconnect {target} although it is in use?");
    FORCE_BODY = message("{uses}. What is not written yet to {target} is lost, and what uses it fails.");
    FORCE_BUTTON = message("Disconnect Anyway");
    RELEASE = message("Give up the hold of {holder} on {target}?");
    RELEASE_BODY = message("{target} can be disconnected then, although {holder} may still need it.");
    RELEASE_BUTTON = message("Give Up");
    FORGET = message("Forget {target}?");
    FORGET_BODY = message("The user name and the secret of {target} are removed from this machine, and it is not connected at startup any more. Nothing on its disks is changed.");
    FORGET_BUTTON = message("Forget It");
    MULTIPATH = message("Set up multipath?");
    MULTIPATH_BODY = message("A disk with several paths becomes one disk. The changes to the configuration are shown here.");
    MULTIPATH_BUTTON = message("Set Up");
}
