//! What this window does to targets, while it does: its own memory and the tray's must not take it for trouble.
//! Must not say anything of a call but its targets: every program of the session hears it.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use iscsi_initiator_model::{connect, disconnect, memory::Intended, memory::Purpose};
use tokio::sync::mpsc::UnboundedSender;

use super::request::Request;
use crate::session::{self, Told};

/// How long a call may take at most, with a person's answer to polkit.
const LONGEST: Duration = Duration::from_secs(900);

/// Something that is begun, or has ended.
#[derive(Debug)]
pub(super) enum Intent {
    Begin(Intended),
    End(u32),
    /// The person does not want this target any more.
    Dismiss(String),
}

/// Says what is intended to whoever follows the objects.
#[derive(Debug)]
pub(super) struct Intents {
    own: UnboundedSender<Intent>,
    session: session::Teller,
    last: AtomicU32,
}

impl Intents {
    pub(super) fn new(own: UnboundedSender<Intent>) -> Self {
        Self { own, session: session::Teller::new(), last: AtomicU32::new(0) }
    }

    /// What is begun: the numbers that end it.
    pub(super) fn begin(&self, request: &Request) -> Vec<u32> {
        let (targets, purpose) = of(request);
        targets.into_iter().map(|target| self.begin_one(target, purpose)).collect()
    }

    fn begin_one(&self, target: String, purpose: Purpose) -> u32 {
        let number = self.last.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.session.tell(&Told::Begin {
            number,
            target: target.clone(),
            purpose,
            seconds: LONGEST.as_secs(),
        });
        let (owner, until) = (String::new(), Instant::now() + LONGEST);
        // Fails only where nothing is followed any more.
        let _ = self.own.send(Intent::Begin(Intended { number, owner, target, purpose, until }));
        number
    }

    pub(super) fn end(&self, numbers: Vec<u32>) {
        for number in numbers {
            self.session.tell(&Told::End { number });
            let _ = self.own.send(Intent::End(number));
        }
    }

    pub(super) fn dismiss(&self, target: String) {
        self.session.tell(&Told::Dismiss { target: target.clone() });
        let _ = self.own.send(Intent::Dismiss(target));
    }
}

fn of(request: &Request) -> (Vec<String>, Purpose) {
    let one = |target: &iscsi_initiator_dbus::Iqn| vec![target.as_str().to_owned()];
    match request {
        Request::Connect(call) => match call.as_ref() {
            connect::Call::Connect(order) => {
                (order.targets.iter().map(|target| target.as_str().to_owned()).collect(), Purpose::Change)
            }
            connect::Call::Forget(target, _) => (one(target), Purpose::Change),
            _ => (Vec::new(), Purpose::Change),
        },
        Request::Disconnect(disconnect::Call::Logout(wanted, _)) => match wanted.portal {
            None => (one(&wanted.target), Purpose::Disconnect),
            Some(_) => (one(&wanted.target), Purpose::Change),
        },
        Request::Forget(target) => (one(target), Purpose::Disconnect),
        Request::Rescan(target) => (one(target), Purpose::Change),
        _ => (Vec::new(), Purpose::Change),
    }
}
