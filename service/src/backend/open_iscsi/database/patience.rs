//! iscsid's patience with a first login: shortened for one attempt to what its caller has, and put back.
//! It may not change a record before it is written down how to put it back, also after a kill.

use std::time::Duration;

use zeroize::Zeroizing;

use super::{Database, DatabaseError, NodeKey, io, open, read, write};

/// iscsid goes on for so many times the login timeout (usr/initiator.c, `iscsi_retry_initial_login`).
const RETRIES: &str = "node.session.initial_login_retry_max";
const TIMEOUT: &str = "node.conn[0].timeo.login_timeout";
/// What open-iscsi takes where a record does not say (usr/initiator.h, `DEF_INITIAL_LOGIN_RETRIES_MAX`, `DEF_LOGIN_TIMEO`).
const DEFAULT_RETRIES: i64 = 4;
const DEFAULT_TIMEOUT: u64 = 30;

/// Which records are shortened: a line each of path, number and former line, with tabs between.
const JOURNAL: &str = ".iscsi-initiatord.patience";

/// One shortened record.
struct Entry {
    path: String,
    /// What was set: if something else stands there later, somebody else has set it, and it stays.
    set: String,
    /// As it stood; `None` if the record did not say.
    former: Option<String>,
}

impl Database {
    /// Makes iscsid give up this node's first login within `limit`, as far as retries can; whether there is
    /// something to put back.
    pub(crate) fn shorten_patience(&self, node: &NodeKey, limit: Duration) -> Result<bool, DatabaseError> {
        let dir = open(&self.root)?;
        let _lock = self.locked()?;
        let path = node.path();
        let mut record = read(&dir, &path)?.ok_or(DatabaseError::NoSuchNode)?;
        let timeout = record.get(TIMEOUT).and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_TIMEOUT);
        // Below zero is for ever.
        let retries = record.get(RETRIES).and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_RETRIES);
        let affordable = limit.as_secs().checked_div(timeout).unwrap_or(0);
        if u64::try_from(retries).is_ok_and(|retries| retries <= affordable) {
            // Shortened by an attempt that could not put it back: this one can.
            return Ok(entries(&dir)?.iter().any(|entry| entry.path == path));
        }
        let mut entries = entries(&dir)?;
        let set = affordable.to_string();
        match entries.iter_mut().find(|entry| entry.path == path) {
            // Left by an attempt that could not put it back: its former line is the older truth.
            Some(entry) => entry.set = set,
            None => {
                let former = record.line(RETRIES).map(str::to_owned);
                entries.push(Entry { path: path.clone(), set, former });
            }
        }
        store(&dir, &entries)?;
        record.set(RETRIES, &affordable.to_string()).map_err(super::in_record(&dir, &path))?;
        write(&dir, &path, &record)?;
        Ok(true)
    }

    /// Whether records are written down to be put back: during a login, and after a kill until the next start.
    pub(crate) fn has_patience(&self) -> bool {
        self.root.join(JOURNAL).exists()
    }

    /// Puts this node's record back as it was.
    pub(crate) fn restore_patience(&self, node: &NodeKey) -> Result<(), DatabaseError> {
        let path = node.path();
        self.restore(|entry| entry.path == path)
    }

    /// After a kill: puts all of them back.
    pub(super) fn recover_patience(&self) -> Result<(), DatabaseError> {
        if self.has_patience() { self.restore(|_| true) } else { Ok(()) }
    }

    fn restore(&self, is_wanted: impl Fn(&Entry) -> bool) -> Result<(), DatabaseError> {
        let dir = open(&self.root)?;
        let _lock = self.locked()?;
        let (wanted, rest): (Vec<Entry>, Vec<Entry>) = entries(&dir)?.into_iter().partition(is_wanted);
        for entry in &wanted {
            match read(&dir, &entry.path) {
                Ok(Some(mut record)) if record.get(RETRIES) == Some(&entry.set) => {
                    let former = entry.former.as_deref();
                    record.set_line(RETRIES, former).map_err(super::in_record(&dir, &entry.path))?;
                    write(&dir, &entry.path, &record)?;
                }
                // Removed, damaged or set by somebody else: there is nothing to put back.
                Ok(_) | Err(DatabaseError::Record { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        store(&dir, &rest)
    }
}

/// A journal that cannot be read says nothing; it is written whole, so that only a foreign hand makes one.
fn entries(dir: &super::Dir) -> Result<Vec<Entry>, DatabaseError> {
    let bytes = dir.read(JOURNAL).map_err(io(dir, JOURNAL))?.unwrap_or_default();
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    Ok(text.lines().filter_map(entry).collect())
}

fn entry(line: &str) -> Option<Entry> {
    let mut parts = line.splitn(3, '\t');
    let (path, set, former) = (parts.next()?, parts.next()?, parts.next()?);
    // It becomes a path that is written to.
    let is_record = path.starts_with("nodes/") && matches!(path.split('/').count(), 3 | 4);
    let former = (!former.is_empty()).then(|| former.to_owned());
    is_record.then(|| Entry { path: path.to_owned(), set: set.to_owned(), former })
}

fn store(dir: &super::Dir, entries: &[Entry]) -> Result<(), DatabaseError> {
    if entries.is_empty() {
        return dir.remove(JOURNAL).map_err(io(dir, JOURNAL));
    }
    let line = |entry: &Entry| {
        format!("{}\t{}\t{}\n", entry.path, entry.set, entry.former.as_deref().unwrap_or_default())
    };
    let text: Zeroizing<String> = Zeroizing::new(entries.iter().map(line).collect());
    dir.replace(JOURNAL, text.as_bytes(), 0o600).map_err(io(dir, JOURNAL))
}
