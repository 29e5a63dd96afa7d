//! Words as a shell reads them back: what a hint has of names and addresses works when it is pasted.
//! Must not start a shell.

use crate::is_unseen;

/// One word of a command for bash and zsh, quoted where a shell would take it for something else:
/// the brackets of an IPv6 portal, the blanks of a file's name.
///
/// ```
/// use iscsi_initiator_dbus::shell::quoted;
/// assert_eq!(quoted("192.0.2.21:3260"), "192.0.2.21:3260");
/// assert_eq!(quoted("[2001:db8::21]:3260"), "'[2001:db8::21]:3260'");
/// ```
#[must_use]
pub fn quoted(word: impl ToString) -> String {
    let word = word.to_string();
    if word.chars().any(|c| c.is_control() || is_unseen(c)) {
        return escaped(&word);
    }
    // In zsh a word that begins with "=" is the path of a program.
    if !word.is_empty() && word.chars().all(is_plain) && !word.starts_with('=') {
        return word;
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// A whole command, each word quoted where it needs it.
#[must_use]
pub fn command<W: ToString>(words: impl IntoIterator<Item = W>) -> String {
    words.into_iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// The programs that the command of a hint begins with: a client keeps what follows whole.
pub const PROGRAMS: [&str; 24] = [
    "chmod",
    "chown",
    "cryptsetup",
    "dmsetup",
    "fuser",
    "ip",
    "iscsiadm",
    "iscsictl",
    "journalctl",
    "kill",
    "losetup",
    "ls",
    "lsof",
    "lvchange",
    "mdadm",
    "modprobe",
    "multipath",
    "ping",
    "rm",
    "sudo",
    "swapoff",
    "systemctl",
    "umount",
    "vgchange",
];

/// A hint that has objects in it: the only way to put one into a command, since each is quoted here.
///
/// A command stands at the beginning, or behind a colon, and reaches to the end or to a semicolon.
/// `docs/hints.md` lists them all.
///
/// ```
/// use iscsi_initiator_dbus::hint;
/// let at = "[2001:db8::21]:3260";
/// assert_eq!(
///     hint!("list its targets: iscsictl discover {PORTAL}", PORTAL = at),
///     "list its targets: iscsictl discover '[2001:db8::21]:3260'",
/// );
/// ```
#[macro_export]
macro_rules! hint {
    ($text:literal, $($object:ident = $value:expr),+ $(,)?) => {
        ::std::format!($text, $($object = $crate::shell::quoted(&$value)),+)
    };
}

/// What no shell treats otherwise than as itself, wherever it stands.
fn is_plain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '@' | '%' | '+' | '=' | ':' | ',' | '.' | '/' | '-')
}

/// What would not be seen, as an escape that bash and zsh read back.
fn escaped(word: &str) -> String {
    let mut text = String::from("$'");
    for c in word.chars() {
        match c {
            '\'' | '\\' => text.extend(['\\', c]),
            c if c.is_ascii_control() => text.push_str(&format!("\\{:03o}", u32::from(c))),
            c if c.is_control() || is_unseen(c) => text.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => text.push(c),
        }
    }
    text.push('\'');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_shell_would_change_is_quoted() {
        for plain in
            ["iqn.2003-01.com.example:disks", "192.0.2.21:3260", "/run/secrets/chap", "--user=größe", "a%b@c"]
        {
            assert_eq!(quoted(plain), plain);
        }
        for (word, text) in [
            ("", "''"),
            ("[2001:db8::21]:3260", "'[2001:db8::21]:3260'"),
            ("[fe80::1%eth0]:3260", "'[fe80::1%eth0]:3260'"),
            ("iqn.2001-04.com.example:a(b)*", "'iqn.2001-04.com.example:a(b)*'"),
            ("my secret", "'my secret'"),
            ("s;id", "'s;id'"),
            ("it's", "'it'\\''s'"),
            ("$(id)", "'$(id)'"),
            ("~root", "'~root'"),
            ("=ls", "'=ls'"),
            ("a\nb'\\", "$'a\\012b\\'\\\\'"),
            ("a\u{202e}b", "$'a\\U0000202eb'"),
        ] {
            assert_eq!(quoted(word), text);
        }
        assert_eq!(command(["chmod", "600", "my secret"]), "chmod 600 'my secret'");
    }

    #[test]
    fn what_is_put_into_a_hint_is_quoted_wherever_it_stands() {
        let (file, at) = ("s;id", "[2001:db8::21]:3260");
        assert_eq!(
            hint!("at {PORTAL}: sudo rm {FILE} && iscsictl discover {PORTAL}", FILE = file, PORTAL = at),
            "at '[2001:db8::21]:3260': sudo rm 's;id' && iscsictl discover '[2001:db8::21]:3260'"
        );
    }
}
