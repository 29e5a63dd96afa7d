//! The way from a target that is connected to one that is not, as a state machine: what uses it is shown before anything
//! is ended, and only what was shown is ended by force.
//! Must not make a call: it says which one to make, and is told the answer.
//!
//! | room | what it is |
//! |---|---|
//! | `call` | [`Call`], [`Command`], [`Answer`] and [`Input`]: what goes out and what comes in |
//! | `flow` | [`Flow`]: the machine |
//! | `state` | [`State`]: what is shown |
//!
//! ```text
//! Working(check) ──▶ Asking ── Disconnect ──▶ Working(logout) ──▶ Done
//!      ▲  ▲            │  ▲                          │
//!      │  │            ▼  │ Cancel                   │ in use by now: checked once more
//!      │  │        Confirming ── Confirm ──▶ Working(release), or Working(check) and then by force
//!      │  └────────────┴── what uses it is another than was named: Asking
//!      └─ Try Again ── Stuck ◀── an error
//! ```

mod call;
mod flow;
mod state;

pub use self::{
    call::{Answer, Call, Command, Input, Wanted},
    flow::Flow,
    state::{Asked, Doubt, InUse, PortalResult, State},
};
