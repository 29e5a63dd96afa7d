//! Limits how many nodes are worked on at a time: for one call, and for all calls together. Each is
//! a connection to a portal, and a program if the portal accepts.
//! Must not be waited for by who has one: a place is given up before another is taken.

use std::{sync::Arc, time::Duration};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::backend::host::limit::Limit;

/// How many nodes one call works on at a time.
pub(in crate::engine) const AT_ONCE: usize = 32;
/// How many all calls together work on: four calls are never in each other's way.
const IN_ALL: usize = 128;
/// How many nodes one call may have.
const MOST_NODES: usize = 512;

/// The places of all calls.
pub(in crate::engine) struct Places(Arc<Semaphore>);

/// The places of one call.
#[derive(Clone)]
pub(in crate::engine) struct Share {
    own: Arc<Semaphore>,
    all: Arc<Semaphore>,
    /// How long one node may keep the others waiting for an answer.
    part: Duration,
}

/// Held while a node is worked on.
#[must_use]
pub(in crate::engine) struct Place {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Default for Places {
    fn default() -> Self {
        Self::of(IN_ALL)
    }
}

impl Places {
    /// So many for all calls.
    pub(super) fn of(all: usize) -> Self {
        Self(Arc::new(Semaphore::new(all)))
    }

    /// The places of a call that works on so many nodes.
    pub(in crate::engine) fn share(&self, nodes: usize, limit: &Limit) -> Share {
        let waves = u32::try_from(nodes.div_ceil(AT_ONCE)).unwrap_or(u32::MAX);
        // If some have to wait, the last of them need time for a login, too.
        let parts = if waves > 1 { waves.saturating_add(1) } else { 1 };
        let own = Arc::new(Semaphore::new(AT_ONCE));
        Share { own, all: Arc::clone(&self.0), part: limit.left() / parts }
    }
}

impl Share {
    /// Waits for a place.
    pub(in crate::engine) async fn place(&self, limit: &Limit) -> Result<Place> {
        let places = async {
            let own = Arc::clone(&self.own).acquire_owned().await.ok()?;
            Some(Place { _own: own, _all: Arc::clone(&self.all).acquire_owned().await.ok()? })
        };
        // Neither semaphore is ever closed.
        limit.wait(places).await.flatten().ok_or_else(|| {
            let what = format!("timed out waiting for its turn: {AT_ONCE} portals are handled at a time");
            limit.fault(what).hint("try again with a longer timeout, or name the portal")
        })
    }

    /// The time for a portal's answer: as much as the call has, unless nodes wait for a place.
    pub(in crate::engine) fn part(&self, limit: &Limit) -> Limit {
        limit.at_most(self.part)
    }
}

/// Refuses a call that has too many nodes.
pub(in crate::engine) fn check_number(nodes: usize) -> Result<()> {
    if nodes <= MOST_NODES {
        return Ok(());
    }
    let what = format!("{nodes} nodes are more than one call works on; it works on {MOST_NODES}");
    Err(Fault::new(Kind::Failed, what).hint("name a portal; see what is recorded: iscsictl nodes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_call_has_thirty_two_places_and_leaves_some_to_others() {
        let places = Places::default();
        let limit = Limit::of(Duration::from_secs(30));
        let mut held = Vec::new();
        for _ in 0..IN_ALL / AT_ONCE {
            let share = places.share(AT_ONCE, &limit);
            for _ in 0..AT_ONCE {
                held.push(share.place(&limit).await.unwrap());
            }
            let brief = limit.at_most(Duration::from_secs(1));
            assert_eq!(share.place(&brief).await.err().map(|fault| fault.kind()), Some(Kind::TimedOut));
        }
        let other = places.share(1, &limit);
        let waiting = tokio::spawn({
            let limit = limit.clone();
            async move { other.place(&limit).await.is_ok() }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "all places are taken");
        held.pop();
        assert!(waiting.await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_portal_keeps_others_waiting_for_its_part_only() {
        let (places, limit) = (Places::default(), Limit::of(Duration::from_secs(30)));
        let part = |nodes: usize| places.share(nodes, &limit).part(&limit).left();
        assert_eq!(part(AT_ONCE), Duration::from_secs(30));
        assert_eq!(part(AT_ONCE + 1), Duration::from_secs(10));
        assert_eq!(part(0), Duration::from_secs(30));
        assert!(check_number(MOST_NODES).is_ok() && check_number(MOST_NODES + 1).is_err());
    }
}
