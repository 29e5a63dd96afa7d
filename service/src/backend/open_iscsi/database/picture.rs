//! What records were before a call changed them, to put them back when it fails.
//! It may not keep a picture longer than the call: it holds secrets, and is wiped with it.

use iscsi_initiator_dbus::Iqn;
use zeroize::Zeroizing;

use super::{Database, DatabaseError, NodeKey, forget, io, open};

/// A record's bytes, or that there was none.
#[derive(Clone)]
pub(crate) struct Picture {
    node: NodeKey,
    bytes: Option<Zeroizing<Vec<u8>>>,
}

impl Picture {
    pub(crate) fn node(&self) -> &NodeKey {
        &self.node
    }

    /// Whether it is of a node of this target.
    pub(crate) fn is_of(&self, target: &Iqn) -> bool {
        self.node.target == *target
    }
}

impl Database {
    /// The records of these nodes as they are, damaged ones too.
    pub(crate) fn pictures(&self, nodes: &[NodeKey]) -> Result<Vec<Picture>, DatabaseError> {
        let dir = self.dir()?;
        let picture = |node: &NodeKey| {
            let path = node.path();
            let bytes = dir.read(&path).map_err(io(&dir, &path))?;
            Ok(Picture { node: node.clone(), bytes })
        };
        nodes.iter().map(picture).collect()
    }

    /// Puts the records back, byte for byte; one that was not there is removed again.
    pub(crate) fn put_back(&self, pictures: &[Picture]) -> Result<(), DatabaseError> {
        let dir = open(&self.root)?;
        let _lock = self.locked()?;
        for Picture { node, bytes } in pictures {
            let path = node.path();
            match bytes {
                None => forget::remove(&dir, node)?,
                Some(bytes) if dir.read(&path).map_err(io(&dir, &path))?.as_ref() == Some(bytes) => {}
                Some(bytes) => {
                    dir.make_dirs(&node.folder()).map_err(io(&dir, &path))?;
                    dir.replace(&path, bytes, 0o600).map_err(io(&dir, &path))?;
                }
            }
        }
        let new = pictures.iter().filter(|picture| picture.bytes.is_none());
        forget::release_unused(&dir, new.map(|picture| picture.node.iface.as_str()))
    }
}
