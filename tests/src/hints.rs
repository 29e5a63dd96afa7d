//! The commands in hints, and the objects that stand in them where they are listed and pasted.
//! Must not run anything.

use iscsi_initiator_dbus::shell::{self, PROGRAMS};

/// Each name that a hint's text has for an object, with one of the odd ones that are legal.
pub const OBJECTS: [(&str, &str); 18] = [
    ("ADDRESS", "fe80::21%eth0"),
    ("COMMAND", "login"),
    ("DISK", "/dev/sda"),
    ("EDIT", r"/^[[:space:]]*node\.sesion\.auth[[:space:]]*=/d"),
    ("FILE", "/var/lib/iscsi/my secret's;id"),
    ("FOLDER", "/etc/iscsi/#old records/"),
    ("GROUP", "vg.0+a"),
    ("HOLDER", "backup;#1 of ~x!"),
    ("INITIATOR", "iqn.1994-05.com.example:host(1)"),
    ("INTERFACE", "eth0;~1"),
    ("JOB", "restart"),
    ("MAP", "my map $1"),
    ("MODE", "0600"),
    ("PID", "4999999"),
    ("PORTAL", "[2001:db8::21]:3260"),
    ("TARGET", "iqn.2003-01.com.example:a(b)*;[c]~#d!"),
    ("TO", "[2001:db8::37]:3261"),
    ("UNIT", "iscsid.service"),
];

/// What makes a new initiator name, in the hints that need one.
pub const NEW_NAME: &str = "\"$(/usr/sbin/iscsi-iname)\"";

/// The text with the objects in it, as a user sees it.
#[must_use]
pub fn filled(text: &str) -> String {
    OBJECTS.iter().fold(text.to_owned(), |text, (name, object)| {
        text.replace(&format!("{{{name}}}"), &shell::quoted(object))
    })
}

/// The names of objects that a text has, or anything else in braces.
pub fn names(text: &str) -> impl Iterator<Item = &str> {
    text.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| name)
}

/// The commands of a hint: at its beginning or behind a colon, up to a semicolon.
#[must_use]
pub fn commands(hint: &str) -> Vec<&str> {
    let mut found = Vec::new();
    // A quoted object may hold a semicolon, but none with a blank behind it.
    for part in hint.split("; ") {
        let ends = part.match_indices(": ").map(|(place, mark)| place + mark.len());
        let begins = std::iter::once(0).chain(ends).filter_map(|begin| part.get(begin..));
        found.extend(begins.into_iter().find(|text| begins_with_a_program(text)));
    }
    found
}

/// What the programs of a command's text get, each in turn: the words, with the objects as they are.
#[must_use]
pub fn words(command: &str) -> Vec<Vec<String>> {
    let word = |word: &str| {
        let of = |text: String, (name, object): &(&str, &str)| text.replace(&format!("{{{name}}}"), object);
        OBJECTS.iter().fold(word.to_owned(), of)
    };
    command.split(" && ").map(|one| one.split(' ').map(word).collect()).collect()
}

fn begins_with_a_program(text: &str) -> bool {
    let (program, rest) = text.split_once(' ').unwrap_or((text, ""));
    // "multipath reports …" and "iscsiadm failed" are prose.
    let is_prose = ["multipath", "iscsiadm"].contains(&program) && !rest.starts_with('-');
    PROGRAMS.contains(&program) && !rest.is_empty() && !is_prose
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_of_a_hint_stand_behind_colons() {
        assert_eq!(commands("see why: ls -l {FILE}; then: rm x"), ["ls -l {FILE}", "rm x"]);
        assert_eq!(commands("iscsictl paths"), ["iscsictl paths"]);
        assert_eq!(commands("multipath reports faults: sudo multipath -t"), ["sudo multipath -t"]);
        assert_eq!(commands("multipath reports faults in other files too"), [""; 0]);
        assert_eq!(
            words("iscsictl add {TARGET} {PORTAL} && rm {FILE}"),
            [
                vec!["iscsictl", "add", "iqn.2003-01.com.example:a(b)*;[c]~#d!", "[2001:db8::21]:3260"],
                vec!["rm", "/var/lib/iscsi/my secret's;id"]
            ]
        );
        assert_eq!(filled("rm {FILE}"), r"rm '/var/lib/iscsi/my secret'\''s;id'");
        assert_eq!(names("a {ONE} and {TWO}").collect::<Vec<_>>(), ["ONE", "TWO"]);
    }
}
