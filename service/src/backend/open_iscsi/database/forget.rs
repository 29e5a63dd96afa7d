//! Removes node records, including those that iscsiadm can no longer delete.
//!
//! Must not remove anything but these records, the links to them, folders that become empty, and
//! ifaces that this daemon made for them.

use std::collections::BTreeSet;

use rustix::io::Errno;

use super::{Database, DatabaseError, NodeKey, ifaces, io, listing, listing::Stray, open};
use crate::backend::host::atomic::Kind;

impl Database {
    /// Removes the records of these nodes, whatever they hold, and what lies among them. Already gone
    /// is success.
    pub(crate) fn forget(&self, nodes: &[NodeKey], strays: &[Stray]) -> Result<(), DatabaseError> {
        let dir = open(&self.root)?;
        let _lock = self.locked()?;
        // First, or the folders would stay.
        let removed = strays.iter().try_for_each(|stray| clear(&dir, stray));
        let removed = removed.and_then(|()| nodes.iter().try_for_each(|node| remove(&dir, node)));
        release_unused(&dir, nodes.iter().map(|node| node.iface.as_str()))?;
        removed
    }
}

/// Removes those of these ifaces that this daemon made and that no node uses. Must be called under
/// the lock.
pub(super) fn release_unused<'a>(
    dir: &super::Dir,
    wanted: impl Iterator<Item = &'a str>,
) -> Result<(), DatabaseError> {
    let mut unused: BTreeSet<&str> = wanted.collect();
    unused.retain(|iface| ifaces::is_ours(dir, iface));
    if unused.is_empty() {
        return Ok(());
    }
    let there = listing::all(dir)?;
    if let Some(why) = there.left_out {
        // One of those may use it.
        tracing::warn!(%why, "an iface that may be unused stays");
        return Ok(());
    }
    for node in there.nodes {
        unused.remove(node.key.iface.as_str());
    }
    unused.into_iter().try_for_each(|iface| ifaces::release(dir, iface))
}

/// Removes a file, or a folder with the files in it, and the folders that become empty.
fn clear(dir: &super::Dir, stray: &Stray) -> Result<(), DatabaseError> {
    let path = &stray.path;
    if dir.modes(path).map_err(io(dir, path))?.is_some_and(|modes| modes.kind == Kind::Folder) {
        for name in dir.list(path).map_err(io(dir, path))? {
            let file = format!("{path}/{}", name.display());
            match dir.remove(&file) {
                // A folder in it stays: open-iscsi's are not that deep.
                Err(Errno::ISDIR | Errno::PERM) => {}
                removed => removed.map_err(io(dir, &file))?,
            }
        }
        dir.remove_empty_dir(path).map_err(io(dir, path))?;
    } else {
        dir.remove(path).map_err(io(dir, path))?;
    }
    let mut folder = path.as_str();
    while let Some((parent, _)) = folder.rsplit_once('/').filter(|(parent, _)| *parent != "nodes") {
        dir.remove_empty_dir(parent).map_err(io(dir, parent))?;
        folder = parent;
    }
    Ok(())
}

/// Removes the record, then what pointed to it. Must be called under the lock.
pub(super) fn remove(dir: &super::Dir, node: &NodeKey) -> Result<(), DatabaseError> {
    let path = node.path();
    dir.remove(&path).map_err(io(dir, &path))?;
    for folder in [node.folder(), format!("nodes/{}", node.target)] {
        dir.remove_empty_dir(&folder).map_err(io(dir, &folder))?;
    }
    // iscsiadm's discovery left a link to it below each portal that listed it (usr/idbm.c,
    // `idbm_add_node`), but not to a record of the old format.
    let Some(tpgt) = node.tpgt else { return Ok(()) };
    let link = format!("{},{},{},{tpgt},{}", node.target, node.address(), node.portal.port(), node.iface);
    let mut places = vec!["static".to_owned(), "fw".to_owned()];
    for kind in ["send_targets", "isns"] {
        let portals = dir.list_some(kind).map_err(io(dir, kind))?.names;
        places.extend(portals.iter().filter_map(|name| Some(format!("{kind}/{}", name.to_str()?))));
    }
    for place in places {
        let path = format!("{place}/{link}");
        match dir.remove(&path) {
            // Not a folder, or one that cannot have such a name: no link is there.
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG) => {}
            removed => removed.map_err(io(dir, &path))?,
        }
    }
    Ok(())
}
