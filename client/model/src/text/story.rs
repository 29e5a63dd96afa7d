//! What changed, event by event.

use super::messages::messages;

messages! {
    RESTARTED = message("the daemon was restarted; everything was read again");
    OF = message("{thing}: {what}");
    WAS = message("{what} (was {before})");
    NODE = message("node {target} at {portal}");
    RECORDED = message("recorded");
    NOT_RECORDED = message("not recorded any more");
    STARTUP = message("startup {word}");
    CHAP = message("CHAP {word}");
    RECORD_USABLE = message("its record can be used again");
    SESSION = message("session {sid} ({target} at {portal})");
    SESSION_MAKING = message("session {sid}: iscsid is making it");
    ENDED = message("ended");
    MOVED = message("was at {portal} before");
    NOT_HELD = message("not held any more");
    HELD = message("held by {holders}");
    DISK = message("disk {name}");
    SOME_DISK = message("a disk");
    DISK_WHOLE = plural("{what}, {n} path", "{what}, {n} paths");
    GONE = message("gone");
    MAP_GONE = message("its map {map} is gone");
    MAP = message("its map is {map}");
    PATH = message("path {device} at {portal}");
    PATH_NOW = message("{path} {state}");
    PATH_NEW = message("{path} is new: {state}");
    PATH_GONE = message("{path} is gone");
}
