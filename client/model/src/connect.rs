//! The way from an address to usable disks, as a state machine: address, targets, CHAP if it is asked for, progress by
//! step, disks; each error with its way out.
//! Must not make a call: it says which one to make, and is told the answer.
//!
//! | room | what it is |
//! |---|---|
//! | `call` | [`Call`], [`Command`], [`Answer`] and [`Input`]: what goes out and what comes in |
//! | `flow` | [`Flow`]: the machine |
//! | `form` | [`Form`]: what was typed, and what is wrong with it |
//! | `jobs` | [`Jobs`]: the numbers of the calls of a connection |
//! | `order` | [`Order`]: the same, checked, as options of a call |
//! | `outcome` | [`Outcome`] and [`Offer`]: what there is to choose, and what became of it |
//! | `state` | [`State`]: what is shown |
//!
//! ```text
//! Asking ── Start ──▶ Working(discover) ──▶ Working(connect) ──▶ Done
//!    ▲                   │        │ several targets    │
//!    │                   │        ▼                    │
//!    │                   │     Choosing ── Choose ─────┤
//!    └─ Cancel, dismissed ┴────── Stuck ◀── an error ──┘   Busy: Waiting, once, and then the same call
//!                                 │  ▲
//!            a button that may    ▼  │ Cancel
//!            lose something   Confirming ── Confirm ──▶ Working
//! ```
//!
//! `Cancel` leads back to `Asking` with what was typed, and from there, or from `Done`, to `Closed`; `Close` leads there
//! from every state. Then nothing typed is left. A running call is cancelled first; whatever its answer is, nothing is
//! begun after it.

mod call;
mod flow;
mod form;
mod jobs;
mod order;
mod outcome;
mod state;

pub use self::{
    call::{Answer, Call, Command, Input},
    flow::{Damaged, Flow},
    form::{Field, Form, Mistake},
    jobs::Jobs,
    order::{Order, Proof},
    outcome::{Offer, Outcome, PortalResult},
    state::{State, StepLine, Stuck, Work, step_title},
};
