//! The door: which messages get from the socket into the daemon. It stands before zbus's queues, before
//! polkit and before any argument is decoded, so that it holds for every interface on every object.
//! Must not look at a body, or decide who may do what.
//!
//! | room | what it is |
//! |---|---|
//! | `callers` | which user a connection on the bus belongs to |
//! | `connect` | connections that have a door |
//! | `frame` | the head of a message, as it comes from the socket |
//! | `places` | the calls in flight, and how many there may be |
//! | `reader` | reads whole messages, and lets through what may come in |
//! | `refusal` | the reply to a call that does not come in |
//! | `writer` | sends messages, and gives places back with the replies |

mod callers;
mod connect;
mod frame;
mod places;
mod reader;
mod refusal;
mod writer;

pub use connect::{Entrance, connect};
pub(super) use frame::expects_reply;
pub(super) use writer::{fits, too_long};
