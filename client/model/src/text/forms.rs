//! What is wrong with what was typed, and what the fields want.

use super::messages::messages;

messages! {
    NO_PORTAL = message("Enter the gateway’s address");
    BAD_PORTAL = message("An address is a name or a number, with a port if it is not 3260");
    BAD_PORT = message("A port is a number from 1 to 65535");
    BAD_ZONE = message("This address also needs the network interface, as in fe80::1%eth0");
    NO_USER = message("Enter the user name that belongs to the secret");
    NO_SECRET = message("Enter the secret");
    BAD_USER = message("A user name has at most 255 bytes, and no blank at its ends");
    BAD_SECRET = message("A secret has at most 255 bytes in one line, and no blank at its ends");
    NO_TARGET_USER = message("Enter the gateway’s user name");
    NO_TARGET_SECRET = message("Enter the gateway’s secret");
    MUTUAL_ALONE = message("The gateway answers only who has entered a user name and a secret of its own");
    EQUAL_SECRETS = message("The two secrets must differ");
    BAD_INTERFACE = message("This is not the name of a network interface");
    NO_CHOICE = message("Choose at least one target");
    MANY_CHOICES = plural("Choose at most {n} target at a time", "Choose at most {n} targets at a time");
    CONFIRM_CHANGED_DISK = message("Use the other disks of {target}? With the wrong disk, data can be lost.");
    CONFIRM_FORGET = message("Remove what is damaged and find it again: {records}? User name and secret have to be entered again, and with the last record of a target it is not known any more which disks it had.");
    RECORD = message("{target} at {portal}");
    BAD_NAME = message("An iSCSI name begins with iqn., eui. or naa.");
}
