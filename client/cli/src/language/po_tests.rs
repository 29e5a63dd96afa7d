//! For tests: the translations in `client/po`, and a catalogue of them.

/// Each text with its translation; those of a plural are two, and so may be their translations, with a NUL between.
/// What is marked as fuzzy has none.
pub(crate) fn read(text: &str) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    for entry in text.split("\n\n") {
        let (mut id, mut said, mut field) = (String::new(), String::new(), "");
        let is_fuzzy = entry.lines().any(|line| line.starts_with("#,") && line.contains("fuzzy"));
        for line in entry.lines().filter(|line| !line.starts_with('#')) {
            let (name, quoted) = line.split_at(line.find('"').unwrap_or(0));
            if !name.trim().is_empty() {
                field = name.trim();
                match field {
                    "msgid_plural" => id.push('\0'),
                    "msgstr[1]" | "msgstr[2]" => said.push('\0'),
                    _ => {}
                }
            }
            let quoted = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default();
            if field.starts_with("msgid") {
                id.push_str(&plain(quoted))
            } else {
                said.push_str(&plain(quoted))
            }
        }
        if entry.lines().any(|line| line.starts_with("msgid")) {
            entries.push((id, if is_fuzzy { String::new() } else { said }));
        }
    }
    entries
}

/// Without the backslashes of C.
pub(crate) fn plain(quoted: &str) -> String {
    let (mut text, mut is_escaped) = (String::new(), false);
    for c in quoted.chars() {
        match (is_escaped, c) {
            (false, '\\') => {
                is_escaped = true;
                continue;
            }
            (true, 'n') => text.push('\n'),
            _ => text.push(c),
        }
        is_escaped = false;
    }
    text
}

/// A catalogue, as msgfmt makes it.
pub(crate) fn compiled(entries: &[(String, String)]) -> Vec<u8> {
    let mut entries: Vec<_> = entries.iter().filter(|(_, said)| !said.is_empty()).collect();
    entries.sort();
    let number = |number: usize| u32::try_from(number).unwrap().to_le_bytes();
    let (count, head) = (entries.len(), 28);
    let mut bytes = [0x9504_12de_usize, 0, count, head, head + 8 * count, 0, 0].map(number).concat();
    let mut texts = Vec::new();
    let ids = entries.iter().map(|(id, _)| id);
    for text in ids.chain(entries.iter().map(|(_, said)| said)) {
        bytes.extend(number(text.len()));
        bytes.extend(number(head + 16 * count + texts.len()));
        texts.extend(text.as_bytes());
        texts.push(0);
    }
    bytes.extend(texts);
    bytes
}
