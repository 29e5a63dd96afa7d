//! What the window tells the tray role over the session bus: signals, which nobody has to hear.
//! Must not carry more than the names of targets.

use iscsi_initiator_model::memory::{Intended, Purpose};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use zbus::{Connection, Message};

/// Where the signals come from, and their interface.
pub(crate) const PATH: &str = "/org/cloudatlas/IscsiInitiator/Applet/Intents";
pub(crate) const INTERFACE: &str = "org.cloudatlas.IscsiInitiator.Applet.Intents";

/// What is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// A call begins to change a target.
    Begin { number: u32, target: String, purpose: Purpose, seconds: u64 },
    /// It has ended.
    End { number: u32 },
    /// The person does not want a target any more.
    Dismiss { target: String },
}

impl Told {
    /// As it was heard; nothing for what no version of this program says.
    pub(crate) fn heard(message: &Message) -> Option<Self> {
        let header = message.header();
        let body = message.body();
        match header.member()?.as_str() {
            "Begin" => {
                let (number, target, disconnects, seconds): (u32, String, bool, u64) =
                    body.deserialize().ok()?;
                let purpose = if disconnects { Purpose::Disconnect } else { Purpose::Change };
                Some(Self::Begin { number, target, purpose, seconds })
            }
            "End" => Some(Self::End { number: body.deserialize().ok()? }),
            "Dismiss" => Some(Self::Dismiss { target: body.deserialize().ok()? }),
            _ => None,
        }
    }

    async fn emit(&self, bus: &Connection) -> zbus::Result<()> {
        let signal = |member: &'static str| (None::<&str>, PATH, INTERFACE, member);
        let (to, path, interface, member) = signal(match self {
            Self::Begin { .. } => "Begin",
            Self::End { .. } => "End",
            Self::Dismiss { .. } => "Dismiss",
        });
        match self {
            Self::Begin { number, target, purpose, seconds } => {
                let body = (*number, target.as_str(), *purpose == Purpose::Disconnect, *seconds);
                bus.emit_signal(to, path, interface, member, &body).await
            }
            Self::End { number } => bus.emit_signal(to, path, interface, member, number).await,
            Self::Dismiss { target } => bus.emit_signal(to, path, interface, member, target).await,
        }
    }
}

/// What of it the memory is told of.
pub(crate) fn intended(owner: &str, told: &Told, now: Instant) -> Option<Intended> {
    let Told::Begin { number, target, purpose, seconds } = told else { return None };
    let until = now + Duration::from_secs((*seconds).min(900));
    Some(Intended {
        number: *number,
        owner: owner.to_owned(),
        target: target.clone(),
        purpose: *purpose,
        until,
    })
}

/// Sends what is told, in its order. Without a session bus nothing is sent.
#[derive(Debug)]
pub(crate) struct Teller(UnboundedSender<Told>);

impl Teller {
    /// Has to be called on the thread of the bus.
    pub(crate) fn new() -> Self {
        let (sender, mut told) = unbounded_channel::<Told>();
        tokio::spawn(async move {
            let Ok(bus) = Connection::session().await else { return };
            while let Some(told) = told.recv().await {
                if told.emit(&bus).await.is_err() {
                    return;
                }
            }
        });
        Self(sender)
    }

    pub(crate) fn tell(&self, told: &Told) {
        // Fails only without a session bus.
        let _ = self.0.send(told.clone());
    }
}
