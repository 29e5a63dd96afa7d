//! Which calls are running, and on what.
//!
//! | room | what it is |
//! |---|---|
//! | `activity` | whether anything is running, which keeps the daemon alive |
//! | `acts` | locks for operations that must not run in parallel |
//! | `claims` | one change at a time for a target |

pub(crate) mod activity;
pub(super) mod acts;
pub(super) mod claims;

use self::{activity::Activity, acts::Acts, claims::Claims};

/// All turns.
pub(super) struct Turns {
    pub(super) activity: Activity,
    pub(super) acts: Acts,
    pub(super) claims: Claims,
}

impl Turns {
    pub(super) fn new(activity: Activity) -> Self {
        Self { activity, acts: Acts::default(), claims: Claims::default() }
    }
}
