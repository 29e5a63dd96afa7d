//! A user without any permission floods the daemon: with descriptors, with size, with numbers. It stays, stays
//! small, and answers root. It is a process of its own, with no more descriptors than systemd gives by default.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]
#![allow(
    clippy::print_stdout,
    reason = "what was measured, and what the attacker's process says to the test"
)]

mod attacker;
mod daemon;
mod raw;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use attacker::Attacker;
use daemon::Daemon;
use iscsi_initiator_dbus::{Fault, Kind, proxy::InitiatorProxy, results::Path};
use iscsi_initiator_fake::Machine;
use iscsi_initiator_tests::harness::{STRANGER, World};

/// How long root may wait when the bus has carried the flood. dbus-daemon takes longer than the daemon for that: it
/// looks through all unanswered calls for each call and each reply.
const PROMPT: Duration = Duration::from_secs(5);
/// What the whole daemon may have held at any moment, in MB, beside what it holds at rest.
const ONE_MESSAGE: u64 = 40;
const MANY: u64 = 80;

struct Scene {
    world: World,
    daemon: Daemon,
    _machine: Machine,
}

impl Scene {
    async fn start() -> Self {
        let (world, machine) = (World::start().await, Machine::new());
        let daemon = Daemon::start(&machine.root(), world.address());
        world.wait_for(iscsi_initiator_dbus::BUS_NAME).await;
        Self { world, daemon, _machine: machine }
    }

    async fn attacker(&self, kind: &str) -> Attacker {
        Attacker::start(&self.world, STRANGER, kind).await
    }

    /// Root's own call, on a connection that the daemon has not seen before.
    async fn ask(&self) -> Result<Vec<Path>, Fault> {
        let root = self.world.connect().await;
        InitiatorProxy::new(&root).await.unwrap().list_paths(HashMap::new()).await
    }

    /// The daemon is the one that was started, and grew by no more than this.
    async fn check(&mut self, most: u64, before: u64) {
        self.ask().await.unwrap();
        self.daemon.assert_runs();
        let grown = self.daemon.peak() - before;
        assert!(grown < most, "it grew by {grown} MB at its peak, from {before} MB");
    }
}

/// The way in for the daemon.
#[test]
fn the_daemon_under_attack() {
    daemon::run();
}

/// The way in for the attacker.
#[tokio::test]
async fn the_attacker() {
    attacker::run().await;
}

#[tokio::test]
async fn descriptors_that_nobody_asked_for_end_nothing() {
    let mut scene = Scene::start().await;
    let before = scene.daemon.peak();
    // More than a process may have, several times over.
    for kind in ["descriptors", "descriptors", "unexpected-descriptors", "signals"] {
        let mut attacker = scene.attacker(kind).await;
        attacker.go().await;
        let replies = attacker.replies().await;
        println!("{kind}: {replies:?}, {} open at most", scene.daemon.descriptors());
        assert_eq!(replies.other, 0, "{kind}: {replies:?}");
        assert_eq!(replies.granted > 0, kind == "descriptors", "{kind}: {replies:?}");
    }
    scene.check(ONE_MESSAGE, before).await;
    assert!(scene.daemon.descriptors() < 100, "{} are open", scene.daemon.descriptors());
}

#[tokio::test]
async fn one_message_costs_no_more_than_its_bytes() {
    let mut scene = Scene::start().await;
    let before = scene.daemon.peak();
    for kind in ["many-keys", "one-key", "nested", "read-many-keys", "read-nested", "read-one-value"] {
        let mut attacker = scene.attacker(kind).await;
        attacker.go().await;
        let replies = attacker.replies().await;
        assert_eq!((replies.invalid, replies.other), (1, 0), "{kind}: {replies:?}");
        println!("{kind}: {} MB at the peak, {before} MB before", scene.daemon.peak());
    }
    scene.check(ONE_MESSAGE, before).await;
}

#[tokio::test]
async fn a_flood_of_calls_is_refused_at_once_and_root_is_answered() {
    let mut scene = Scene::start().await;
    let before = scene.daemon.peak();
    let mut attacker = scene.attacker("numbers").await;
    attacker.go().await;
    // In the middle of it, and for as long as it lasts.
    let mut waits = Vec::new();
    let mut root = Box::pin(async {
        loop {
            let asked = Instant::now();
            scene.ask().await.unwrap();
            waits.push((asked, Instant::now()));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let replies = tokio::select! {
        () = &mut root => unreachable!("it never ends"),
        replies = attacker.replies() => replies,
    };
    let over = Instant::now();
    drop(tokio::time::timeout(PROMPT, root).await);
    let slowest = waits.iter().map(|(asked, answered)| *answered - *asked).max().unwrap();
    let (peak, ticks) = (scene.daemon.peak(), scene.daemon.ticks());
    println!("{replies:?}; root waited {slowest:?}, {peak} MB at the peak, {ticks} ticks of work");
    assert!(waits.iter().any(|(asked, _)| *asked < over), "root was not answered: {waits:?}");
    let all = attacker::CONNECTIONS * attacker::CALLS;
    assert_eq!(replies.granted + replies.busy + replies.invalid + replies.other, all);
    // The few that came in; while polkit's own answers are behind the flood, it may be too late for them.
    assert!(replies.granted > 0 && replies.busy > all - all / 20, "{replies:?}");
    scene.check(MANY, before).await;
    // The places are free again, for the same user too.
    let reply = scene.world.call_as(STRANGER, "ListPaths", "a{sv}", &["0"]).await;
    assert_eq!(reply.code, 0, "{}", reply.stderr);
    let log = scene.daemon.log();
    assert!(log.lines().count() < 300, "{} lines of log", log.lines().count());
}

#[tokio::test]
async fn calls_on_every_interface_have_places_and_give_them_back() {
    let mut scene = Scene::start().await;
    for kind in ["properties", "introspect", "ping", "nowhere", "silent"] {
        for _ in 0..3 {
            let mut attacker = scene.attacker(kind).await;
            attacker.go().await;
            let replies = attacker.replies().await;
            assert_eq!(replies.invalid, 0, "{kind}: {replies:?}");
        }
    }
    // Nobody is told when the last silent calls are done: their places are free soon after.
    let over = Instant::now();
    loop {
        let reply = scene.world.call_as(STRANGER, "ListPaths", "a{sv}", &["0"]).await;
        if reply.code == 0 {
            break;
        }
        assert!(reply.stderr.contains("too many calls"), "{}", reply.stderr);
        assert!(over.elapsed() < PROMPT, "a place was not given back: {}", reply.stderr);
    }
    scene.daemon.assert_runs();
}

#[tokio::test]
async fn who_never_reads_holds_up_nobody_and_costs_no_memory() {
    let mut scene = Scene::start().await;
    let before = scene.daemon.peak();
    let mut attacker = scene.attacker("deaf").await;
    attacker.go().await;
    // These come after its calls.
    for _ in 0..3 {
        scene.ask().await.unwrap();
        let reply = scene.world.call_as(STRANGER, "ListPaths", "a{sv}", &["0"]).await;
        assert_eq!(reply.code, 0, "{}", reply.stderr);
    }
    println!("{} MB at the peak, {before} MB before", scene.daemon.peak());
    scene.check(ONE_MESSAGE, before).await;
    drop(attacker);
    scene.ask().await.unwrap();
    scene.daemon.assert_runs();
}

#[tokio::test]
async fn a_stopped_polkit_does_not_make_one_users_calls_anothers_trouble() {
    let scene = Scene::start().await;
    scene.world.stop_polkitd();
    let mut attacker = scene.attacker("one-by-one").await;
    attacker.go().await;
    // Its places are taken by calls that wait for polkit; what is more is refused at once.
    let busy = attacker.busy().await;
    assert!(busy.contains(Kind::Busy.name()), "{busy}");
    scene.world.resume_polkitd();
    scene.ask().await.unwrap();
}
