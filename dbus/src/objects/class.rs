//! The three classes of objects, their folders and interfaces.

use std::fmt;

use crate::OBJECT_PATH;

/// What an object stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// A recorded node: a target at a portal.
    Node,
    /// A session.
    Session,
    /// A LUN with all its paths.
    Disk,
}

impl Class {
    /// Every class.
    pub const ALL: [Self; 3] = [Self::Node, Self::Session, Self::Disk];

    /// The name of the folder below the root object.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Node => "nodes",
            Self::Session => "sessions",
            Self::Disk => "disks",
        }
    }

    /// The path of the folder.
    pub fn path(self) -> String {
        format!("{OBJECT_PATH}/{}", self.folder())
    }

    /// The interface of its objects.
    pub fn interface(self) -> &'static str {
        match self {
            Self::Node => "org.cloudatlas.IscsiInitiator.Node",
            Self::Session => "org.cloudatlas.IscsiInitiator.Session",
            Self::Disk => "org.cloudatlas.IscsiInitiator.Disk",
        }
    }

    /// The introspection document of that interface, written by hand: the source of truth.
    pub fn introspection(self) -> &'static str {
        match self {
            Self::Node => include_str!("../../org.cloudatlas.IscsiInitiator.Node.xml"),
            Self::Session => include_str!("../../org.cloudatlas.IscsiInitiator.Session.xml"),
            Self::Disk => include_str!("../../org.cloudatlas.IscsiInitiator.Disk.xml"),
        }
    }

    /// The class whose objects have this interface.
    pub fn of_interface(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.interface() == name)
    }

    /// The class whose folder has this name.
    pub fn of_folder(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.folder() == name)
    }
}

impl fmt::Display for Class {
    /// In words: `node`, `session`, `disk`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Node => "node",
            Self::Session => "session",
            Self::Disk => "disk",
        })
    }
}
