//! The calls in flight, and how many there may be: of one user, and of all.
//! Must not wait: a call has a place now, or it is refused.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use iscsi_initiator_dbus::{Fault, Kind};
use tokio::time::Instant;

/// Longer than the longest call, with its question to a person and with what it has to put back. A call that was
/// not answered by then never will be.
const LONGEST: Duration = Duration::from_secs(1800);

/// What calls in flight hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Load {
    pub(super) calls: usize,
    pub(super) descriptors: usize,
    pub(super) bytes: usize,
}

/// How much calls in flight may hold.
#[derive(Debug)]
struct Most {
    /// Those of one user.
    each: Load,
    /// Those of root, who has these places besides those of all.
    root: Load,
    /// Those of all users but root.
    all: Load,
}

/// Clients make one call at a time; a method takes two descriptors at most.
const CALLS: Most = Most {
    each: Load { calls: 16, descriptors: 64, bytes: 8 << 20 },
    root: Load { calls: 64, descriptors: 64, bytes: 8 << 20 },
    all: Load { calls: 256, descriptors: 256, bytes: 16 << 20 },
};
/// Each is answered at once.
const CANCELS: Most = Most {
    each: Load { calls: 4, descriptors: 0, bytes: 4 << 10 },
    root: Load { calls: 16, descriptors: 0, bytes: 16 << 10 },
    all: Load { calls: 64, descriptors: 0, bytes: 64 << 10 },
};

/// Which places a call takes. A `Cancel` has its own, because those that it cancels may have all others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Lane {
    Calls,
    Cancels,
}

impl Lane {
    fn most(self) -> &'static Most {
        match self {
            Self::Calls => &CALLS,
            Self::Cancels => &CANCELS,
        }
    }
}

impl Load {
    /// What a call is, with its descriptors and its length.
    pub(super) fn of(descriptors: usize, bytes: usize) -> Self {
        Self { calls: 1, descriptors, bytes }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_add(other.calls),
            descriptors: self.descriptors.saturating_add(other.descriptors),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(other.calls),
            descriptors: self.descriptors.saturating_sub(other.descriptors),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    /// What there is too much of.
    fn beyond(self, most: Self) -> Option<&'static str> {
        if self.calls > most.calls {
            Some("calls")
        } else if self.descriptors > most.descriptors {
            Some("descriptors")
        } else if self.bytes > most.bytes {
            Some("bytes")
        } else {
            None
        }
    }
}

/// A call in flight.
#[derive(Debug)]
struct Call {
    uid: u32,
    load: Load,
    lane: Lane,
    is_silent: bool,
    since: Instant,
}

/// Which call of whom: a serial is the caller's own.
type Name = (String, u32);

#[derive(Debug, Default)]
struct Taken {
    calls: HashMap<Name, Call>,
    users: HashMap<(Lane, u32), Load>,
    all: HashMap<Lane, Load>,
}

/// The places. Each is taken when a call comes in, and given back with its reply.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<Taken>);

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// This user's calls hold as much of this as one user's may.
    Yours(&'static str),
    /// All calls together do.
    All(&'static str),
    /// A call with this serial is not answered yet.
    Again,
}

impl Full {
    pub(super) fn fault(self) -> Fault {
        let message = match self {
            Self::Yours(what) => format!("the unanswered calls of this user hold too many {what}"),
            Self::All(what) => format!("the unanswered calls of all users hold too many {what}"),
            Self::Again => "a call with the same serial number has not been answered yet".to_owned(),
        };
        Fault::new(Kind::Busy, message).hint("wait for the replies to earlier calls")
    }
}

impl Places {
    /// Takes a place, or returns why there is none.
    pub(super) fn take(
        &self,
        uid: u32,
        sender: &str,
        serial: u32,
        load: Load,
        lane: Lane,
        is_silent: bool,
    ) -> Result<(), Full> {
        let mut taken = self.lock();
        let name = (sender.to_owned(), serial);
        if let Err(full) = taken.fits(uid, &name, load, lane) {
            taken.forget_lost();
            if taken.fits(uid, &name, load, lane).is_err() {
                return Err(full);
            }
        }
        let own = taken.users.entry((lane, uid)).or_default();
        *own = own.plus(load);
        if uid != 0 {
            let all = taken.all.entry(lane).or_default();
            *all = all.plus(load);
        }
        taken.calls.insert(name, Call { uid, load, lane, is_silent, since: Instant::now() });
        Ok(())
    }

    /// Gives the place back. Returns whether the caller waits for the reply.
    pub(super) fn give_back(&self, sender: &str, serial: u32) -> bool {
        !self.lock().remove(&(sender.to_owned(), serial)).is_some_and(|call| call.is_silent)
    }

    /// Counting cannot leave the maps half written, so a poisoned lock is usable.
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn fits(&self, uid: u32, name: &Name, load: Load, lane: Lane) -> Result<(), Full> {
        if self.calls.contains_key(name) {
            return Err(Full::Again);
        }
        let most = lane.most();
        let own = self.users.get(&(lane, uid)).copied().unwrap_or_default().plus(load);
        if let Some(what) = own.beyond(if uid == 0 { most.root } else { most.each }) {
            return Err(Full::Yours(what));
        }
        match self.all.get(&lane).copied().unwrap_or_default().plus(load).beyond(most.all) {
            Some(what) if uid != 0 => Err(Full::All(what)),
            _ => Ok(()),
        }
    }

    fn remove(&mut self, name: &Name) -> Option<Call> {
        let call = self.calls.remove(name)?;
        let whose = (call.lane, call.uid);
        if let Some(own) = self.users.get_mut(&whose) {
            *own = own.minus(call.load);
            if own.calls == 0 {
                self.users.remove(&whose);
            }
        }
        if call.uid != 0
            && let Some(all) = self.all.get_mut(&call.lane)
        {
            *all = all.minus(call.load);
        }
        Some(call)
    }

    /// A handler that panicked sends no reply.
    fn forget_lost(&mut self) {
        let is_lost = |call: &Call| call.since.elapsed() > LONGEST;
        let lost: Vec<Name> =
            self.calls.iter().filter(|(_, call)| is_lost(call)).map(|(name, _)| name.clone()).collect();
        for name in lost {
            tracing::warn!(sender = name.0, serial = name.1, "a call was never answered");
            self.remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRANGER: u32 = 1000;

    fn fill(places: &Places, uid: u32, load: Load) -> Full {
        (0..)
            .find_map(|serial| places.take(uid, &format!(":1.{uid}"), serial, load, Lane::Calls, false).err())
            .unwrap()
    }

    #[test]
    fn one_user_has_so_many_calls_in_flight_and_gets_a_place_back_with_each_reply() {
        let places = Places::default();
        assert_eq!(fill(&places, STRANGER, Load::of(0, 100)), Full::Yours("calls"));
        assert_eq!(places.lock().calls.len(), CALLS.each.calls);
        assert!(places.take(1001, ":1.1001", 0, Load::of(0, 100), Lane::Calls, false).is_ok());
        assert!(places.give_back(":1.1000", 3));
        assert!(places.take(STRANGER, ":1.9", 1, Load::of(0, 100), Lane::Calls, false).is_ok());
        assert_eq!(
            places.take(STRANGER, ":1.9", 2, Load::of(0, 100), Lane::Calls, false),
            Err(Full::Yours("calls"))
        );
    }

    #[test]
    fn descriptors_and_bytes_are_counted_too() {
        assert_eq!(fill(&Places::default(), STRANGER, Load::of(16, 100)), Full::Yours("descriptors"));
        assert_eq!(fill(&Places::default(), STRANGER, Load::of(0, 3 << 20)), Full::Yours("bytes"));
    }

    #[test]
    fn all_users_together_cannot_keep_root_out() {
        let places = Places::default();
        for uid in 1..=16 {
            assert_eq!(fill(&places, uid, Load::of(0, 100)), Full::Yours("calls"));
        }
        assert_eq!(
            places.take(99, ":1.99", 1, Load::of(0, 100), Lane::Calls, false),
            Err(Full::All("calls"))
        );
        assert!(places.take(0, ":1.0", 1, Load::of(2, 4 << 20), Lane::Calls, false).is_ok());
    }

    #[test]
    fn who_has_used_up_their_places_can_still_cancel() {
        let places = Places::default();
        for uid in 1..=16 {
            fill(&places, uid, Load::of(0, 100));
        }
        let cancel = |uid: u32, serial, load| {
            places.take(uid, &format!(":1.{uid}"), serial, load, Lane::Cancels, false)
        };
        for serial in 1000..1004 {
            assert_eq!(cancel(1, serial, Load::of(0, 200)), Ok(()));
        }
        assert_eq!(cancel(1, 1004, Load::of(0, 200)), Err(Full::Yours("calls")));
        assert!(places.give_back(":1.1", 1000));
        assert_eq!(cancel(1, 1004, Load::of(0, 200)), Ok(()));
        assert_eq!(cancel(2, 1000, Load::of(1, 200)), Err(Full::Yours("descriptors")));
        assert_eq!(cancel(2, 1000, Load::of(0, 8 << 10)), Err(Full::Yours("bytes")));
        let taken = (2..=99).filter(|uid| cancel(*uid, 1000, Load::of(0, 200)).is_ok()).count();
        assert_eq!(4 + taken, CANCELS.all.calls, "and all users together so many");
        assert_eq!(cancel(0, 1000, Load::of(0, 200)), Ok(()), "not root");
    }

    #[test]
    fn a_serial_stands_for_one_call_at_a_time() {
        let places = Places::default();
        assert!(places.take(STRANGER, ":1.1", 7, Load::of(0, 0), Lane::Calls, true).is_ok());
        assert_eq!(places.take(STRANGER, ":1.1", 7, Load::of(0, 0), Lane::Calls, true), Err(Full::Again));
        assert!(!places.give_back(":1.1", 7), "it expects no reply");
        assert!(places.give_back(":1.1", 7), "nothing is known of it any more");
        assert!(
            places.lock().users.is_empty() && places.lock().all.values().all(|all| *all == Load::default())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_never_answered_gives_its_place_back_in_the_end() {
        let places = Places::default();
        fill(&places, STRANGER, Load::of(0, 0));
        tokio::time::advance(LONGEST * 2).await;
        assert!(places.take(STRANGER, ":1.2", 1, Load::of(0, 0), Lane::Calls, false).is_ok());
        assert_eq!(places.lock().calls.len(), 1);
    }
}
