//! The records of targets and portals, and this machine's name.
//!
//! | room | what it is |
//! |---|---|
//! | `add` | records a node by hand |
//! | `chap` | stores CHAP in the records |
//! | `defaults` | the secrets of iscsid.conf: who may have them proven where |
//! | `devices` | which targets a disk is of |
//! | `discover` | asks a portal for its targets, and records the new ones |
//! | `forget` | removes node records |
//! | `initiator_name` | this machine's name |
//! | `lookup` | finds the records that a call refers to |
//! | `startup` | whether nodes are logged in to at boot |

pub(super) mod add;
mod chap;
pub(super) mod defaults;
pub(super) mod devices;
pub(crate) mod discover;
mod forget;
pub(super) mod initiator_name;
pub(super) mod lookup;
pub(super) mod startup;
