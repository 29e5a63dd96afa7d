//! Characters that hide or reorder text on a screen. One list, for what may be in a name and for what
//! a program shows.

/// Whether a character cannot be seen, looks like a blank without being one, or changes the order in
/// which others are shown. Control characters and blanks are not among these.
#[must_use]
pub fn is_unseen(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1d159}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0000}'..='\u{e0fff}'
    )
}

/// Whether a character may be in a name that a dialog, a line or a command shows: no markup, no quotes, and nothing
/// that cannot be seen.
pub(crate) fn is_plain(c: char) -> bool {
    match c {
        '<' | '>' | '&' | '"' | '\'' | '`' | '$' | '\\' => false,
        c if c.is_ascii() => c.is_ascii_graphic(),
        c => c.is_alphanumeric() && !is_unseen(c),
    }
}
