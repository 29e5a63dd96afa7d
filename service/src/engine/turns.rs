//! Which calls are running, and on what.
//!
//! | room | what it is |
//! |---|---|
//! | `activity` | whether anything is running, which keeps the daemon alive |
//! | `acts` | locks for operations that must not run in parallel |
//! | `audience` | shows the watchers what an act has changed before its result is replied |
//! | `claims` | one change at a time for a target |
//! | `places` | how many nodes are worked on at a time |

pub(crate) mod activity;
pub(super) mod acts;
pub(crate) mod audience;
pub(super) mod claims;
pub(super) mod places;

use self::{activity::Activity, acts::Acts, audience::Audience, claims::Claims, places::Places};

/// All turns.
pub(super) struct Turns {
    pub(super) activity: Activity,
    pub(super) acts: Acts,
    pub(super) audience: Audience,
    pub(super) claims: Claims,
    pub(super) places: Places,
}

impl Turns {
    pub(super) fn new(activity: Activity) -> Self {
        Self {
            audience: Audience::new(activity.clone()),
            activity,
            acts: Acts::default(),
            claims: Claims::default(),
            places: Places::default(),
        }
    }
}
