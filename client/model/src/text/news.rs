//! What changed, in a notification: a title with the target's short name, and a sentence.

use super::messages::messages;

messages! {
    PATH_LOST_TITLE = message("{target}: a path has failed");
    PATHS_LOST_TITLE = plural("{target}: {n} path has failed", "{target}: {n} paths have failed");
    UNSTABLE_TITLE = message("{target}: a path keeps failing");
    DEGRADED_TITLE = message("{target}: a disk is degraded");
    QUEUEING_TITLE = plural("{target}: {n} disk waits", "{target}: {n} disks wait");
    DOWN_TITLE = plural("{target}: {n} disk is down", "{target}: {n} disks are down");
    LOST_TITLE = message("{target}: the connection is lost");
    RESTORED_TITLE = message("{target}: all paths work again");
    PARTLY_RESTORED_TITLE = message("{target}: some paths work again");

    PATH_LOST = message("The path through {portals} has failed. {working} of {all} connections work.");
    PATHS_LOST = message("The paths through {portals} have failed. {working} of {all} connections work.");
    UNSTABLE = message("The connection to {portals} fails and comes back. Check the cable and the network.");
    DEGRADED = message("{disks} can be used, with less reserve than usual.");
    QUEUEING = message("No path to {disks} works. Programs wait until a path is back.");
    DOWN = message("No path to {disks} works. Reading and writing fail.");
    LOST = message("No answer from {portals}.");
    RESTORED = plural("{n} connection works.", "All {n} connections work.");
    PARTLY_RESTORED = message("{working} of {all} connections work; the disks can be used.");
    MORE_DISKS = message("{disks} and {n} more");
}
