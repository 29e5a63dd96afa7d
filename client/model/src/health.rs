//! Whether a path, a disk or a target works.
//! Must not look at what was before: that is news.
//!
//! | room | what it is |
//! |---|---|
//! | `level` | [`Level`]: how well something works, to be compared |
//! | `mood` | [`Mood`]: good or bad at a glance |
//! | `path` | [`PathHealth`]: a path, with every word that is not as it should be |

mod level;
mod mood;
mod path;

pub use self::{
    level::Level,
    mood::Mood,
    path::{PathHealth, Verdict, path},
};
