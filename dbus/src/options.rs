//! The `a{sv}` arguments: the same types build them in a client and hold what the daemon has checked.
//!
//! | room | what it is |
//! |---|---|
//! | `bag` | a dictionary that is emptied key by key: each key checked, unknown ones refused |
//! | `dict` | a dictionary from a message, bounded while it is read |
//! | `entries` | the client's side: options as the dictionary that goes over the bus |
//! | `keys` | the keys |
//! | `setters` | the setters that the options of several methods have in common |
//! | `words` | the arguments that are text: targets, portals, holders, `startup` |
//! | `chap` | CHAP credentials, and what `SetChap` takes |
//! | `pipe` | the pipe that a secret goes through (feature `proxy`) |
//! | `records` | the options of `Discover` and `AddNode`, and the filter of the lists |
//! | `sessions` | the options of `Login`, `Connect`, `Logout`, `Hold` and `Rescan` |
//! | `machine` | the options of `Diagnose`, `SetupMultipath` and `Examine` |
//!
//! Each type begins with the defaults of the contract (`new`), has a method for each option, and goes
//! to a method of [`InitiatorProxy`](crate::proxy::InitiatorProxy) as it is. Only what differs from
//! the default goes over the bus, because a daemon refuses a key that it does not know.
//!
//! ```
//! use std::time::Duration;
//! use iscsi_initiator_dbus::{options::LoginOptions, results::Startup};
//!
//! let options = LoginOptions::new().timeout(Duration::from_secs(60)).startup(Startup::Automatic);
//! # assert!(options.wait && options.timeout.is_some());
//! ```
//!
//! The structs are `#[non_exhaustive]`, because options are added. The enums are not: only the daemon
//! reads them, and it has to know every variant.

mod bag;
mod chap;
mod dict;
mod entries;
mod keys;
mod machine;
#[cfg(feature = "proxy")]
mod pipe;
mod records;
mod sessions;
mod setters;
mod words;

pub use self::{
    bag::{MOST_TARGETS, TIMEOUT_RANGE},
    chap::{Chap, ChapChange, Credentials, SecretSource},
    dict::Dict,
    entries::DictOf,
    machine::{DiagnoseOptions, ExamineOptions, MultipathOptions, Queueing},
    records::{AddOptions, DiscoverOptions, PathFilter},
    sessions::{ConnectOptions, HoldOptions, LoginOptions, LogoutOptions, RescanOptions},
    words::{holder, portal, startup, target},
};
