//! The answers: one `a{sv}` for each entry.
//!
//! | room | what it is |
//! |---|---|
//! | `dict` | how an answer is written and read |
//! | `list` | a long list of answers, as the daemon writes it |
//! | `words` | the words in the answers, and those that this version does not know |
//! | `nodes` | [`Node`] and [`Path`]: what is recorded, and what is there |
//! | `sessions` | [`Login`], [`Logout`] and [`Rescan`]: what became of each portal or session |
//! | `uses` | [`Holder`]: who holds a target or its disks |
//! | `machine` | [`MultipathChange`], [`Finding`] and [`Check`]: how this machine stands |
//!
//! The daemon sends every key. A client reads what comes: a key that it does not know is ignored, a
//! key that is missing has the default that its field documents, and a word that it does not know is
//! kept as it came ([`Unknown`]). A key with a type other than documented makes the answer an error:
//! types never change.
//!
//! The structs are `#[non_exhaustive]`, because keys are added. What a constructor does not take is
//! a public field.

mod dict;
mod list;
mod machine;
mod nodes;
mod sessions;
mod uses;
mod words;

pub use self::{
    list::{Answer, Entries, List},
    machine::{Check, Finding, MultipathChange},
    nodes::{Node, Path},
    sessions::{Login, Logout, Rescan},
    uses::{Holder, NO_USER},
    words::{
        ChapMode, CheckState, Health, HolderKind, LoginOutcome, LogoutOutcome, NodeState, Problem,
        RescanOutcome, Startup, Step, Unknown,
    },
};
