//! What the tests below tests/ share: a private bus with the real polkitd and people on it.
//! Must not hold code that a crate needs.

pub mod harness;
pub mod hints;
pub mod measuring;
