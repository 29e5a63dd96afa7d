//! The numbers of the calls of a connection to the bus.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

/// The numbers of the calls of one connection to the bus, of which no two have the same. Every flow on the connection
/// gets a clone of it.
#[derive(Clone, Debug, Default)]
pub struct Jobs(Arc<AtomicU32>);

impl Jobs {
    /// The next number, from 1.
    pub fn begin(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }
}
