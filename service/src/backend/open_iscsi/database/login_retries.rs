//! Lowers iscsid's retries of a first login for one attempt, to what its caller has time for, and
//! restores them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Database, DatabaseError, Dir, NodeKey, in_record, open, read_node, record::Record, write};

/// iscsid retries for this many times the login timeout (usr/initiator.c,
/// `iscsi_retry_initial_login`).
const RETRIES: &str = "node.session.initial_login_retry_max";
const TIMEOUT: &str = "node.conn[0].timeo.login_timeout";
/// open-iscsi's defaults where a record has none (usr/initiator.h, `DEF_INITIAL_LOGIN_RETRIES_MAX`,
/// `DEF_LOGIN_TIMEO`).
const DEFAULT_RETRIES: i32 = 4;
const DEFAULT_TIMEOUT: i32 = 30;

/// How often iscsid retries a node's first login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Retries {
    /// Below zero means for ever.
    retries: i32,
    /// How long one attempt may take, in seconds.
    timeout: i32,
}

impl Retries {
    pub(super) fn of(record: &Record) -> Self {
        Self {
            retries: record.number(RETRIES).unwrap_or(DEFAULT_RETRIES),
            timeout: record.number(TIMEOUT).unwrap_or(DEFAULT_TIMEOUT),
        }
    }

    /// How many there is time for.
    fn affordable(self, limit: Duration) -> u64 {
        let timeout = u64::try_from(self.timeout).ok();
        timeout.and_then(|timeout| limit.as_secs().checked_div(timeout)).unwrap_or(0)
    }

    /// Whether there is time for all of them.
    pub(crate) fn fit(self, limit: Duration) -> bool {
        u64::try_from(self.retries).is_ok_and(|retries| retries <= self.affordable(limit))
    }
}

/// One record whose retries were lowered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoginRetries {
    pub(crate) node: NodeKey,
    /// The value that was set: if the record holds another one later, another program has set it,
    /// and it stays.
    pub(super) set: String,
    /// The original line; `None` if the record had none.
    pub(super) former: Option<String>,
}

impl Database {
    /// Makes iscsid give up this node's first login within `limit`, as far as retries allow.
    /// `first` is called with the change before the record is changed, and not at all if nothing
    /// has to change; if it fails, nothing changes. `older` are changes of this record that are not
    /// undone yet, the oldest first: another daemon's that is exiting.
    pub(crate) fn shorten_login_retries<E: From<DatabaseError>>(
        &self,
        node: &NodeKey,
        limit: Duration,
        older: &[LoginRetries],
        first: impl FnOnce(LoginRetries) -> Result<(), E>,
    ) -> Result<(), E> {
        let dir = open(&self.root)?;
        let _lock = self.locked()?;
        shorten(&dir, node, limit, older, first)
    }

    /// The same for several nodes, of which no change is left to be undone, under one lock. Ends at the
    /// first that fails.
    pub(crate) fn shorten_all_login_retries<E: From<DatabaseError>>(
        &self,
        nodes: &[NodeKey],
        limit: Duration,
        mut first: impl FnMut(LoginRetries) -> Result<(), E>,
    ) -> Result<(), E> {
        let dir = open(&self.root)?;
        let _lock = self.locked()?;
        nodes.iter().try_for_each(|node| shorten(&dir, node, limit, &[], &mut first))
    }

    /// Restores the record's line. A record that was removed, damaged or changed since stays as it
    /// is. May be called again.
    pub(crate) fn put_login_retries_back(&self, change: &LoginRetries) -> Result<(), DatabaseError> {
        self.put_all_login_retries_back([change])?.pop().unwrap_or(Ok(()))
    }

    /// The same for several records, under one lock, with a result each.
    pub(crate) fn put_all_login_retries_back<'a>(
        &self,
        changes: impl IntoIterator<Item = &'a LoginRetries>,
    ) -> Result<Vec<Result<(), DatabaseError>>, DatabaseError> {
        let changes = changes.into_iter();
        let dir = match open(&self.root) {
            Err(DatabaseError::Io { error: rustix::io::Errno::NOENT, .. }) => {
                return Ok(changes.map(|_| Ok(())).collect());
            }
            dir => dir?,
        };
        let _lock = self.locked()?;
        Ok(changes.map(|change| put_back(&dir, change)).collect())
    }
}

fn shorten<E: From<DatabaseError>>(
    dir: &Dir,
    node: &NodeKey,
    limit: Duration,
    older: &[LoginRetries],
    first: impl FnOnce(LoginRetries) -> Result<(), E>,
) -> Result<(), E> {
    let path = node.path();
    let mut record = read_node(dir, node)?.ok_or(DatabaseError::NoSuchNode)?;
    let retries = Retries::of(&record);
    if retries.fit(limit) {
        return Ok(());
    }
    let set = retries.affordable(limit).to_string();
    // The current value is not what an administrator wrote: the older line is.
    let is_set = |older: &&LoginRetries| older.node == *node && record.get(RETRIES) == Some(&older.set);
    let former = match older.iter().find(is_set) {
        Some(older) => older.former.clone(),
        None => match record.line(RETRIES).map(std::str::from_utf8) {
            None => None,
            Some(Ok(line)) => Some(line.to_owned()),
            // It could not be put back as it was.
            Some(Err(_)) => return Ok(()),
        },
    };
    first(LoginRetries { node: node.clone(), set: set.clone(), former })?;
    record.set(RETRIES, &set).map_err(in_record(dir, &path))?;
    Ok(write(dir, &path, &record)?)
}

fn put_back(dir: &Dir, change: &LoginRetries) -> Result<(), DatabaseError> {
    let path = change.node.path();
    match read_node(dir, &change.node) {
        Ok(Some(mut record)) if record.get(RETRIES) == Some(&change.set) => {
            record.set_line(RETRIES, change.former.as_deref()).map_err(in_record(dir, &path))?;
            write(dir, &path, &record)
        }
        Ok(_) | Err(DatabaseError::Record { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
