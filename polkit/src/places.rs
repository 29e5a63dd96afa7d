//! Limits the number of open prompts, in all and for one user.
//! Must not wait: a place is free now, or the request is rejected.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

/// The places, and who holds them.
#[derive(Debug)]
pub(crate) struct Places {
    all: usize,
    each: usize,
    taken: Mutex<HashMap<u32, usize>>,
}

/// A place for an open prompt; dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    uid: u32,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// This user holds as many as one user may.
    Yours(usize),
    /// All are taken.
    All(usize),
}

impl Places {
    pub(crate) fn new(all: usize, each: usize) -> Arc<Self> {
        Arc::new(Self { all, each, taken: Mutex::default() })
    }

    /// Takes a place for this user, or returns why there is none.
    pub(crate) fn take(self: &Arc<Self>, uid: u32) -> Result<Place, Full> {
        let mut taken = self.lock();
        if taken.values().sum::<usize>() >= self.all {
            return Err(Full::All(self.all));
        }
        let own = taken.entry(uid).or_default();
        if *own >= self.each {
            return Err(Full::Yours(self.each));
        }
        *own += 1;
        Ok(Place { places: Arc::clone(self), uid })
    }

    /// Counting cannot leave the map half written, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, HashMap<u32, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(own) = taken.get_mut(&self.uid) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                taken.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_the_places_of_others() {
        let places = Places::new(32, 4);
        let held: Vec<Place> = (0..4).map(|_| places.take(1000).unwrap()).collect();
        assert_eq!(places.take(1000).unwrap_err(), Full::Yours(4));
        assert!(places.take(1001).is_ok());
        drop(held);
        assert!(places.take(1000).is_ok());
    }

    #[test]
    fn many_users_cannot_take_more_than_all_places() {
        let places = Places::new(32, 4);
        let held: Vec<Place> = (0..32).map(|n| places.take(n / 4).unwrap()).collect();
        assert_eq!(places.take(99).unwrap_err(), Full::All(32));
        drop(held);
        assert!(places.lock().is_empty(), "who has left is forgotten");
    }
}
