//! What comes from elsewhere and is translated as a whole: the names of columns, the contract's words, why a name that was
//! typed is none.
//! Must not hold what this program says itself: that is beside the code that says it.

/// For tests/translations, which has xgettext find it.
const fn known(text: &'static str) -> &'static str {
    text
}

/// The columns of the tables.
pub(super) const COLUMNS: [&str; 31] = [
    known("TARGET"),
    known("PORTAL"),
    known("TPGT"),
    known("CHAP"),
    known("STARTUP"),
    known("STATE"),
    known("SESSION"),
    known("INTERFACE"),
    known("CHECK"),
    known("DETAIL"),
    known("OUTCOME"),
    known("DISKS"),
    known("MAPS"),
    known("NEW"),
    known("RESIZED"),
    known("VANISHED"),
    known("DISK"),
    known("H:C:T:L"),
    known("GROUP"),
    known("PRIORITY"),
    known("DEVICE"),
    known("KIND"),
    known("UNIT"),
    known("HOLDER"),
    known("SESSIONS"),
    known("SUBJECT"),
    known("SINCE"),
    known("READ"),
    known("WRITTEN"),
    known("LOOKED AT"),
    known("HELD BY"),
];

/// The words of the contract that stand in cells, and a few of this program.
pub(super) const WORDS: [&str; 47] = [
    known("manual"),
    known("automatic"),
    known("onboot"),
    known("none"),
    known("one-way"),
    known("mutual"),
    known("new"),
    known("known"),
    known("gone"),
    known("up"),
    known("waiting"),
    known("logged-in"),
    known("already-logged-in"),
    known("failed"),
    known("logged-out"),
    known("not-logged-in"),
    known("rescanned"),
    known("mount"),
    known("swap"),
    known("loop"),
    known("btrfs"),
    known("logical-volume"),
    known("encrypted"),
    known("multipath-map"),
    known("raid"),
    known("bcache"),
    known("device-mapper"),
    known("device"),
    known("process"),
    known("udev"),
    known("claim"),
    known("uninspected"),
    known("unknown"),
    known("boot"),
    known("lease"),
    known("optimal"),
    known("degraded"),
    known("queueing"),
    known("down"),
    known("single"),
    known("ok"),
    known("warning"),
    known("skipped"),
    known("daemon"),
    known("system-bus"),
    known("examination"),
    known("installed"),
];

/// Why a name, a portal, a secret or a holder is not one: as the contract's crate says it.
pub(super) const REASONS: [&str; 28] = [
    known("expected 1 to 600 seconds, such as 60"),
    known("missing iSCSI name"),
    known("an iSCSI name has at most 223 bytes"),
    known(
        "an iSCSI name must not contain a blank, a control or invisible character, or one of / , < > & \" ' ` $ \\",
    ),
    known("an iSCSI name begins with \"iqn.\", \"eui.\" or \"naa.\""),
    known("an \"iqn.\" name has the form iqn.YYYY-MM.reversed.domain[:anything]"),
    known("an \"eui.\" name has 16 hexadecimal digits"),
    known("an \"naa.\" name has 16 or 32 hexadecimal digits"),
    known("missing portal: expected address, address:port or [IPv6]:port"),
    known("malformed portal: expected address, address:port or [IPv6]:port"),
    known("an unspecified, multicast or broadcast address cannot be a portal"),
    known("a port is a number from 1 to 65535"),
    known("a portal group after the comma is a number, or -1"),
    known("a link-local IPv6 address needs a zone (\"%eth0\"), and no other address may have one"),
    known("the secret is empty"),
    known("the secret has more than 255 bytes"),
    known("the secret contains a control character"),
    known("the secret has more than one line (a line break, or an empty line after it)"),
    known("the secret contains a carriage return, as files from Windows do"),
    known("the secret contains a tab"),
    known("the secret contains a NUL byte, as text in UTF-16 does"),
    known("the secret begins with a byte order mark, as files from Windows do"),
    known("the secret begins or ends with a blank, which open-iscsi would drop"),
    known("the secret is not valid UTF-8"),
    known("missing name of a holder"),
    known("the name of a holder has at most 128 bytes"),
    known(
        "the name of a holder must not contain a control or invisible character, one of < > & \" ' ` $ \\, or a blank at its ends or beside another",
    ),
    known("the name of a holder must not begin with \"-\""),
];

pub(super) fn is_known(text: &str) -> bool {
    COLUMNS.contains(&text) || WORDS.contains(&text) || REASONS.contains(&text)
}
