//! Text that fits a terminal: wrapped at blanks, or shortened in the middle.
//! Must not cut a name at its end, or break a command that a person may paste.

use iscsi_initiator_dbus::shell;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::language::say;

/// What stands for what was left out.
const GAP: char = '…';

/// The columns that a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// The beginning and the end of a text: names often begin alike and differ in the end, so that the end
/// gets the larger part.
pub(crate) fn shortened(text: &str, columns: usize) -> String {
    let length = width(text);
    if length <= columns {
        return text.to_owned();
    }
    let kept = columns.saturating_sub(1);
    let begin = kept / 3;
    let mut short: String = upto(text.chars(), begin).into_iter().collect();
    short.push(GAP);
    short.extend(upto(text.chars().rev(), kept - begin).into_iter().rev());
    short
}

/// As many of these as fit.
fn upto(chars: impl Iterator<Item = char>, columns: usize) -> Vec<char> {
    let mut used = 0;
    let fits = |c: &char| {
        used += c.width().unwrap_or(0);
        used <= columns
    };
    chars.take_while(fits).collect()
}

/// The lines of a text, none wider than this. Broken at blanks and, in a list of devices, at commas; a
/// word that is wider than a line is shortened in the middle.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split(' ').flat_map(pieces) {
        let blank = usize::from(word.after_blank && !line.is_empty());
        if !line.is_empty() && width(&line) + blank + width(word.text) > columns {
            lines.push(std::mem::take(&mut line));
        }
        if word.after_blank && !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&shortened(word.text, columns.max(1)));
    }
    lines.push(line);
    lines
}

/// A part of a text that stays on one line.
struct Piece<'a> {
    text: &'a str,
    after_blank: bool,
}

fn pieces(word: &str) -> impl Iterator<Item = Piece<'_>> {
    parts(word).enumerate().map(|(n, text)| Piece { text, after_blank: n == 0 })
}

/// Where a word may be broken: behind a comma, as in a list of devices, and between the characters of Chinese and the
/// like, but not before a sign that ends something, or behind one that begins it.
pub(super) fn parts(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let mut places = rest.char_indices().peekable();
        while let Some((_, c)) = places.next() {
            let Some((place, next)) = places.peek().copied() else { break };
            let is_between = (is_wide(c) || is_wide(next)) && !BEGIN.contains(c) && !END.contains(next);
            if c == ',' || is_between {
                let (part, left) = rest.split_at(place);
                rest = left;
                return Some(part);
            }
        }
        (!rest.is_empty()).then(|| std::mem::take(&mut rest))
    })
}

/// Signs that begin something, and those that end it: a line does not end with the first, or begin with the second.
const BEGIN: &str = "（「『【《〈“‘(";
const END: &str = "，。、；：？！）」』】》〉”’…),.;:?!";

fn is_wide(c: char) -> bool {
    c.width() == Some(2)
}

/// The lines of a hint: its prose is wrapped; its command begins a line and stays whole, however wide the
/// terminal is, since a terminal's own wrapping leaves it one line for who copies it.
pub(crate) fn hint(text: &str, columns: usize) -> Vec<String> {
    if width(text) <= columns {
        return vec![text.to_owned()];
    }
    let (mut lines, mut prose) = (Vec::new(), String::new());
    // A quoted object may hold a semicolon, but none with a blank behind it.
    for part in text.split("; ") {
        let (said, command) = split(part).map_or((part, None), |(said, command)| (said, Some(command)));
        if !prose.is_empty() && !said.is_empty() {
            prose.push_str("; ");
        }
        prose.push_str(said);
        let Some(command) = command else { continue };
        if prose == say!("hint: {hint}", hint = "").trim_end() {
            lines.push(format!("{prose} {command}"));
        } else {
            if !prose.is_empty() {
                lines.append(&mut wrapped_whole(&prose, columns));
            }
            lines.push(command.to_owned());
        }
        prose.clear();
    }
    if !prose.is_empty() {
        lines.append(&mut wrapped_whole(&prose, columns));
    }
    lines
}

/// Sentences, wrapped at blanks only: a name in them stays whole, even where it is wider than a line.
pub(crate) fn wrapped_whole(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        // A name is not Chinese: it stays whole.
        let is_chinese = word.chars().any(is_wide);
        let pieces: Vec<&str> = if is_chinese { parts(word).collect() } else { vec![word] };
        for (number, piece) in pieces.into_iter().enumerate() {
            let blank = if number == 0 { " " } else { "" };
            match lines.last_mut() {
                Some(line) if width(line) + blank.len() + width(piece) <= columns => {
                    line.push_str(blank);
                    line.push_str(piece);
                }
                _ => lines.push(piece.to_owned()),
            }
        }
    }
    lines
}

/// A hint's prose, and its command if it ends with one.
pub(crate) fn split(hint: &str) -> Option<(&str, &str)> {
    let is_command = |text: &str| {
        let program = text.split(' ').next().unwrap_or_default();
        shell::PROGRAMS.contains(&program)
    };
    if is_command(hint) {
        return Some(("", hint));
    }
    let (prose, command) = [": ", "：", "；"].into_iter().find_map(|mark| {
        let places = hint.match_indices(mark).map(|(place, mark)| place + mark.len());
        let found = places.filter_map(|place| hint.split_at_checked(place));
        found.into_iter().find(|(_, rest)| is_command(rest))
    })?;
    Some((prose.trim_end(), command))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_keeps_its_beginning_and_more_of_its_end() {
        assert_eq!(shortened("iqn.2003-01.com.example:disks", 29), "iqn.2003-01.com.example:disks");
        assert_eq!(shortened("iqn.2003-01.com.example:disks", 16), "iqn.2…mple:disks");
        assert_eq!(shortened("größe-größe-größe", 7), "gr…röße");
        assert_eq!(shortened("abc", 1), "…");
    }

    #[test]
    fn sentences_break_at_blanks_and_lists_at_commas() {
        assert_eq!(
            wrapped("FAILED: session FREE, path failed", 14),
            ["FAILED:", "session FREE,", "path failed"]
        );
        assert_eq!(wrapped("sda,sdb,sdc", 8), ["sda,sdb,", "sdc"]);
        assert_eq!(wrapped("", 8), [""]);
        assert_eq!(wrapped("see iqn.2003-01.com.example:disks", 16), ["see", "iqn.2…mple:disks"]);
    }

    #[test]
    fn a_command_is_not_broken() {
        let text = "set both again: iscsictl set-chap iqn.2003-01.com.example:disks --user NAME";
        assert_eq!(hint(text, 100), [text]);
        assert_eq!(
            hint(text, 20),
            ["set both again:", "iscsictl set-chap iqn.2003-01.com.example:disks --user NAME"]
        );
        assert_eq!(
            hint("hint: see why: journalctl -u iscsid; if it is back: iscsictl paths; or wait", 20),
            ["hint: see why:", "journalctl -u iscsid", "if it is back:", "iscsictl paths", "or wait"]
        );
        assert_eq!(
            hint("hint: have it made; if not: iscsictl logout 'a;b'", 20),
            ["hint: have it made;", "if not:", "iscsictl logout 'a;b'"]
        );
        assert_eq!(hint("ask the gateway's administrator", 12), ["ask the", "gateway's", "administrator"]);
        assert_eq!(hint("hint: systemctl start polkit", 12), ["hint: systemctl start polkit"]);
        assert_eq!(hint("systemctl start polkit", 12), ["systemctl start polkit"]);
    }

    proptest! {
        #[test]
        fn no_line_is_wider_and_no_end_is_lost(text in "[a-z.:, ]{0,80}", columns in 1_usize..40) {
            for line in wrapped(&text, columns) {
                prop_assert!(width(&line) <= columns, "{line:?}");
            }
            let short = shortened(&text, columns);
            prop_assert!(width(&short) <= columns);
            if columns > 4 && width(&text) > columns {
                prop_assert!(short.chars().last() == text.chars().last());
            }
            let whole = wrapped_whole(&text, columns).join(" ");
            prop_assert_eq!(whole, text);
        }
    }
}
