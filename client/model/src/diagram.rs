//! The paths of a target as a picture: boxes and lines, as numbers.
//! Must not draw, or know a colour or a font.
//!
//! | room | what it is |
//! |---|---|
//! | `layout` | [`diagram`]: where everything is |
//! | `metrics` | [`Metrics`]: how large the boxes are and how far apart |
//! | `parts` | [`Diagram`], [`Node`] and [`Line`]: what is drawn |
//! | `words` | the same in sentences, for who cannot see it |

mod layout;
mod metrics;
mod parts;
mod words;

pub use self::{
    layout::diagram,
    metrics::Metrics,
    parts::{Diagram, Flow, Line, Node, Part, Point, Rect},
};
