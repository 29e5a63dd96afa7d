//! A scripted iSCSI target on the loopback: it logs initiators in, lists targets and LUNs, and serves no disk.
//! Must not use the probe's encoder: every byte of a target is written here.
//!
//! | module | holds |
//! |---|---|
//! | [`chap`] | what a target wants proved and proves itself |
//! | [`listening`] | a target that listens, and what it has seen |
//! | [`script`] | what a target answers, from the first login request to the logout |
//! | [`scsi`] | the few commands that are asked of its LUNs |
//! | [`wire`] | one connection: requests as they come, and any bytes as answers |

pub mod chap;
pub mod listening;
pub mod script;
pub mod scsi;
pub mod wire;

pub use self::{
    chap::Chap,
    listening::Listening,
    script::{Login, Redirect, Script},
    wire::{C, Peer, Request, T, serve},
};
