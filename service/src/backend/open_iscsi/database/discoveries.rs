//! All discovery records: how many there are, and which are unusable.
//! Must not change a record or reveal what is in it.

use std::path::PathBuf;

use super::{Database, DatabaseError, io, open, read};

impl Database {
    /// The number of records, and the damaged ones with the reason.
    pub(crate) fn discoveries(&self) -> Result<(usize, Vec<(PathBuf, String)>), DatabaseError> {
        if !self.root.exists() {
            return Ok((0, Vec::new()));
        }
        let dir = open(&self.root)?;
        let (mut number, mut damaged) = (0, Vec::new());
        for portal in dir.list_some("send_targets").map_err(io(&dir, "send_targets"))?.names {
            let Some(portal) = portal.to_str() else { continue };
            let path = format!("send_targets/{portal}/st_config");
            match read(&dir, &path) {
                Ok(None) => {}
                Ok(Some(_)) => number += 1,
                Err(DatabaseError::Record { path, error }) => damaged.push((path, error.to_string())),
                Err(DatabaseError::Io { path, .. }) => {
                    damaged.push((path, "it is not a regular file owned by root".to_owned()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok((number + damaged.len(), damaged))
    }
}
