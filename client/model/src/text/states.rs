//! How a path, a disk, a target or this machine is.

use super::messages::messages;

messages! {
    OK = message("ok");
    OK_BUT = message("ok, but {reasons}");
    FAILED = message("FAILED");
    FAILED_BECAUSE = message("FAILED: {reasons}");
    WAITING = message("waiting");
    WAITING_BECAUSE = message("waiting: {reasons}");
    REASON_SESSION = message("session {word}");
    REASON_DISK = message("disk {word}");
    REASON_PATH = message("path {word}");
    REASON_CHECKER = message("checker {word}");
    REASON_SEVERAL_TARGETS = message("disk of several targets");
    REASON_UNEQUAL_PATHS = message("unequal paths");
    REASON_NO_CAPACITY = message("no capacity");
    REASON_NO_MAP = message("no map");
    REASON_OTHER = message("needs attention");

    LEVEL_IDLE = message("Not connected");
    LEVEL_WELL = message("Works");
    LEVEL_UNKNOWN = message("Unknown");
    LEVEL_ATTENTION = message("Needs attention");
    LEVEL_DEGRADED = message("Works with fewer paths");
    LEVEL_QUEUEING = message("No path: reading and writing wait");
    LEVEL_DOWN = message("No path: reading and writing fail");

    LINK_OFF = message("Off");
    LINK_UP = message("Connected");
    LINK_LOST = message("Connection lost");
    LINK_MAKING = message("Connecting");

    NO_DISKS = message("Connected, without a disk");
    CONNECTION_LOST = message("The connection is lost");
    SOME_CONNECTIONS = message("{working} of {n} connections work");
    DISKS_ALL_PATHS = plural("{n} disk, all paths work", "{n} disks, all paths work");
    DISKS_SOME_PATHS = plural("{n} disk, {working} of {all} paths work", "{n} disks, {working} of {all} paths work");
    DISKS_QUEUEING = plural("{n} disk waits for a path", "{n} disks wait for a path");
    DISKS_DOWN = plural("{n} disk is down", "{n} disks are down");
    DISKS_ATTENTION = plural("{n} disk needs attention", "{n} disks need attention");
    RECORD_DAMAGED = message("Its record is damaged");

    STALE = message("The iSCSI service cannot be reached; this is how it was");
    NO_TARGETS = message("No targets");
    ALL_IDLE = plural("{n} target, not connected", "{n} targets, none connected");
    ALL_WELL = plural("{n} target, everything works", "{n} targets, everything works");
    SOME_TROUBLE = plural("{n} target needs attention", "{n} targets need attention");

    PATH_IN_WORDS = message("Path {device} from {interface} through {portal} to {disk}: {state}");
    SESSION_IN_WORDS = message("Connection from {interface} to {portal}, without a disk: {state}");
    PORTAL_IN_WORDS = message("Portal {portal}: not connected");
    LOST_PORTAL_IN_WORDS = message("Portal {portal}: the connection is lost");
    DISK_IN_WORDS = message("Disk {disk}, without a path: {state}");
    THIS_MACHINE = message("this machine");
    LUN = message("LUN {number}");
}
