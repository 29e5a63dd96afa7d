//! The objects, kept up to date over the ends of a daemon: the one room that waits.
//! Must not tell anyone: it yields what came.
//!
//! | room | what it is |
//! |---|---|
//! | `follow` | [`Mirror`]: the daemon's events, also those of the daemon that takes its place |
//! | `retry` | when a daemon that cannot be followed is tried again |
//! | `scope` | [`Scope`]: which objects are wanted |
//! | `trouble` | [`Trouble`]: why the daemon cannot be followed |
//!
//! ```no_run
//! # use iscsi_initiator_dbus::proxy::InitiatorProxy;
//! use iscsi_initiator_model::{
//!     memory::Memory,
//!     mirror::{Heard, Mirror, Trouble},
//!     overview::overview,
//! };
//!
//! # async fn follow(daemon: InitiatorProxy<'static>) -> Result<(), Trouble> {
//! let mut mirror = Mirror::start(&daemon).await?;
//! let mut memory = Memory::new();
//! loop {
//!     memory.update(mirror.model(), std::time::Instant::now());
//!     println!("{}", overview(mirror.model(), &memory).sentence);
//!     match mirror.next().await? {
//!         Heard::Event(_) => {}
//!         Heard::Found => memory.found(),
//!         Heard::Lost(why) => {
//!             memory.lost();
//!             println!("out of date: {why:?}");
//!         }
//!     }
//! }
//! # }
//! ```

mod follow;
mod retry;
mod scope;
mod trouble;

pub use self::{
    follow::{Heard, Mirror},
    scope::Scope,
    trouble::{Trouble, is_unreachable},
};
