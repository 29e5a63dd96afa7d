//! What the objects do not say: what clients are doing to targets, and which connections are lost for good.
//! Must not judge: `overview` and `news` do, and both by this, so that a list and a notification never differ.
//!
//! | room | what it is |
//! |---|---|
//! | `intents` | [`Intended`]: what a client does to a target, for as long as it does |
//! | `losses` | the connections that were lost, and given up since |

mod intents;
mod losses;

use std::time::Instant;

use iscsi_initiator_dbus::objects::{Id, Model, Session};

pub use self::intents::{Intended, Purpose};
use self::{intents::Intents, losses::Losses};
use crate::overview::Link;

/// What is known beside the objects. One for a process, which has to be told of every event.
///
/// iscsid gives up a session that it cannot connect again: it ends, as after a logout, and the interface of the daemon
/// tells no difference. Here a session that ended is given up if it had lost its connection, its record is still there,
/// and nothing says that it was ended on purpose: neither what a client intends, nor a map that was removed while the
/// paths of its disk were still there, as a logout does it. Its portal stays lost until it is connected again, the
/// record is forgotten, or the target is disconnected.
#[derive(Debug, Default)]
pub struct Memory {
    intents: Intents,
    losses: Losses,
    /// The daemon cannot be followed: the objects are those of before.
    is_stale: bool,
}

impl Memory {
    /// Nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// A client begins to change a target: nothing is told of that until it has ended, and what ends meanwhile, and for
    /// a few seconds longer, was ended on purpose. It ends by [`end`](Self::end), by its owner leaving the bus, or by
    /// itself at its time. Whether it counts: what one process sends is not kept without end.
    pub fn begin(&mut self, intended: Intended, now: Instant) -> bool {
        self.intents.begin(intended, now)
    }

    /// It has ended. [`update`](Self::update) has to follow.
    pub fn end(&mut self, owner: &str, number: u32, now: Instant) {
        self.intents.end(owner, number, now);
    }

    /// A process has left the bus, and all that it intended with it. [`update`](Self::update) has to follow.
    pub fn left(&mut self, owner: &str, now: Instant) {
        self.intents.left(owner, now);
    }

    /// The person knows that this target is lost, and does not want it any more.
    pub fn dismiss(&mut self, target: &str) {
        self.losses.dismiss(target);
    }

    /// The daemon cannot be followed ([`Heard::Lost`](crate::mirror::Heard::Lost)): what is known of the objects may be
    /// untrue, and is not judged until it is [found](Self::found) again.
    pub fn lost(&mut self) {
        self.is_stale = true;
    }

    /// It is followed again. What ended meanwhile, no one has seen: whether it was lost or wanted is not known, and
    /// nothing is made of it.
    pub fn found(&mut self) {
        if std::mem::take(&mut self.is_stale) {
            self.losses.forget_seen();
        }
    }

    /// Whether the objects are those of before.
    pub fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Takes over what is there: after every event, so that nothing between two of them is missed, and when it is
    /// [`due`](Self::due).
    pub fn update(&mut self, model: &Model, now: Instant) {
        self.intents.expire(now);
        if !self.is_stale {
            self.losses.update(model, &self.intents);
        }
    }

    /// When [`update`](Self::update) has to be called if nothing happens until then.
    pub fn due(&self) -> Option<Instant> {
        self.intents.due()
    }

    /// Whether a client is changing this target.
    pub fn is_at_work(&self, target: &str) -> bool {
        self.intents.is_at_work(target)
    }

    /// Whether the connection of this node was lost, and given up since.
    pub fn is_given_up(&self, node: &Id) -> bool {
        self.losses.is_given_up(node)
    }

    /// Whether a session is connected. One that was lost, and is being made anew, is lost until it works, unless a client
    /// is making it.
    pub fn link(&self, id: &Id, session: &Session) -> Link {
        match Link::of(session) {
            Link::Making if self.losses.is_lost(id, session) && !self.is_at_work(&session.target) => {
                Link::Lost
            }
            link => link,
        }
    }
}

#[cfg(test)]
mod tests;
