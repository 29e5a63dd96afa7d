//! The objects as they change, whatever becomes of the daemon and the bus.

use std::{sync::Arc, time::Duration};

use async_channel::Sender;
use iscsi_initiator_dbus::{objects::Event, proxy::InitiatorProxy};
use iscsi_initiator_model::{
    memory::Memory,
    mirror::{Heard, Mirror, Trouble},
};
use tokio::{
    sync::{Notify, mpsc::UnboundedReceiver},
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    facts::Facts,
    intents::Intent,
    state::{Snapshot, State},
    system,
};

/// What comes within this is shown together: a cable has many paths.
const TOGETHER: Duration = Duration::from_millis(30);
/// How long a bus that is gone, or a daemon that has no room, is left alone before it is tried again.
const PAUSE: Duration = Duration::from_secs(5);

/// Sends what is known, whenever it changes, until nothing takes it. `again` has the daemon looked for once more, or, where
/// it is followed, what it says of itself read anew.
pub(super) async fn follow(
    states: Sender<State>,
    again: Arc<Notify>,
    mut intents: UnboundedReceiver<Intent>,
) {
    let mut memory = Memory::new();
    loop {
        let daemon = system::connect().await;
        let trouble = match &daemon {
            Ok(daemon) => until_trouble(daemon, &states, &again, &mut intents, &mut memory).await,
            Err(_) => Trouble::Bus,
        };
        memory.lost();
        let later = matches!(trouble, Trouble::Bus | Trouble::Later(_));
        if states.send(State::Trouble(trouble)).await.is_err() {
            return;
        }
        let appears = async {
            match &daemon {
                Ok(daemon) if !later => system::appears(daemon.inner().connection()).await,
                _ => sleep(PAUSE).await,
            }
        };
        tokio::select! {
            () = appears => {}
            () = again.notified() => {}
        }
    }
}

/// What woke the follower.
enum Woken {
    Heard(Result<Heard, Trouble>),
    Intent(Intent),
    /// What the daemon says of itself is to be read anew.
    Again,
    /// The memory is due.
    Due,
}

/// Follows the daemon until that is not possible any more: why.
async fn until_trouble(
    daemon: &InitiatorProxy<'static>,
    states: &Sender<State>,
    again: &Notify,
    intents: &mut UnboundedReceiver<Intent>,
    memory: &mut Memory,
) -> Trouble {
    let mut mirror = match Mirror::start(daemon).await {
        Ok(mirror) => mirror,
        Err(trouble) => return trouble,
    };
    memory.found();
    let mut facts = Facts::read(daemon).await;
    let mut lost = None;
    loop {
        memory.update(mirror.model(), std::time::Instant::now());
        let snapshot = Snapshot::new(mirror.model(), memory, &facts, lost.as_ref());
        if states.send(State::Known(Arc::new(snapshot))).await.is_err() {
            return Trouble::Bus;
        }
        let mut is_another = false;
        let mut woken = Some(wait(&mut mirror, again, intents, memory).await);
        let deadline = Instant::now() + TOGETHER;
        while let Some(reason) = woken {
            match reason {
                Woken::Heard(Ok(Heard::Event(event))) => is_another |= event == Event::Restarted,
                Woken::Heard(Ok(Heard::Found)) => {
                    memory.found();
                    (lost, is_another) = (None, true);
                }
                Woken::Heard(Ok(Heard::Lost(why))) => {
                    memory.lost();
                    lost = Some(why);
                }
                Woken::Heard(Err(trouble)) => return trouble,
                Woken::Intent(intent) => remember(memory, intent),
                Woken::Again => {
                    mirror.hurry();
                    is_another = true;
                }
                Woken::Due => {}
            }
            // After every event: what is between two of them must not be missed.
            memory.update(mirror.model(), std::time::Instant::now());
            woken = timeout_at(deadline, wait(&mut mirror, again, intents, memory)).await.ok();
        }
        if is_another && lost.is_none() {
            facts = Facts::read(daemon).await;
        }
    }
}

async fn wait(
    mirror: &mut Mirror,
    again: &Notify,
    intents: &mut UnboundedReceiver<Intent>,
    memory: &Memory,
) -> Woken {
    let due = async {
        match memory.due() {
            Some(due) => sleep_until(due.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        heard = mirror.next() => Woken::Heard(heard),
        Some(intent) = intents.recv() => Woken::Intent(intent),
        () = again.notified() => Woken::Again,
        () = due => Woken::Due,
    }
}

fn remember(memory: &mut Memory, intent: Intent) {
    let now = std::time::Instant::now();
    match intent {
        Intent::Begin(intended) => {
            let _ = memory.begin(intended, now);
        }
        Intent::End(number) => memory.end("", number, now),
        Intent::Dismiss(target) => memory.dismiss(&target),
    }
}
