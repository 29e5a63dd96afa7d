//! The targets as they change, and what other programs of the session do to them.

use std::time::{Duration, Instant};

use iscsi_initiator_model::{
    memory::Memory,
    mirror::{Heard, Mirror, Trouble},
    news::Notices,
    overview::overview,
};
use tokio::time::{sleep, sleep_until, timeout_at};
use zbus::{Connection, MatchRule, Message, MessageStream, message};

use super::{item::Item, notify::Notifications, shown::Shown};
use crate::{
    bus::{connect, next},
    session::{self, Told},
};

/// What comes within this is shown together: a cable has many paths.
const TOGETHER: Duration = Duration::from_millis(100);
/// How long a bus that is gone, or a daemon that refuses, is left alone before it is tried again.
const PAUSE: Duration = Duration::from_secs(30);

/// Follows the targets without end.
pub(super) async fn watch(session: &Connection, item: &Item, notifications: &Notifications) {
    let (Ok(mut told), Ok(mut left)) = (told(session).await, left(session).await) else { return };
    let mut known = Known::default();
    loop {
        let trouble = match connect().await {
            Ok(daemon) => {
                let mut mirror = Mirror::endless(daemon);
                known.follow(&mut mirror, (&mut told, &mut left), item, notifications).await
            }
            Err(_) => Trouble::Bus,
        };
        known.memory.lost();
        item.show(Shown::without(&trouble)).await;
        sleep(PAUSE).await;
    }
}

#[derive(Default)]
struct Known {
    memory: Memory,
    notices: Notices,
}

enum Woken {
    Heard(Result<Heard, Trouble>),
    Told(Message),
    Left(Message),
    Due,
    /// The session bus is gone.
    Ended,
}

impl Known {
    /// Follows one connection: why that is not possible any more.
    async fn follow(
        &mut self,
        mirror: &mut Mirror,
        (told, left): (&mut MessageStream, &mut MessageStream),
        item: &Item,
        notifications: &Notifications,
    ) -> Trouble {
        // Before the daemon was there once, nothing is known to be true.
        let mut is_known = false;
        loop {
            let mut woken = Some(self.wait(mirror, told, left).await);
            let deadline = tokio::time::Instant::now() + TOGETHER;
            while let Some(reason) = woken {
                let now = Instant::now();
                let is_due = matches!(reason, Woken::Due);
                match reason {
                    Woken::Heard(Ok(Heard::Event(_))) => is_known = true,
                    Woken::Heard(Ok(Heard::Found)) => {
                        self.memory.found();
                        is_known = true;
                    }
                    Woken::Heard(Ok(Heard::Lost(trouble))) => {
                        self.memory.lost();
                        if !is_known {
                            item.show(Shown::without(&trouble)).await;
                        }
                    }
                    Woken::Heard(Err(trouble)) => return trouble,
                    Woken::Told(message) => self.told(&message, now),
                    Woken::Left(message) => self.left(&message, now),
                    Woken::Due => {}
                    Woken::Ended => return Trouble::Bus,
                }
                self.memory.update(mirror.model(), now);
                // What is due stays so until the notices have been asked: waiting for more would never end.
                woken = match is_due {
                    true => None,
                    false => timeout_at(deadline, self.wait(mirror, told, left)).await.ok(),
                };
            }
            if is_known {
                for telling in self.notices.update(mirror.model(), &self.memory, Instant::now()) {
                    notifications.tell(&telling).await;
                }
                item.show(Shown::of(&overview(mirror.model(), &self.memory))).await;
            }
        }
    }

    async fn wait(&self, mirror: &mut Mirror, told: &mut MessageStream, left: &mut MessageStream) -> Woken {
        let due = async {
            match self.memory.due().into_iter().chain(self.notices.due()).min() {
                Some(due) => sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        let message = |message: Option<zbus::Result<Message>>, make: fn(Message) -> Woken| match message {
            Some(Ok(message)) => make(message),
            _ => Woken::Ended,
        };
        tokio::select! {
            heard = mirror.next() => Woken::Heard(heard),
            came = next(told) => message(came, Woken::Told),
            came = next(left) => message(came, Woken::Left),
            () = due => Woken::Due,
        }
    }

    /// Another program of the session begins or ends something.
    fn told(&mut self, message: &Message, now: Instant) {
        let header = message.header();
        let (Some(owner), Some(told)) = (header.sender(), Told::heard(message)) else { return };
        match &told {
            Told::Begin { .. } => {
                if let Some(intended) = session::intended(owner.as_str(), &told, now) {
                    let _ = self.memory.begin(intended, now);
                }
            }
            Told::End { number } => self.memory.end(owner.as_str(), *number, now),
            Told::Dismiss { target } => self.memory.dismiss(target),
        }
    }

    /// A program has left the session bus.
    fn left(&mut self, message: &Message, now: Instant) {
        let body = message.body();
        let Ok((name, _, owner)) = body.deserialize::<(String, String, String)>() else { return };
        if owner.is_empty() && name.starts_with(':') {
            self.memory.left(&name, now);
        }
    }
}

async fn told(session: &Connection) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(message::Type::Signal)
        .interface(session::INTERFACE)
        .path(session::PATH)
        .build()?;
    MessageStream::for_match_rule(rule, session, None).await
}

async fn left(session: &Connection) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder()
        .msg_type(message::Type::Signal)
        .sender("org.freedesktop.DBus")
        .interface("org.freedesktop.DBus")
        .member("NameOwnerChanged")
        // Names that are gone.
        .arg(2, "")
        .build()?;
    MessageStream::for_match_rule(rule, session, None).await
}
