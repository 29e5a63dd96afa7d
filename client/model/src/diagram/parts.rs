//! What is drawn.

use iscsi_initiator_dbus::objects::Id;

use crate::{
    health::{Level, Verdict},
    overview::Link,
    text::Phrase,
};

/// A place: from the left and from the top.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// From the left.
    pub x: f64,
    /// From the top.
    pub y: f64,
}

/// A box.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rect {
    /// Its upper left corner.
    pub corner: Point,
    /// How wide it is.
    pub width: f64,
    /// How high it is.
    pub height: f64,
}

impl Rect {
    /// The middle of its left side, where lines end.
    pub fn left(&self) -> Point {
        Point { x: self.corner.x, y: self.corner.y + self.height / 2.0 }
    }

    /// The middle of its right side, where lines begin.
    pub fn right(&self) -> Point {
        Point { x: self.corner.x + self.width, y: self.corner.y + self.height / 2.0 }
    }
}

/// What a box stands for.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A network interface of this machine; empty: the routes decide.
    Interface(String),
    /// A portal of the target, `address:port`.
    Portal(String),
    /// A session.
    Session(Id),
    /// A disk.
    Disk(Id),
}

/// A box with what stands in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it stands for.
    pub part: Part,
    /// Where it is.
    pub rect: Rect,
    /// What stands in it.
    pub label: Phrase,
    /// How well it works.
    pub level: Level,
}

/// Whether something goes along a line. Drawn so that it is seen without colours: whole, dotted, dashed, thin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flow {
    /// Not connected.
    Off,
    /// It works.
    Works,
    /// It may work again by itself.
    Waits,
    /// It does not work.
    Failed,
}

impl Flow {
    pub(super) fn of_link(link: Link) -> Self {
        match link {
            Link::Off => Self::Off,
            Link::Up => Self::Works,
            Link::Making => Self::Waits,
            Link::Lost => Self::Failed,
        }
    }

    pub(super) fn of_verdict(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Works | Verdict::WorksBut => Self::Works,
            Verdict::Waits => Self::Waits,
            Verdict::Failed => Self::Failed,
        }
    }
}

/// A line from a box to one in the next column.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The box on the left, by its place in [`Diagram::nodes`].
    pub from: usize,
    /// The box on the right.
    pub to: usize,
    /// Where it begins.
    pub begin: Point,
    /// Where it ends.
    pub end: Point,
    /// Whether something goes along it.
    pub flow: Flow,
    /// What stands at it: the device of a path (`sda`); else empty.
    pub label: String,
}

/// A picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diagram {
    /// How wide it is.
    pub width: f64,
    /// How high it is.
    pub height: f64,
    /// The boxes: interfaces, portals, sessions, disks, each column from the top.
    pub nodes: Vec<Node>,
    /// The lines between them. Those of the worst flow come last, so that they are drawn above the others.
    pub lines: Vec<Line>,
    /// The same in sentences: one for each path, and for whatever has none.
    pub words: Vec<Phrase>,
}
