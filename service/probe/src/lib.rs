//! The login probe: asks a portal, over its own connection, whether it would let us in and what it offers.
//! Must not touch the kernel's sessions, open-iscsi or the disk, nor repeat a target's text in an error.
//!
//! | module | holds |
//! |---|---|
//! | `question` | what to ask, and as whom |
//! | `algorithm` | the CHAP digests |
//! | `answer` | what a portal answered: a login, its targets, its LUNs |
//! | `address` | where a target says it is |
//! | `pdu` | the 48 byte headers |
//! | `text` | `key=value` data and its limits |
//! | `chap` | digests and the check of a target's answer |
//! | `login` | the login phase, without a socket |
//! | `parameters` | what a discovery session agrees on |
//! | `sendtargets` | the text phase, without a socket, and its records |
//! | `luns` | what a normal session asks a target for |
//! | `socket` | the one place with a connection and a clock |
//! | `refusal` | every way to be turned away |
//! | `fuzz` | what the fuzz targets call |

mod address;
mod algorithm;
mod answer;
mod chap;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod login;
mod luns;
mod parameters;
mod pdu;
mod question;
mod refusal;
mod sendtargets;
mod socket;
mod text;

pub use self::{
    algorithm::Algorithm,
    answer::{Accepted, AuthKind, Found, Listing, Luns, Redirect},
    question::{ChapAnswer, Question},
    refusal::{MutualFault, Refusal, Stage},
    socket::{login, luns, send_targets},
};
