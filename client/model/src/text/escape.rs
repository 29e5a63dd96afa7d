//! Text from elsewhere, made fit to be shown: on a terminal, and in a window, where what reorders text deceives as well.
//! Must not let a control, reordering or invisible character through, or drop one unseen.

use iscsi_initiator_dbus::is_unseen;

/// Shows such characters as `\n`, `\u{1b}` and so on, and leaves the rest alone.
pub fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { safe.extend(c.escape_default()) } else { safe.push(c) }
    }
    safe
}

/// Escape sequences (C0, C1, DEL), line breaks, what reorders text, and what is not seen.
pub fn is_unsafe(c: char) -> bool {
    c.is_control() || is_unseen(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tricks_are_shown_for_what_they_are() {
        for (text, shown) in [
            ("iqn.2003-01.com.example:ünï", "iqn.2003-01.com.example:ünï"),
            ("a\\b", "a\\b"),
            ("\x1b[2Jgone", "\\u{1b}[2Jgone"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("one\ntwo\r\t", "one\\ntwo\\r\\t"),
            ("\x07\x7f\0", "\\u{7}\\u{7f}\\u{0}"),
            ("gw\u{202e}txt", "gw\\u{202e}txt"),
            ("a\u{200b}b\u{2066}c\u{feff}", "a\\u{200b}b\\u{2066}c\\u{feff}"),
            ("tag\u{e0041}", "tag\\u{e0041}"),
        ] {
            assert_eq!(escape(text), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_unsafe_comes_out_and_nothing_safe_is_lost(text in ".*", trick in "[\\x00-\\x1f\\x7f-\\u{9f}\u{202a}-\u{202e}]") {
            let shown = escape(&format!("{text}{trick}{text}"));
            prop_assert!(!shown.chars().any(is_unsafe));
            let safe: String = text.chars().filter(|c| !is_unsafe(*c)).collect();
            prop_assert!(shown.len() > 2 * safe.len());
            if safe == text {
                prop_assert!(shown.starts_with(&text) && shown.ends_with(&text));
            }
        }
    }
}
