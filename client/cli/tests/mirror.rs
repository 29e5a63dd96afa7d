//! A mirror of a process that stays, against a fake daemon on a bus of its own.
//! Must not test the daemon: only that it is followed for as long as the process lives.

#![expect(unreachable_pub, reason = "the fake is a module of this test only")]
#![expect(clippy::unwrap_used, reason = "a helper of a test that fails, fails the test")]

mod fake;

use std::time::{Duration, Instant};

use fake::{Bus, DISKS};
use iscsi_initiator_dbus::{
    objects::{Event, Id, Object, Session},
    proxy::InitiatorProxy,
};
use iscsi_initiator_model::{
    memory::Memory,
    mirror::{Heard, Mirror, Trouble},
    overview::overview,
};
use tokio::{
    runtime::{Builder, Runtime},
    time::timeout,
};

/// No test waits longer for what must come.
const DEADLINE: Duration = Duration::from_secs(60);

/// The process that stays.
struct Tray {
    runtime: Runtime,
    mirror: Mirror,
    memory: Memory,
}

impl Tray {
    fn on(bus: &Bus) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mirror = runtime.block_on(async {
            let connection = zbus::connection::Builder::address(bus.address()).build().await.unwrap();
            Mirror::endless(InitiatorProxy::new(&connection).await.unwrap())
        });
        Self { runtime, mirror, memory: Memory::new() }
    }

    fn next(&mut self) -> Result<Heard, Trouble> {
        let heard = self.runtime.block_on(async { timeout(DEADLINE, self.mirror.next()).await.unwrap() });
        match &heard {
            Ok(Heard::Lost(_)) => self.memory.lost(),
            Ok(Heard::Found) => self.memory.found(),
            Ok(Heard::Event(_)) | Err(_) => {}
        }
        self.memory.update(self.mirror.model(), Instant::now());
        heard
    }

    /// Nothing comes for so long.
    fn rests(&mut self, time: Duration) {
        let heard = self.runtime.block_on(async { timeout(time, self.mirror.next()).await });
        assert!(heard.is_err(), "{heard:?}");
    }

    fn is_stale(&self) -> bool {
        overview(self.mirror.model(), &self.memory).is_stale
    }
}

fn session(state: &str) -> (Id, Object) {
    let mut session = Session::default();
    (session.sid, session.target, session.state) = (1, DISKS.to_owned(), state.to_owned());
    (Id::session(1), Object::Session(session))
}

#[test]
fn a_daemon_is_waited_for_without_end_and_its_return_is_told() {
    let bus = Bus::empty();
    let mut tray = Tray::on(&bus);
    assert!(matches!(tray.next(), Ok(Heard::Lost(Trouble::Gone(_)))), "it is not there at the beginning");
    assert!(tray.is_stale());
    tray.rests(Duration::from_secs(4));
    let (id, object) = session("LOGGED_IN");
    bus.put(&id, object);
    let mut bus = bus.restart();
    tray.mirror.hurry();
    assert_eq!(tray.next(), Ok(Heard::Found));
    assert!(!tray.is_stale() && tray.mirror.model().sessions().count() == 1);
    let (id, object) = session("FAILED");
    bus.put(&id, object);
    assert_eq!(tray.next(), Ok(Heard::Event(Event::Changed(id, vec!["State"]))));
    bus.crash();
    assert!(matches!(tray.next(), Ok(Heard::Lost(Trouble::Gone(_)))));
    assert!(tray.is_stale() && tray.mirror.model().sessions().count() == 1, "as it was, and said to be");
    let mut bus = bus.restart();
    assert_eq!(tray.next(), Ok(Heard::Found), "although nothing has changed");
    assert!(!tray.is_stale());
    // A refusal is an error: polkit may ask a person each time.
    bus.crash();
    while !matches!(tray.next(), Ok(Heard::Lost(_))) {}
    bus.forbid();
    let _bus = bus.restart();
    assert!(matches!(tray.next(), Err(Trouble::Refused(_))));
}
