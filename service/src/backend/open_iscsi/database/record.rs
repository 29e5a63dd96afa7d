//! The text of a record or of iscsid.conf: `key = value` lines (usr/idbm.c, `idbm_recinfo_config`).
//! Must not be printed: a record holds secrets.

use zeroize::Zeroizing;

/// The longest key and value that every open-iscsi reads without overrunning its stack
/// (CVE-2026-18724).
const KEY_MAX: usize = 127;
const VALUE_MAX: usize = 255;

const BEGIN: &str = "# BEGIN RECORD";
const END: &str = "# END RECORD";

/// A file of `key = value` lines; comments and order are kept.
pub(crate) struct Record {
    lines: Vec<Zeroizing<String>>,
}

/// What is wrong with a record or a change to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("it is empty")]
    Empty,
    #[error("it is not text")]
    NotText,
    #[error("it is truncated")]
    CutOff,
    #[error("it is not a regular file owned by root")]
    Unsafe,
    #[error("it cannot be read")]
    Unreadable,
    #[error("a key or value is too long or holds a control character")]
    BadLine,
}

impl Record {
    /// A new, empty record.
    pub(crate) fn new() -> Self {
        let line = |text: String| Zeroizing::new(text);
        Self { lines: vec![line(format!("{BEGIN} 2.1")), line(END.to_owned())] }
    }

    /// Parses a record of the database. Rejects an empty or truncated one, as a crash of iscsiadm
    /// leaves it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.is_empty() {
            return Err(RecordError::Empty);
        }
        let record = Self::parse_plain(bytes)?;
        // open-iscsi drops a last line without a newline, so it counts as truncated.
        if !bytes.ends_with(b"\n") || record.lines.last().is_none_or(|last| last.trim_end() != END) {
            return Err(RecordError::CutOff);
        }
        Ok(record)
    }

    /// Parses a file without the frame of a record: iscsid.conf, which may be empty.
    pub(crate) fn parse_plain(bytes: &[u8]) -> Result<Self, RecordError> {
        let text = std::str::from_utf8(bytes).map_err(|_| RecordError::NotText)?;
        Ok(Self { lines: text.lines().map(|line| Zeroizing::new(line.to_owned())).collect() })
    }

    /// The value of a key; the last one wins, as in open-iscsi.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.pairs().filter(|(k, _)| *k == key).last().map(|(_, value)| value)
    }

    /// All keys and values in order.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.iter().filter_map(|line| split(line))
    }

    /// Sets a key in place, or at the end.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<(), RecordError> {
        let fits = |text: &str, max: usize| {
            !text.is_empty()
                && text.len() <= max
                && text.trim() == text
                && !text.chars().any(char::is_control)
        };
        if !fits(key, KEY_MAX) || key.contains([' ', '=', '#']) || !fits(value, VALUE_MAX) {
            return Err(RecordError::BadLine);
        }
        let place = self.lines.iter().position(|line| split(line).is_some_and(|(k, _)| k == key));
        self.remove(key);
        let end = self.lines.iter().rposition(|line| line.trim_end() == END).unwrap_or(self.lines.len());
        let place = place.unwrap_or(end).min(end);
        self.lines.insert(place, Zeroizing::new(format!("{key} = {value}")));
        Ok(())
    }

    /// The line that holds a key, unchanged.
    pub(crate) fn line(&self, key: &str) -> Option<&str> {
        let is_it = |line: &&Zeroizing<String>| split(line).is_some_and(|(k, _)| k == key);
        self.lines.iter().rev().find(is_it).map(|line| line.as_str())
    }

    /// Replaces the key's line with this one; `None` removes the key.
    pub(crate) fn set_line(&mut self, key: &str, line: Option<&str>) -> Result<(), RecordError> {
        let Some(line) = line else {
            self.remove(key);
            return Ok(());
        };
        let (_, value) = split(line).filter(|(k, _)| *k == key).ok_or(RecordError::BadLine)?;
        self.set(key, value)?;
        if let Some(place) = self.lines.iter_mut().find(|line| split(line).is_some_and(|(k, _)| k == key)) {
            *place = Zeroizing::new(line.to_owned());
        }
        Ok(())
    }

    /// Removes a key; comments that look like it stay.
    pub(crate) fn remove(&mut self, key: &str) {
        self.lines.retain(|line| split(line).is_none_or(|(k, _)| k != key));
    }

    /// The text to write.
    pub(crate) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let size = self.lines.iter().map(|line| line.len() + 1).sum();
        // Reserved at once: a vector that grows leaves copies behind that are never wiped.
        let mut bytes = Zeroizing::new(Vec::with_capacity(size));
        for line in &self.lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.push(b'\n');
        }
        bytes
    }
}

/// A line as open-iscsi reads it: `#` starts a comment only at the start, the separator needs a
/// blank before it (`key=value` is rejected there), and the value runs to the end of the line.
fn split(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.starts_with('#') {
        return None;
    }
    let (key, rest) = line.split_once(char::is_whitespace)?;
    let value = rest.trim_start().strip_prefix('=')?.trim_start();
    (!key.contains('=') && !value.is_empty()).then_some((key, value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &str =
        "# BEGIN RECORD 2.1.11\nnode.name = iqn.2001-04.com.example\nnode.tpgt = 1\n# END RECORD\n";

    #[test]
    fn a_record_is_read_and_changed_line_by_line() {
        let mut record = Record::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(record.get("node.tpgt"), Some("1"));
        record.set("node.session.auth.password", "my = # secret").unwrap();
        record.set("node.tpgt", "2").unwrap();
        let bytes = record.to_bytes();
        assert_eq!(
            std::str::from_utf8(&bytes).unwrap(),
            "# BEGIN RECORD 2.1.11\nnode.name = iqn.2001-04.com.example\nnode.tpgt = 2\n\
             node.session.auth.password = my = # secret\n# END RECORD\n"
        );
        record.remove("node.session.auth.password");
        assert_eq!(record.get("node.session.auth.password"), None);
    }

    #[test]
    fn a_line_comes_back_as_it_stood() {
        let text = TEXT.replace("node.tpgt = 1", "node.tpgt  =\t1");
        let mut record = Record::parse(text.as_bytes()).unwrap();
        let line = record.line("node.tpgt").map(str::to_owned);
        assert_eq!(line.as_deref(), Some("node.tpgt  =\t1"));
        record.set("node.tpgt", "2").unwrap();
        record.set_line("node.tpgt", line.as_deref()).unwrap();
        record.set("node.startup", "manual").unwrap();
        record.set_line("node.startup", None).unwrap();
        assert_eq!(*record.to_bytes(), text.as_bytes());
        for bad in ["node.name = x", "node.tpgt=1", "node.tpgt = 1\nx = y"] {
            assert_eq!(record.set_line("node.tpgt", Some(bad)), Err(RecordError::BadLine), "{bad}");
        }
    }

    #[test]
    fn a_damaged_record_is_told_for_what_it_is() {
        let parse = |text: &str| Record::parse(text.as_bytes()).err();
        assert_eq!(parse(""), Some(RecordError::Empty));
        assert_eq!(parse("# BEGIN RECORD 2.1.11\nnode.name = iq"), Some(RecordError::CutOff));
        assert_eq!(parse(TEXT.trim_end()), Some(RecordError::CutOff));
        assert_eq!(Record::parse(b"\xff\n").err(), Some(RecordError::NotText));
        assert_eq!(parse(TEXT), None);
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
        }
    }

    #[test]
    fn lines_are_read_as_open_iscsi_reads_them() {
        let conf = Record::parse_plain(b"a=1\n b = 2 \n#c = 3\nd =4\ne  =  5 # not a comment\nf = \nb = 6\n")
            .unwrap();
        assert_eq!(conf.get("a"), None);
        assert_eq!(conf.get("b"), Some("6"));
        assert_eq!(conf.get("c"), None);
        assert_eq!(conf.get("d"), Some("4"));
        assert_eq!(conf.get("e"), Some("5 # not a comment"));
        assert_eq!(conf.get("f"), None);
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_back(value in "[!-~]([ -~]{0,253}[!-~])?") {
            let mut record = Record::new();
            record.set("node.session.auth.password", &value).unwrap();
            let again = Record::parse(&record.to_bytes()).unwrap();
            prop_assert_eq!(again.get("node.session.auth.password"), Some(value.as_str()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            if let Ok(record) = Record::parse_plain(&bytes) {
                record.pairs().count();
            }
        }
    }
}
