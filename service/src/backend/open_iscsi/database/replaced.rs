//! Keeps a copy of a record that is replaced: only its administrator knows what it was.
//! Must not be below `nodes`, where iscsiadm would take it for a record.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{DatabaseError, Dir, NodeKey, io};
use crate::backend::host::secret_bytes::SecretBytes;

/// Beside `nodes`.
const FOLDER: &str = "replaced";
/// No more copies of one record are kept.
const MOST: u32 = 100;

/// Removes the copy of a record that is back. Must be called under the lock.
pub(super) fn discard(dir: &Dir, node: &NodeKey, bytes: &[u8]) -> Result<(), DatabaseError> {
    let (folder, name) = place(node);
    for number in 1..=MOST {
        let copy = format!("{name}.{number}");
        match dir.read(&copy) {
            Ok(Some(there)) if there.as_slice() == bytes => dir.remove(&copy).map_err(io(dir, &copy))?,
            Ok(Some(_)) => continue,
            _ => break,
        }
        for folder in [folder.as_str(), FOLDER] {
            dir.remove_empty_dir(folder).map_err(io(dir, folder))?;
        }
        break;
    }
    Ok(())
}

/// What a replaced record held; nothing if no copy was kept.
pub(super) fn kept(dir: &Dir, copy: Option<&Path>) -> Result<SecretBytes, DatabaseError> {
    let relative = copy.and_then(|copy| copy.strip_prefix(dir.path()).ok()).and_then(Path::to_str);
    let bytes = match relative {
        Some(copy) => dir.read(copy).map_err(io(dir, copy))?,
        None => None,
    };
    Ok(SecretBytes::from(bytes.unwrap_or_default()))
}

/// The folder of the copies of a record, and their path without the number.
fn place(node: &NodeKey) -> (String, String) {
    let folder = format!("{FOLDER}/{}", node.target);
    let tpgt = node.tpgt.map(|tpgt| format!(",{tpgt}")).unwrap_or_default();
    let name = format!("{folder}/{},{}{tpgt},{}", node.address(), node.portal.port(), node.iface);
    (folder, name)
}

/// Keeps what the record of this node holds now, and returns where. An empty one is not kept. Must be
/// called under the lock.
pub(super) fn keep(dir: &Dir, node: &NodeKey) -> Result<Option<PathBuf>, DatabaseError> {
    let path = node.path();
    let Some(bytes) = dir.read_of_any_owner(&path).map_err(io(dir, &path))?.filter(|bytes| !bytes.is_empty())
    else {
        return Ok(None);
    };
    let (folder, name) = place(node);
    dir.make_dirs(&folder).map_err(io(dir, &folder))?;
    for number in 1..=MOST {
        let copy = format!("{name}.{number}");
        if dir.read(&copy).is_ok_and(|there| there.is_some_and(|there| there == bytes)) {
            return Ok(Some(dir.path().join(copy)));
        }
        match dir.create(&copy, &bytes, 0o600) {
            Err(Errno::EXIST) => {}
            made => return made.map(|()| Some(dir.path().join(&copy))).map_err(io(dir, &copy)),
        }
    }
    let root = dir.path().join(FOLDER);
    Err(DatabaseError::Full(format!("{} holds {MOST} copies of {path}", root.display())))
}
