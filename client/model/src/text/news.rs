//! What changed, in a notification: a title with the target's short name, and a sentence.

use super::messages::messages;

messages! {
    PATH_LOST_TITLE = message("{target}: a path has failed");
    PATHS_LOST_TITLE = plural("{target}: {n} path has failed", "{target}: {n} paths have failed");
    SOME_PATHS_LOST_TITLE = message("{target}: paths of some disks have failed");
    UNSTABLE_QUEUEING_TITLE = plural("{target}: {n} disk waits again and again", "{target}: {n} disks wait again and again");
    UNSTABLE_DOWN_TITLE = plural("{target}: {n} disk is down again and again", "{target}: {n} disks are down again and again");
    UNSTABLE_LOST_TITLE = message("{target}: the connection keeps failing");
    UNSTABLE_TITLE = message("{target}: a path keeps failing");
    DEGRADED_TITLE = message("{target}: a disk is degraded");
    QUEUEING_TITLE = plural("{target}: {n} disk waits", "{target}: {n} disks wait");
    DOWN_TITLE = plural("{target}: {n} disk is down", "{target}: {n} disks are down");
    LOST_TITLE = message("{target}: the connection is lost");
    RESTORED_TITLE = message("{target}: all paths work again");
    PARTLY_RESTORED_TITLE = message("{target}: some paths work again");

    PATH_LOST = message("The path through {portals} has failed. {working} of {all} connections work.");
    PATHS_LOST = message("The paths through {portals} have failed. {working} of {all} connections work.");
    SOME_PATHS_LOST = message("{portals} is connected, but the paths of some disks through it have failed. Diagnose shows why.");
    UNSTABLE = message("The connection to {portals} fails and comes back. Check the cable and the network.");
    UNSTABLE_QUEUEING = message("The paths to {disks} fail and come back, and programs wait meanwhile. Check the cables and the network.");
    UNSTABLE_DOWN = message("The paths to {disks} fail and come back, and reading and writing fail meanwhile. Check the cables and the network.");
    DEGRADED = message("{disks} can be used, with less reserve than usual.");
    QUEUEING = message("No path to {disks} works. Programs wait until a path is back.");
    DOWN = message("No path to {disks} works. Reading and writing fail.");
    LOST = message("No answer from {portals}.");
    RESTORED = plural("{n} connection works.", "All {n} connections work.");
    PARTLY_RESTORED = message("{working} of {all} connections work; the disks can be used.");
    MORE_DISKS = message("{disks} and {n} more");
}
