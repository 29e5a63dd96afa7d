//! Who gets the signals of the objects: watchers, each by its unique name, until it leaves the bus.
//! Must not send anything, or ask polkit.

use std::{collections::BTreeMap, sync::Arc};

use iscsi_initiator_dbus::{Fault, Kind, fault::Result};
use iscsi_initiator_polkit::{Grant, caller::departure};
use tokio::{sync::watch, task::AbortHandle};
use zbus::Connection;

use crate::engine::turns::activity::{Activity, Attendance};

/// Watchers of one user. A client needs one.
const EACH: usize = 8;
/// Watchers of root, besides those of all.
const ROOT: usize = 16;
/// Watchers of all users but root. Each change is sent to every one of them.
const ALL: usize = 64;

/// The watchers. Copies share them.
#[derive(Clone)]
pub(crate) struct Watchers(Arc<Inner>);

struct Inner {
    connection: Connection,
    activity: Activity,
    list: watch::Sender<List>,
}

/// By unique name: the bus never uses one twice.
type List = BTreeMap<String, Watcher>;

struct Watcher {
    uid: u32,
    /// What waits for its departure, and keeps the daemon meanwhile.
    waiting: AbortHandle,
}

impl Watchers {
    /// None yet. `activity` is what keeps the daemon while there are some.
    pub(crate) fn new(connection: &Connection, activity: Activity) -> Self {
        let list = watch::Sender::new(List::new());
        Self(Arc::new(Inner { connection: connection.clone(), activity, list }))
    }

    /// Makes the caller a watcher, until it leaves the bus. Who is one already stays one.
    pub(super) fn add(&self, grant: Grant) -> Result<()> {
        let (name, uid) = (grant.caller().name().to_owned(), grant.caller().uid());
        let mut outcome = Ok(());
        self.0.list.send_if_modified(|list| {
            if list.contains_key(&name) {
                return false;
            }
            outcome = fits(list.values().map(|watcher| watcher.uid), uid);
            if outcome.is_err() {
                return false;
            }
            let attendance = self.0.activity.attend();
            let waiting = tokio::spawn(self.clone().until_it_leaves(grant, attendance)).abort_handle();
            list.insert(name, Watcher { uid, waiting });
            true
        });
        outcome
    }

    async fn until_it_leaves(self, grant: Grant, _attendance: Attendance) {
        let name = grant.caller().name();
        if let Err(error) = departure(&self.0.connection, name).await {
            tracing::warn!(%error, "cannot see whether a watcher is still there");
        }
        self.remove(name);
    }

    /// The connection of this name is no watcher any more.
    pub(super) fn remove(&self, name: &str) {
        self.0.list.send_if_modified(|list| {
            let removed = list.remove(name);
            if let Some(watcher) = &removed {
                watcher.waiting.abort();
            }
            removed.is_some()
        });
    }

    /// Whether there is one.
    pub(super) fn are_any(&self) -> bool {
        !self.0.list.borrow().is_empty()
    }

    /// Their unique names.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.list.borrow().keys().cloned().collect()
    }

    /// A listener for those who come and go from now on.
    pub(super) fn traffic(&self) -> Traffic {
        Traffic(self.0.list.subscribe())
    }
}

/// Watchers who come and go.
pub(super) struct Traffic(watch::Receiver<List>);

impl Traffic {
    /// Waits until one has come or gone.
    pub(super) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // There are none any more, and never will be.
            std::future::pending().await
        }
    }
}

/// `Busy` if there is no place for another watcher of this user.
fn fits(watchers: impl Iterator<Item = u32>, uid: u32) -> Result<()> {
    let (mut own, mut others) = (0, 0);
    for watcher in watchers {
        own += usize::from(watcher == uid);
        others += usize::from(watcher != 0);
    }
    let whose = if own >= if uid == 0 { ROOT } else { EACH } {
        "of this user"
    } else if uid != 0 && others >= ALL {
        "of all users"
    } else {
        return Ok(());
    };
    let fault = Fault::new(Kind::Busy, format!("too many connections {whose} watch the objects"));
    Err(fault.hint("close a program that watches them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_cannot_take_every_place_and_all_users_cannot_keep_root_out() {
        let of = |uid: u32, number: usize| std::iter::repeat_n(uid, number);
        assert!(fits(of(1000, EACH - 1), 1000).is_ok());
        let full = fits(of(1000, EACH), 1000).unwrap_err();
        assert!(full.kind() == Kind::Busy && full.message().contains("of this user"), "{full}");
        assert!(fits(of(1000, EACH), 1001).is_ok());
        let all = || (1..).flat_map(|uid| of(uid, EACH)).take(ALL);
        assert!(fits(all(), 4711).unwrap_err().message().contains("of all users"));
        assert!(fits(all(), 0).is_ok());
        assert!(fits(of(0, ROOT), 0).is_err() && fits(of(0, ROOT), 1000).is_ok());
    }
}
