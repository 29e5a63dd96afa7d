//! The text of a record or of iscsid.conf, read as open-iscsi reads it (usr/idbm.c,
//! `idbm_recinfo_config`): `key = value` lines, without a frame, between whatever else is there.
//! Must not be printed: a record holds secrets.

use zeroize::Zeroizing;

/// The longest key and value that every open-iscsi reads without overrunning its stack
/// (CVE-2026-18724).
const KEY_MAX: usize = 127;
const VALUE_MAX: usize = 255;
/// open-iscsi reads no more at once: what is left of a longer line is the next line to it.
const PIECE: usize = 2047;

const BEGIN: &str = "# BEGIN RECORD";
const END: &[u8] = b"# END RECORD";

/// A file of `key = value` lines. Everything in it that is not changed stays byte for byte.
pub(crate) struct Record {
    /// The lines as open-iscsi reads them, each with its newline, if it has one.
    pieces: Vec<Zeroizing<Vec<u8>>>,
}

/// What is wrong with a record or a change to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("it is empty")]
    Empty,
    #[error("it is truncated: the target or the address is missing")]
    CutOff,
    #[error("it names another target than its folder")]
    OtherTarget,
    #[error("it names another address or port than its folder")]
    OtherPortal,
    #[error("it names another iface than its file")]
    OtherIface,
    #[error("its CHAP secret is not UTF-8 text, or holds a control character")]
    BadSecret,
    #[error("it is not a regular file, or is larger than 64 KiB")]
    Unsafe,
    #[error("it is behind a symlink that leads where other users can change something")]
    Link,
    #[error("it cannot be read")]
    Unreadable,
    #[error("a key or value is too long or holds a control character")]
    BadLine,
}

impl Record {
    /// A new, empty record.
    pub(crate) fn new() -> Self {
        Self::parse([format!("{BEGIN} 2.1\n").as_bytes(), END, b"\n"].concat().as_slice())
    }

    /// Parses any bytes: open-iscsi skips what is not a setting.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let lines = bytes.split_inclusive(|byte| *byte == b'\n');
        let pieces = lines.flat_map(|line| line.chunks(PIECE));
        Self { pieces: pieces.map(|piece| Zeroizing::new(piece.to_vec())).collect() }
    }

    /// Whether open-iscsi finds no setting in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.settings().next().is_none()
    }

    /// The value of a key; the last one wins, as in open-iscsi.
    pub(crate) fn value(&self, key: &str) -> Option<&[u8]> {
        self.settings().filter(|(k, _)| *k == key.as_bytes()).last().map(|(_, value)| value)
    }

    /// The same, if it is text.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        std::str::from_utf8(self.value(key)?).ok()
    }

    /// The value of a key that has a fixed set of them: the last valid one, since open-iscsi skips
    /// any other.
    pub(crate) fn choice<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        let values = self.settings().filter(|(k, _)| *k == key.as_bytes());
        values.filter_map(|(_, value)| std::str::from_utf8(value).ok()?.parse().ok()).last()
    }

    /// The value of a key that holds a number, which ends at the first other character.
    pub(crate) fn number(&self, key: &str) -> Option<i32> {
        self.value(key).map(number)
    }

    /// All keys and values in order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.settings().filter_map(|(key, value)| Some((std::str::from_utf8(key).ok()?, value)))
    }

    /// The same, whatever their bytes.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.settings()
    }

    fn settings(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.pieces.iter().filter_map(|piece| split(piece))
    }

    /// Sets a key in place, or at the end. Earlier lines of the key, which have no effect, stay.
    pub(crate) fn set(&mut self, key: &str, value: impl AsRef<[u8]>) -> Result<(), RecordError> {
        let value = value.as_ref();
        if value.iter().any(u8::is_ascii_control) {
            return Err(RecordError::BadLine);
        }
        self.set_as_read(key, value)
    }

    /// The same for a value that open-iscsi has in another file: a tab may be in it.
    pub(crate) fn set_as_read(&mut self, key: &str, value: &[u8]) -> Result<(), RecordError> {
        let is_key = (1..=KEY_MAX).contains(&key.len())
            && !key.bytes().any(|byte| is_space(&byte) || byte.is_ascii_control() || byte == b'=')
            && !key.starts_with('#');
        let is_value = (1..=VALUE_MAX).contains(&value.len())
            && trim(value) == value
            && !value.iter().any(|byte| matches!(byte, 0 | b'\n'));
        if !is_key || !is_value {
            return Err(RecordError::BadLine);
        }
        self.put([key.as_bytes(), b" = ", value].concat(), key);
        Ok(())
    }

    /// The last line that holds a key, unchanged.
    pub(crate) fn line(&self, key: &str) -> Option<&[u8]> {
        let piece = self.pieces.get(self.place_of(key)?)?;
        piece.strip_suffix(b"\n")
    }

    /// Replaces the key's last line with this one; `None` removes the key.
    pub(crate) fn set_line(&mut self, key: &str, line: Option<&str>) -> Result<(), RecordError> {
        let Some(line) = line else {
            self.remove(key);
            return Ok(());
        };
        let whole = format!("{line}\n");
        let is_it = !line.contains('\n')
            && whole.len() <= PIECE
            && split(whole.as_bytes()).is_some_and(|(k, value)| {
                k == key.as_bytes() && k.len() <= KEY_MAX && value.len() <= VALUE_MAX
            });
        if !is_it {
            return Err(RecordError::BadLine);
        }
        self.put(line.as_bytes().to_vec(), key);
        Ok(())
    }

    /// Removes a key; comments that look like it stay.
    pub(crate) fn remove(&mut self, key: &str) {
        while let Some(place) = self.place_of(key) {
            self.take(place);
        }
    }

    /// Removes the lines of a key but the last one, which is the one that counts.
    pub(crate) fn remove_earlier(&mut self, key: &str) {
        let is_it = |piece: &[u8]| split(piece).is_some_and(|(k, _)| k == key.as_bytes());
        while let Some(last) = self.place_of(key)
            && let Some(place) = self.pieces.iter().take(last).position(|piece| is_it(piece))
        {
            self.take(place);
        }
    }

    /// The text to write.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let size = self.pieces.iter().map(|piece| piece.len()).sum();
        // Reserved at once: a vector that grows leaves copies behind that are never wiped.
        let mut bytes = Zeroizing::new(Vec::with_capacity(size));
        for piece in &self.pieces {
            bytes.extend_from_slice(piece);
        }
        bytes
    }

    fn place_of(&self, key: &str) -> Option<usize> {
        self.pieces.iter().rposition(|piece| split(piece).is_some_and(|(k, _)| k == key.as_bytes()))
    }

    /// Puts a line where the key is, or before the end of the record.
    fn put(&mut self, mut line: Vec<u8>, key: &str) {
        line.push(b'\n');
        let line = Zeroizing::new(line);
        if let Some(place) = self.place_of(key).and_then(|place| self.pieces.get_mut(place)) {
            *place = line;
            return;
        }
        // Not after a last line without a newline: open-iscsi skips that, and must go on doing so.
        let is_whole = |piece: &Zeroizing<Vec<u8>>| piece.ends_with(b"\n");
        let whole = self.pieces.iter().rposition(is_whole).map_or(0, |last| last + 1);
        let end = self.pieces.iter().rposition(|piece| is_whole(piece) && trim(piece) == END);
        self.pieces.insert(end.unwrap_or(whole), line);
    }

    /// Takes a piece out. What precedes it in a line that is too long must not meet the next line.
    fn take(&mut self, place: usize) {
        let before = place.checked_sub(1).and_then(|before| self.pieces.get(before));
        let is_alone = before.is_none_or(|before| before.ends_with(b"\n"));
        match self.pieces.get_mut(place) {
            Some(piece) if !is_alone => *piece = Zeroizing::new(b"\n".to_vec()),
            Some(_) => drop(self.pieces.remove(place)),
            None => {}
        }
    }
}

/// The key and value of a line as open-iscsi reads it: `#` starts a comment only at the start, the
/// byte after the key is skipped whatever it is (so `key=value` is not a setting, and `key==value`
/// is), and the value runs to the end of the line. A line without a newline does not count.
fn split(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let line = line.strip_suffix(b"\n")?;
    if line.contains(&0) {
        return None;
    }
    let line = trim(line);
    if line.starts_with(b"#") {
        return None;
    }
    let end = line.iter().position(|byte| is_space(byte) || *byte == b'=')?;
    let (key, rest) = line.split_at_checked(end)?;
    let value = trim(trim(rest.get(1..)?).strip_prefix(b"=")?);
    (!value.is_empty()).then_some((key, value))
}

/// The white space of C, which has one byte more than Rust's for bytes, and is not Unicode's.
fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

pub(in super::super) fn trim(mut text: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = text
        && is_space(first)
    {
        text = rest;
    }
    while let [rest @ .., last] = text
        && is_space(last)
    {
        text = rest;
    }
    text
}

/// `strtoul` in base 10, stored in an `int`.
fn number(value: &[u8]) -> i32 {
    let (is_negative, digits) = match value {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let number = digits
        .map(|byte| u64::from(byte - b'0'))
        .try_fold(0_u64, |number, digit| number.checked_mul(10)?.checked_add(digit));
    let number = match number {
        None => u64::MAX,
        Some(number) if is_negative => number.wrapping_neg(),
        Some(number) => number,
    };
    let low = u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
    low.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str =
        "# BEGIN RECORD 2.1.11\nnode.name = iqn.2001-04.com.example\nnode.tpgt = 1\n# END RECORD\n";

    fn text_of(record: &Record) -> String {
        String::from_utf8(record.to_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_record_is_read_and_changed_line_by_line() {
        let mut record = Record::parse(TEXT.as_bytes());
        assert_eq!(record.get("node.tpgt"), Some("1"));
        record.set("node.session.auth.password", "my = # secret").unwrap();
        record.set("node.tpgt", "2").unwrap();
        assert_eq!(
            text_of(&record),
            "# BEGIN RECORD 2.1.11\nnode.name = iqn.2001-04.com.example\nnode.tpgt = 2\n\
             node.session.auth.password = my = # secret\n# END RECORD\n"
        );
        record.remove("node.session.auth.password");
        assert_eq!(record.get("node.session.auth.password"), None);
    }

    #[test]
    fn a_line_comes_back_as_it_stood() {
        for end in ["\n", "\r\n"] {
            let line = format!("node.tpgt  =\t1{}", end.trim_end_matches('\n'));
            let text = TEXT.replace("node.tpgt = 1", "node.tpgt = 7\nnode.tpgt  =\t1").replace('\n', end);
            let mut record = Record::parse(text.as_bytes());
            let former = record.line("node.tpgt").map(|line| String::from_utf8(line.to_vec()).unwrap());
            assert_eq!(former.as_deref(), Some(line.as_str()));
            record.set("node.tpgt", "2").unwrap();
            assert_eq!(record.get("node.tpgt"), Some("2"));
            record.set_line("node.tpgt", former.as_deref()).unwrap();
            record.set("node.startup", "manual").unwrap();
            record.set_line("node.startup", None).unwrap();
            assert_eq!(text_of(&record), text);
            for bad in ["node.name = x", "node.tpgt=1", "node.tpgt = 1\nx = y"] {
                assert_eq!(record.set_line("node.tpgt", Some(bad)), Err(RecordError::BadLine), "{bad}");
            }
        }
    }

    #[test]
    fn a_record_needs_no_frame_no_end_and_no_utf_8() {
        let plain = "node.name = a\nnode.startup = automatic\n";
        for text in [
            plain.as_bytes().to_vec(),
            format!("{TEXT}{plain}").into_bytes(),
            format!("# BEGIN RECORD 2.1\n{plain}# END RECORD\n# changed by hand\n\n").into_bytes(),
            format!("# BEGIN RECORD 2.1\n{plain}# END RECORD").into_bytes(),
            [b"# caf\xe9\n\xff\xfe\n".as_slice(), plain.as_bytes()].concat(),
            plain.replace('\n', "\r\n").into_bytes(),
            format!("node.name\n=\n = \n{plain}").into_bytes(),
            format!("{plain}node.startup = manual").into_bytes(),
            format!("{plain}node.startup = man\0ual\n").into_bytes(),
            format!("{plain}{}node.startup = manual", "x".repeat(4096)).into_bytes(),
        ] {
            let shown = String::from_utf8_lossy(&text).into_owned();
            let mut record = Record::parse(&text);
            assert_eq!(record.get("node.name"), Some("a"), "{shown}");
            assert_eq!(record.get("node.startup"), Some("automatic"), "{shown}");
            assert_eq!(*record.to_bytes(), text, "{shown}");
            record.set("node.startup", "manual").unwrap();
            assert_eq!(record.get("node.startup"), Some("manual"), "{shown}");
            record.set("node.startup", "automatic").unwrap();
            record.set("a.new.key", "1").unwrap();
            assert_eq!(
                record.get("node.startup"),
                Some("automatic"),
                "what had no effect has none now: {shown}"
            );
            record.remove("a.new.key");
            let again = String::from_utf8_lossy(&record.to_bytes()).replace('\r', "");
            assert_eq!(again, shown.replace('\r', ""));
        }
    }

    #[test]
    fn a_record_without_a_setting_is_empty() {
        for text in ["", "\n\n", "# BEGIN RECORD 2.1\n# END RECORD\n", "node.name = iq", "node.name\n"] {
            assert!(Record::parse(text.as_bytes()).is_empty(), "{text:?}");
        }
        assert!(!Record::parse(TEXT.as_bytes()).is_empty());
    }

    #[test]
    fn numbers_and_choices_are_read_as_open_iscsi_reads_them() {
        let number = |text: &str| Record::parse(format!("n = {text}\n").as_bytes()).number("n");
        for (text, expected) in [
            ("3260", 3260),
            ("03260", 3260),
            ("3260 # x", 3260),
            ("-1", -1),
            ("+5", 5),
            ("x", 0),
            ("99999999999999999999999", -1),
            ("4294967295", -1),
            ("0x10", 0),
            ("- 1", 0),
        ] {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        let record = Record::parse(b"p = 1\np = 2\np = two\n");
        assert_eq!(record.choice::<u8>("p"), Some(2), "what is not a value is skipped");
        assert_eq!(record.get("p"), Some("two"));
    }

    #[test]
    fn a_line_that_is_too_long_is_more_than_one() {
        let at = |long: usize, rest: &str| {
            let text = format!("{}{rest}\nb = 2\n", "x".repeat(long));
            let mut record = Record::parse(text.as_bytes());
            let a = record.get("a").map(str::to_owned);
            record.remove("a");
            assert_eq!((record.get("a"), record.get("b")), (None, Some("2")), "{long}");
            a
        };
        assert_eq!(at(2047, "a = 1").as_deref(), Some("1"));
        assert_eq!(at(4094, " a = 1").as_deref(), Some("1"));
        assert_eq!(at(2046, "a = 1"), None);
        assert_eq!(at(2048, "a = 1"), None);
    }

    #[test]
    fn a_line_cannot_be_smuggled_in() {
        let mut record = Record::new();
        for (key, value) in [
            ("a", "b\nnode.startup = automatic"),
            ("a b", "c"),
            ("a=b", "c"),
            ("#a", "c"),
            ("a", ""),
            ("a", " b"),
            ("a", &"x".repeat(256)),
            (&"k".repeat(128), "v"),
        ] {
            assert_eq!(record.set(key, value), Err(RecordError::BadLine), "{key:?} {value:?}");
            assert_eq!(
                record.set_as_read(key, value.as_bytes()),
                Err(RecordError::BadLine),
                "{key:?} {value:?}"
            );
        }
        assert_eq!(record.set("a", "b\tc"), Err(RecordError::BadLine));
        assert_eq!(record.set_as_read("a", b"b\tc\xe9"), Ok(()));
        assert_eq!(record.value("a"), Some(b"b\tc\xe9".as_slice()));
    }

    #[test]
    fn lines_are_read_as_open_iscsi_reads_them() {
        let conf = Record::parse(
            b"a=1\n b = 2 \n#c = 3\nd =4\ne  =  5 # not a comment\nf = \nb = 6\ng==7\nh= =8\ni = = 9\n\
              j\x0b=\x0c10\nk =\xa011\n # l = 12\nl m = 13\n",
        );
        for (key, value) in [
            ("a", None),
            ("b", Some("6")),
            ("c", None),
            ("d", Some("4")),
            ("e", Some("5 # not a comment")),
            ("f", None),
            ("g", Some("7")),
            ("h", Some("8")),
            ("i", Some("= 9")),
            ("j", Some("10")),
            ("k", None),
            ("l", None),
        ] {
            assert_eq!(conf.get(key), value, "{key}");
        }
        assert_eq!(conf.value("k"), Some(b"\xa011".as_slice()), "a no-break space is not white space");
    }

    /// What open-iscsi's C does with one file, step by step and byte by byte.
    fn reference(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            // fgets(buffer, 2048, f)
            let mut line = Vec::new();
            while at < bytes.len() && line.len() < 2047 {
                line.push(bytes[at]);
                at += 1;
                if line.last() == Some(&b'\n') {
                    break;
                }
            }
            let len = line.iter().position(|b| *b == 0).unwrap_or(line.len());
            if len == 0 || line[len - 1] != b'\n' {
                continue;
            }
            let isspace = |b: u8| b == b' ' || (9..=13).contains(&b);
            let (mut start, mut end) = (0, len);
            while end > start && isspace(line[end - 1]) {
                end -= 1;
            }
            while start < end && isspace(line[start]) {
                start += 1;
            }
            let line = &line[start..end];
            let peek = |at: usize| line.get(at).copied().unwrap_or(0);
            if line.is_empty() || line[0] == b'#' {
                continue;
            }
            let mut nl = 0;
            while peek(nl) != 0 && !isspace(peek(nl)) && peek(nl) != b'=' {
                nl += 1;
            }
            if peek(nl) == 0 {
                continue;
            }
            let name = line[..nl].to_vec();
            nl += 1;
            while peek(nl) != 0 && isspace(peek(nl)) {
                nl += 1;
            }
            if peek(nl) != b'=' {
                continue;
            }
            nl += 1;
            while peek(nl) != 0 && isspace(peek(nl)) {
                nl += 1;
            }
            if peek(nl) != 0 {
                found.push((name, line[nl..].to_vec()));
            }
        }
        found
    }

    /// Files of what records are made of, more often than of any bytes.
    fn files() -> impl Strategy<Value = Vec<u8>> {
        let part = prop_oneof![
            4 => Just(b"node.startup".to_vec()), 4 => Just(b" = ".to_vec()), 4 => Just(b"\n".to_vec()),
            2 => Just(b"=".to_vec()), 2 => Just(b"automatic".to_vec()), 2 => Just(b" ".to_vec()),
            1 => Just(b"#".to_vec()), 1 => Just(b"\r\n".to_vec()), 1 => Just(b"\t".to_vec()), 1 => Just(b"\x0b".to_vec()),
            1 => Just(b"\0".to_vec()), 1 => Just(b"\xe9\xa0".to_vec()), 1 => Just(b"# END RECORD\n".to_vec()),
            1 => (2030_usize..2060).prop_map(|long| vec![b'x'; long]), 1 => any::<Vec<u8>>(),
        ];
        proptest::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn any_file_is_read_as_open_iscsi_reads_it_and_kept_byte_for_byte(bytes in files()) {
            let record = Record::parse(&bytes);
            let found: Vec<_> = record.settings().map(|(k, v)| (k.to_vec(), v.to_vec())).collect();
            prop_assert_eq!(found, reference(&bytes));
            let written = record.to_bytes();
            prop_assert_eq!(written.as_slice(), bytes.as_slice());
        }

        #[test]
        fn a_change_changes_nothing_else(bytes in files(), key in "node\\.(startup|tpgt)", value in "[!-~]{1,9}") {
            let mut record = Record::parse(&bytes);
            record.set(&key, &value).unwrap();
            let others = |bytes: &[u8]| {
                reference(bytes).into_iter().filter(|(k, _)| k != key.as_bytes()).collect::<Vec<_>>()
            };
            let changed = record.to_bytes();
            prop_assert_eq!(others(&changed), others(&bytes));
            let last = reference(&changed).into_iter().rfind(|(k, _)| k == key.as_bytes()).map(|(_, v)| v);
            prop_assert_eq!(last, Some(value.into_bytes()));
            record.remove(&key);
            let removed = record.to_bytes();
            prop_assert_eq!(reference(&removed), others(&bytes));
        }

        #[test]
        fn what_is_set_is_read_back(value in "[!-~]([ -~]{0,253}[!-~])?") {
            let mut record = Record::new();
            record.set("node.session.auth.password", &value).unwrap();
            let again = Record::parse(&record.to_bytes());
            prop_assert_eq!(again.get("node.session.auth.password"), Some(value.as_str()));
        }
    }
}
