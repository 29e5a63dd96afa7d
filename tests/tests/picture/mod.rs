//! The live picture through the bus: nodes, sessions and disks as objects, signals to watchers, and who gets them.
//! Must not need a kernel: iscsid, kernel, udev and multipathd are the machine's of iscsi-initiator-fake.
//!
//! | module | holds |
//! |---|---|
//! | `by_hand` | what changes behind the daemon's back |
//! | `order` | signals before the replies of the calls that caused them |
//! | `reading` | objects, properties and introspection |
//! | `unsaid` | signals without values, of a daemon that is played by hand |
//! | `watchers` | who gets signals: watchers alone, and not too many of them |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod by_hand;
mod order;
mod reading;
mod unsaid;
mod watchers;

use std::time::Duration;

use crate::room::Room;
use iscsi_initiator_dbus::{
    objects::{Class, Event, Id, Model},
    watch::Watcher,
};
use iscsi_initiator_tests::harness::DEADLINE;
use tokio::time::timeout;

/// polkit's own default allows everybody to look; here one user may not.
const NO_LOOKING: &str = r#"polkit.addRule(function (action, subject) {
    if (action.id == "org.cloudatlas.IscsiInitiator.list-paths" && subject.user == "stranger") {
        return polkit.Result.NO;
    }
});
"#;

/// A watcher of root's, on a connection of its own.
async fn watcher(room: &Room) -> Watcher {
    Watcher::start(&room.world.connect().await).await.unwrap()
}

/// What has been received already.
async fn received(watcher: &mut Watcher) -> Vec<Event> {
    let mut events = Vec::new();
    // What is there is taken before the time is looked at.
    while let Ok(event) = timeout(Duration::ZERO, watcher.next()).await {
        events.push(event.unwrap());
    }
    events
}

/// Waits until the model is so, by events alone; those that came until then.
async fn until(watcher: &mut Watcher, what: &str, is_so: impl Fn(&Model) -> bool) -> Vec<Event> {
    let mut events = Vec::new();
    while !is_so(watcher.model()) {
        match timeout(DEADLINE, watcher.next()).await {
            Ok(event) => events.push(event.unwrap()),
            Err(_) => panic!("still not: {what}: {:#?}; came: {events:?}", watcher.model()),
        }
    }
    events
}

/// How many there are of each class.
fn count(model: &Model) -> [usize; 3] {
    Class::ALL.map(|class| model.objects().filter(|(id, _)| id.class() == class).count())
}

/// The names of the sessions that there are.
fn sessions(model: &Model) -> Vec<&str> {
    model.sessions().map(|(id, _)| id.name()).collect()
}

/// The properties of this object that the events name.
fn changed<'a>(events: &'a [Event], of: &'a Id) -> Vec<&'static str> {
    let changes = events.iter().filter_map(move |event| match event {
        Event::Changed(id, names) if id == of => Some(names.clone()),
        _ => None,
    });
    changes.flatten().collect()
}
