//! Why the journal cannot be read or written.

use std::path::{Path, PathBuf};

use iscsi_initiator_dbus::{Fault, Kind};
use rustix::io::Errno;

/// The largest entry: some 4096 records of 7 KiB.
pub(super) const LIMIT: u64 = 64 * 1024 * 1024;

/// Why the journal cannot be read or written. Nothing has been changed then.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UndoError {
    #[error("{path}: {error}")]
    Io { path: PathBuf, error: Errno },
    #[error("the backup that could undo this change would be larger than {} MiB", LIMIT / (1024 * 1024))]
    TooLarge,
    #[error("{0} cannot be read")]
    Unreadable(PathBuf),
}

impl From<UndoError> for Fault {
    fn from(error: UndoError) -> Self {
        match &error {
            UndoError::Io { path, error: Errno::NOSPC | Errno::DQUOT } => {
                Self::new(Kind::Failed, format!("the disk is full: cannot write below {}", path.display()))
                    .hint("free space there, then try again")
            }
            UndoError::Io { path, error: Errno::TIMEDOUT } => Self::new(
                Kind::Busy,
                format!(
                    "timed out waiting for another iscsi-initiatord to finish writing below {}",
                    path.display()
                ),
            )
            .hint("try again in a moment"),
            UndoError::Io { path, error: Errno::PERM | Errno::LOOP | Errno::NOTDIR } => Self::new(
                Kind::InvalidConfiguration,
                format!("{} is not a folder owned by root", path.display()),
            )
            .hint("move it away, then try again"),
            UndoError::Io { .. } => Self::new(Kind::Failed, error.to_string()),
            UndoError::TooLarge => {
                Self::new(Kind::Failed, error.to_string()).hint("name fewer targets in one call")
            }
            UndoError::Unreadable(_) => Self::new(Kind::InvalidConfiguration, error.to_string()),
        }
    }
}

/// For messages: the folder of the entries.
pub(super) fn at(path: &Path) -> impl Fn(Errno) -> UndoError + '_ {
    move |error| UndoError::Io { path: path.to_owned(), error }
}
