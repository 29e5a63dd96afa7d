//! Which calls are running, and on what.
//!
//! | room | what it is |
//! |---|---|
//! | `activity` | whether anything is running, which keeps the daemon alive |
//! | `acts` | locks for operations that must not run in parallel |
//! | `audience` | shows the watchers what an act has changed before its result is replied |
//! | `claims` | one change at a time for a target |
//! | `held` | `Hold` and `Release` |
//! | `late_logout` | a logout that a program goes on with after its call |
//! | `leases` | who holds a target, and which targets are being logged out of |
//! | `places` | how many nodes are worked on at a time |

pub(crate) mod activity;
pub(super) mod acts;
pub(crate) mod audience;
pub(super) mod claims;
mod held;
pub(super) mod late_logout;
pub(super) mod leases;
pub(super) mod places;

use std::path::Path;

use self::{
    activity::Activity, acts::Acts, audience::Audience, claims::Claims, leases::Leases, places::Places,
};

/// All turns.
pub(super) struct Turns {
    pub(super) activity: Activity,
    pub(super) acts: Acts,
    pub(super) audience: Audience,
    pub(super) claims: Claims,
    pub(super) leases: Leases,
    pub(super) places: Places,
}

impl Turns {
    /// `run` is where leases are kept until the boot.
    pub(super) fn new(activity: Activity, run: &Path) -> Self {
        Self {
            audience: Audience::new(activity.clone()),
            activity,
            acts: Acts::default(),
            claims: Claims::default(),
            leases: Leases::new(run),
            places: Places::default(),
        }
    }
}
