//! The thread of the bus: commands go in, states come out.
//! Must not see a widget.
//!
//! | room | what it is |
//! |---|---|
//! | `calls` | a call, its progress and its end; one task each |
//! | `client` | [`Client`]: what the window sends commands with |
//! | `facts` | [`Facts`]: what the daemon says of itself |
//! | `follow` | the objects as they change, whatever becomes of the daemon and the bus |
//! | `intents` | what this window does to targets, while it does |
//! | `permission` | what polkit says of the person |
//! | `request` | [`Request`], [`Reply`] and [`Answer`]: what can be asked for, and what comes of it |
//! | `state` | [`State`]: what is known |
//! | `stream` | streams, one item at a time |
//! | `system` | the connection to the system bus |
//! | `thread` | [`start`]: the thread, with all that is done on it |

mod calls;
mod client;
mod facts;
mod follow;
mod intents;
mod permission;
mod request;
mod state;
mod stream;
mod system;
mod thread;

pub(crate) use self::{
    client::{Client, ended},
    facts::Facts,
    request::{Answer, Reply, Request},
    state::{Snapshot, State},
    stream::next,
    system::connect,
    thread::start,
};
