//! The objects below [`OBJECT_PATH`](crate::OBJECT_PATH): nodes, sessions and disks, as properties.
//!
//! | room | what it is |
//! |---|---|
//! | `class` | [`Class`]: the three classes of objects, their folders and interfaces |
//! | `id` | [`Id`]: which object, and its path |
//! | `model` | [`Model`] and [`Event`]: the objects as a client mirrors them |
//! | `object` | [`Object`]: an object of any class |
//! | `properties` | how properties are written, compared and read |
//! | `things` | [`Node`], [`Session`] and [`Disk`]: the properties of each class |
//!
//! The daemon sends every property. A client reads what comes: a property that it does not know is
//! ignored, and one that is missing, or of another type than documented, has the default that its
//! field documents.

mod class;
mod id;
mod model;
mod object;
mod properties;
mod things;

pub use self::{
    class::Class,
    id::Id,
    model::{Event, Model},
    object::Object,
    properties::{Properties, Values},
    things::{Disk, Node, Session},
};
