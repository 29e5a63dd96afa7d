//! The login probe: asks a portal, over its own connection, whether it would accept a login and
//! what it offers.
//! Must not touch the kernel's sessions, open-iscsi or the disk, or repeat a target's text in an
//! error.
//!
//! | module | holds |
//! |---|---|
//! | `question` | what to ask a portal, and with which credentials |
//! | `algorithm` | the CHAP digests |
//! | `answer` | what a portal answered: a login, its targets, its LUNs |
//! | `address` | parses the address of a target |
//! | `pdu` | the 48 byte headers |
//! | `text` | `key=value` data and its limits |
//! | `chap` | digests and the check of a target's proof |
//! | `login` | the login phase, without a socket |
//! | `parameters` | the operational parameters of a session |
//! | `sendtargets` | the text phase, without a socket, and its records |
//! | `luns` | surveys a target's LUNs, without a socket |
//! | `socket` | the connection and the clock |
//! | `measure` | what the benches measure |
//! | `refusal` | why a probe was refused |
//! | `fuzz` | the entry points of the fuzz targets |

mod address;
mod algorithm;
mod answer;
mod chap;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod login;
mod luns;
#[cfg(feature = "measure")]
pub mod measure;
mod parameters;
mod pdu;
mod question;
mod refusal;
mod sendtargets;
mod socket;
mod text;

pub use self::{
    algorithm::Algorithm,
    answer::{Accepted, AuthKind, Found, LeftOut, Listing, LongList, Luns, Place, Redirect, Unusable},
    question::{ChapAnswer, Question},
    refusal::{MutualFault, Refusal, Stage},
    socket::{login, luns, reach, send_targets, send_targets_named},
};
