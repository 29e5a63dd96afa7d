//! What changed, event by event.

use super::messages::messages;

messages! {
    RESTARTED = message("the daemon was restarted; everything was read again");
    NODE_RECORDED = message("node {target} at {portal}: recorded");
    NODE_NOT_RECORDED = message("node {target} at {portal}: not recorded any more");
    NODE_STARTUP = message("node {target} at {portal}: startup {now}");
    NODE_STARTUP_WAS = message("node {target} at {portal}: startup {now} (was {before})");
    NODE_CHAP = message("node {target} at {portal}: CHAP {now}");
    NODE_CHAP_WAS = message("node {target} at {portal}: CHAP {now} (was {before})");
    NODE_USABLE = message("node {target} at {portal}: its record can be used again");
    NODE_MESSAGE = message("node {target} at {portal}: {message}");
    SESSION_MAKING = message("session {sid}: iscsid is making it");
    SESSION_STATE = message("session {sid} ({target} at {portal}): {now}");
    SESSION_STATE_WAS = message("session {sid} ({target} at {portal}): {now} (was {before})");
    SESSION_ENDED = message("session {sid} ({target} at {portal}): ended");
    SESSION_MOVED = message("session {sid} ({target} at {portal}): was at {before} before");
    SESSION_NOT_HELD = message("session {sid} ({target} at {portal}): not held any more");
    SESSION_HELD = message("session {sid} ({target} at {portal}): held by {holders}");
    NO_NAME = message("without a name");
    DISK_WHOLE = plural("disk {disk}: {what}, {n} path", "disk {disk}: {what}, {n} paths");
    DISK_GONE = message("disk {disk}: gone");
    DISK_MAP_GONE = message("disk {disk}: its map {map} is gone");
    DISK_MAP = message("disk {disk}: its map is {map}");
    DISK_NOW = message("disk {disk}: {now}");
    DISK_WAS = message("disk {disk}: {now} (was {before})");
    PATH_NOW = message("disk {disk}: path {device} at {portal} {now}");
    PATH_WAS = message("disk {disk}: path {device} at {portal} {now} (was {before})");
    PATH_NEW = message("disk {disk}: path {device} at {portal} is new: {now}");
    PATH_GONE = message("disk {disk}: path {device} at {portal} is gone");
}
