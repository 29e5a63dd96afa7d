//! Who is behind the connections on the bus. The bus is asked once for each: it never uses a unique name twice, and
//! a connection stays with the process that made it.
//! Must not remember more than a fixed number.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use zbus::Connection;

use crate::Caller;

/// How many connections are remembered; the bus has no more at a time by default.
const MOST: usize = 2048;

/// What the bus has said of its connections; shared by all that ask.
#[derive(Debug, Default)]
pub struct Callers(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    callers: HashMap<String, Arc<Caller>>,
    /// The oldest first.
    order: VecDeque<String>,
}

impl Callers {
    /// Who is behind the connection with this unique name: what is remembered, or else the bus is asked on `bus`.
    ///
    /// # Errors
    ///
    /// The connection has left the bus before it was asked about, or the bus cannot say (`MethodError`, `FDO`); or the bus
    /// has failed.
    pub async fn find(&self, bus: &Connection, name: &str) -> zbus::Result<Arc<Caller>> {
        if let Some(caller) = self.lock().callers.get(name) {
            return Ok(Arc::clone(caller));
        }
        let caller = Arc::new(Caller::look_up(bus, name).await?);
        self.lock().remember(name, &caller);
        Ok(caller)
    }

    /// What is remembered is whole after each step.
    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn remember(&mut self, name: &str, caller: &Arc<Caller>) {
        if self.callers.insert(name.to_owned(), Arc::clone(caller)).is_some() {
            // Two have asked at the same time.
            return;
        }
        self.order.push_back(name.to_owned());
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.callers.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_is_forgotten_and_each_is_remembered_once() {
        let mut known = Known::default();
        let caller = Arc::new(Caller::forged());
        for number in 0..=MOST {
            for _ in 0..2 {
                known.remember(&format!(":1.{number}"), &caller);
            }
        }
        assert_eq!((known.callers.len(), known.order.len()), (MOST, MOST));
        assert!(!known.callers.contains_key(":1.0") && known.callers.contains_key(":1.1"));
    }
}
