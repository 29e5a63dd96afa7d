//! The targets as people see them: portals, disks, health, one sentence.
//! Must not look at what was before, and must not leave anything out.
//!
//! | room | what it is |
//! |---|---|
//! | `deeds` | [`Deed`]: what can be done with a target or a portal as it is |
//! | `link` | [`Link`]: whether a portal is connected |
//! | `names` | names as people read them: short ones, and cut in the middle |
//! | `sentence` | how a target or this machine is, in one sentence |
//! | `target` | [`Target`] and [`Place`]: a target with its portals and disks |
//! | `whole` | [`Overview`]: every target, and the worst of them |

mod deeds;
mod link;
mod names;
mod sentence;
mod target;
mod whole;

pub use self::{
    deeds::Deed,
    link::Link,
    names::{cut, disk_name, portal, short},
    target::{Place, Target},
    whole::{Overview, overview},
};
