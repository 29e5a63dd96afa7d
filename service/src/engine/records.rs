//! The records of targets and portals, and this machine's name.
//!
//! | room | what it is |
//! |---|---|
//! | `add` | a node recorded by hand |
//! | `chap` | CHAP into the records |
//! | `discover` | a portal asked for its targets, and what is new of them recorded |
//! | `forget` | node records removed |
//! | `initiator_name` | this machine's name |
//! | `lookup` | which records a call means, and what to say where there is none |
//! | `startup` | whether nodes are logged in to at boot |

pub(super) mod add;
mod chap;
pub(crate) mod discover;
mod forget;
pub(super) mod initiator_name;
pub(super) mod lookup;
pub(super) mod startup;
