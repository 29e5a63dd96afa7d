//! Who is at it.
//!
//! | room | what it is |
//! |---|---|
//! | `activity` | whether anything is at work: what keeps the daemon alive |
//! | `claims` | one change at a time for a target |

pub(crate) mod activity;
pub(super) mod claims;
