//! Which calls are running, and on what.
//!
//! | room | what it is |
//! |---|---|
//! | `activity` | whether anything is running, which keeps the daemon alive |
//! | `acts` | locks for operations that must not run in parallel |
//! | `audience` | shows the watchers what an act has changed before its result is replied |
//! | `claims` | one change at a time for a target |
//! | `held` | `Hold` and `Release` |
//! | `leases` | who holds a target, and which targets are being logged out of |
//! | `missing` | which nodes that are to stay logged in to are missing, and when each is tried |
//! | `places` | how many nodes are worked on at a time |
//! | `programs` | the programs that work on a target, which may outlive their calls |
//! | `teardowns` | which disks are being torn down |

pub(crate) mod activity;
pub(super) mod acts;
pub(crate) mod audience;
pub(super) mod claims;
pub(super) mod held;
pub(super) mod leases;
pub(super) mod missing;
pub(super) mod places;
pub(super) mod programs;
pub(super) mod teardowns;

use std::path::Path;

use self::{
    activity::Activity, acts::Acts, audience::Audience, claims::Claims, leases::Leases, missing::Missing,
    places::Places, programs::Programs,
};

/// All turns.
pub(super) struct Turns {
    pub(super) activity: Activity,
    pub(super) acts: Acts,
    pub(super) audience: Audience,
    pub(super) claims: Claims,
    pub(super) leases: Leases,
    pub(super) missing: Missing,
    pub(super) places: Places,
    pub(super) programs: Programs,
}

impl Turns {
    /// `run` is where leases and wishes are kept until the boot.
    pub(super) fn new(activity: Activity, run: &Path) -> Self {
        let (claims, leases) = (Claims::default(), Leases::new(run));
        Self {
            audience: Audience::new(activity.clone()),
            programs: Programs::new(&activity, &claims, &leases),
            activity,
            acts: Acts::default(),
            claims,
            leases,
            missing: Missing::new(run),
            places: Places::default(),
        }
    }
}
