//! The leases of one virtual machine: taken before it starts, and released when it has stopped or has not started.

use std::{cell::RefCell, time::Duration};

use iscsi_initiator_dbus::{
    GuestUuid, Iqn, Kind, LeaseHolder,
    options::{HoldOptions, PathFilter},
    proxy::InitiatorProxy,
};
use tokio::time::{sleep, timeout};

use super::clock::Clock;
use crate::problem::Problem;

/// The job that a login is: one at a time.
pub(super) const JOB: u32 = 1;

/// How soon a target is tried again that is being logged out of, or worked on.
pub(super) const AGAIN: Duration = Duration::from_millis(250);

/// What takes and releases them.
pub(super) struct Holds {
    daemon: InitiatorProxy<'static>,
    holder: LeaseHolder,
    /// Those that this operation took, or may have taken.
    taken: RefCell<Vec<Iqn>>,
}

impl Holds {
    /// Those of the virtual machine with this UUID.
    pub(super) fn new(daemon: &InitiatorProxy<'static>, uuid: &GuestUuid) -> Self {
        Self { daemon: daemon.clone(), holder: uuid.holder(), taken: RefCell::default() }
    }

    /// Takes one before the login: what is logged in to then ends with the last of them.
    pub(super) async fn take(&self, target: &Iqn, clock: &Clock) -> Result<(), Problem> {
        self.taken.borrow_mut().push(target.clone());
        let options = HoldOptions::new().until_released(true);
        loop {
            match self.daemon.hold(target.as_str(), self.holder.as_str(), &options).await {
                Ok(()) => return Ok(()),
                // The virtual machine that was stopped just now may have been the last one there.
                Err(fault) if fault.kind() == Kind::Busy && clock.left() > AGAIN => sleep(AGAIN).await,
                Err(fault) => return Err(Problem::from(fault).or_list()),
            }
        }
    }

    /// Takes one for a machine that runs: nothing is logged in to for it.
    pub(super) async fn take_again(&self, target: &Iqn) -> Result<(), Problem> {
        Ok(self.daemon.hold(target.as_str(), self.holder.as_str(), &HoldOptions::new()).await?)
    }

    /// Releases all of them, also those that another metadata named.
    pub(super) async fn release_all(&self) -> Result<(), Problem> {
        let mut targets: Vec<String> = self
            .daemon
            .list_paths(PathFilter::new())
            .await?
            .into_iter()
            .filter(|path| path.holds.iter().any(|name| name == self.holder.as_str()))
            .map(|path| path.target)
            .collect();
        targets.sort_unstable();
        targets.dedup();
        let mut done = Ok(());
        for target in targets {
            if let Err(fault) = self.daemon.release(&target, self.holder.as_str()).await {
                done = Err(fault.into());
            }
        }
        done
    }

    /// Puts back what this operation did: the login that is under way is cancelled, and what it took is released. What is
    /// not done in time the daemon goes on with.
    pub(super) async fn give_up(&self, clock: &Clock) {
        let taken = self.taken.take();
        let put_back = async {
            // Without one that is under way there is none to cancel.
            let _ = self.daemon.cancel(JOB).await;
            for target in taken {
                let _ = self.daemon.release(target.as_str(), self.holder.as_str()).await;
            }
        };
        // The reason for the failure is what a person has to know.
        let _ = timeout(clock.last(), put_back).await;
    }
}
