//! An object of any class.

use super::{
    class::Class,
    properties::{Properties, Values},
    things::{Disk, Node, Session},
};

/// An object with its properties.
#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    /// A recorded node.
    Node(Node),
    /// A session.
    Session(Session),
    /// A disk.
    Disk(Disk),
}

/// Its properties, without making values of them first.
impl serde::Serialize for Object {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Node(node) => node.write(serializer),
            Self::Session(session) => session.write(serializer),
            Self::Disk(disk) => disk.write(serializer),
        }
    }
}

impl zbus::Type for Object {
    const SIGNATURE: &'static zbus::Signature = Properties::SIGNATURE;
}

impl Object {
    /// An object of this class from the properties that came.
    pub fn read(class: Class, values: &Values) -> Self {
        let mut object = match class {
            Class::Node => Self::Node(Node::default()),
            Class::Session => Self::Session(Session::default()),
            Class::Disk => Self::Disk(Disk::default()),
        };
        object.update(values);
        object
    }

    /// Its class.
    pub fn class(&self) -> Class {
        match self {
            Self::Node(_) => Class::Node,
            Self::Session(_) => Class::Session,
            Self::Disk(_) => Class::Disk,
        }
    }

    /// Every property.
    pub fn properties(&self) -> Properties {
        match self {
            Self::Node(node) => node.properties(),
            Self::Session(session) => session.properties(),
            Self::Disk(disk) => disk.properties(),
        }
    }

    /// The properties that are other than before, as they are now. An object never changes its class.
    pub fn changes(before: &Self, now: &Self) -> Properties {
        match (before, now) {
            (Self::Node(before), Self::Node(now)) => Node::changes(before, now),
            (Self::Session(before), Self::Session(now)) => Session::changes(before, now),
            (Self::Disk(before), Self::Disk(now)) => Disk::changes(before, now),
            _ => now.properties(),
        }
    }

    /// Takes over these values; the names of the properties that are other than before.
    pub fn update(&mut self, values: &Values) -> Vec<&'static str> {
        match self {
            Self::Node(node) => node.update(values),
            Self::Session(session) => session.update(values),
            Self::Disk(disk) => disk.update(values),
        }
    }
}
