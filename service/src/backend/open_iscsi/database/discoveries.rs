//! All discovery records: how many there are, and which are unusable.
//! Must not change a record or reveal what is in it.

use std::path::PathBuf;

use iscsi_initiator_dbus::Portal;

use super::{Database, DatabaseError, RecordError, identity::parse_folder, io, open, read};

/// A discovery record that is not used.
pub(crate) struct Unusable {
    pub(crate) path: PathBuf,
    /// The portal, if the record can be written anew.
    pub(crate) portal: Option<Portal>,
    pub(crate) why: String,
}

fn at(folder: &str) -> Option<Portal> {
    parse_folder(folder).map(|place| place.portal)
}

impl Database {
    /// The number of records, and the unusable ones.
    pub(crate) fn discoveries(&self) -> Result<(usize, Vec<Unusable>), DatabaseError> {
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
                Ok(Some(record)) if record.is_empty() => {
                    let why = "it is empty and counts as none".to_owned();
                    damaged.push(Unusable { path: dir.path().join(path), portal: at(portal), why });
                }
                Ok(Some(_)) => number += 1,
                Err(DatabaseError::Io { path, .. }) => {
                    let why = RecordError::Unsafe.to_string();
                    damaged.push(Unusable { path, portal: None, why });
                }
                Err(error) => return Err(error),
            }
        }
        Ok((number + damaged.len(), damaged))
    }
}
