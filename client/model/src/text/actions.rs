//! The buttons: a verb each, in title case; `…` where a further question comes before anything happens.

use super::messages::messages;

messages! {
    CONNECT = message("Connect");
    DISCONNECT = message("Disconnect…");
    CHANGE_CHAP = message("Change User Name and Secret…");
    FORGET = message("Forget Target…");
    TRY_AGAIN = message("Try Again");
    CHANGE_NAME = message("Change Initiator Name…");
    COPY_NAME = message("Copy Initiator Name");
    ENTER_CHAP = message("Enter User Name and Secret");
    ENTER_MUTUAL_CHAP = message("Enter the Gateway’s Secret");
    ENTER_DISCOVERY_CHAP = message("Enter Those for Discovery");
    CHANGE_ADDRESS = message("Change Address");
    CHOOSE_TARGET = message("Choose Another Target");
    FIND_TARGETS = message("Look for Targets");
    DIAGNOSE = message("Diagnose");
    USE_CHANGED_DISK = message("Use the Changed Disk Anyway…");
    SHOW_SESSIONS = message("Show Sessions");
    DISCONNECT_ALL = message("Disconnect All Targets…");
    SHOW_USERS = message("Show What Uses It");
    SET_UP_MULTIPATH = message("Set Up Multipath…");
    FIX = message("Fix");
    FORGET_AND_FIND = message("Forget and Find Again…");
    RESCAN = message("Look for Changes");
    REFRESH = message("Refresh");
    SAVE_REPORT = message("Save Report…");
    SHOW_ACCESS = message("How to Get Access");
    SHOW_INSTALL = message("How to Install It");
}
