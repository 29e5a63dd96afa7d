//! What may happen to a node that is to stay logged in to, in any order, on a machine of files.

use std::net::SocketAddr;

use iscsi_initiator_dbus::{
    Fault, Iqn, Kind, Portal,
    options::{LoginOptions, LogoutOptions},
    results,
};
use iscsi_initiator_fake::{Bus, Machine, machine::large_target, target::Chap};
use iscsi_initiator_polkit::{Action, Details, Grant};
use tokio::time::sleep;

use super::{attempt::attempt, *};
use crate::{
    Activity, Layout,
    backend::{host::cancel::Cancel, open_iscsi::database::NodeKey},
    engine::{
        call::{Call, Progress},
        cost_tests::Reads,
        turns::missing::{
            Waiting,
            plan::{Pace, Plan, Way},
        },
    },
};

const TARGET: &str = "iqn.2003-01.com.example:disks";
const SECRET: &str = "mypassword12";
/// Fast enough for a test, and slow enough that its machine can keep up.
const FAST: Pace = Pace {
    first: Duration::from_millis(50),
    longest: Duration::from_millis(200),
    away: (Duration::from_millis(200), 60),
    refused: Duration::from_secs(3600),
};
/// What is tried only once, unless something happens.
const NEVER: Pace = Pace {
    first: Duration::from_secs(3600),
    longest: Duration::from_secs(3600),
    away: (Duration::from_secs(3600), 60),
    refused: FAST.refused,
};
/// Far longer than anything here takes.
const SOON: Duration = Duration::from_secs(30);

struct World {
    machine: Machine,
    engine: Arc<Engine>,
    activity: Activity,
    target: Iqn,
    portals: [SocketAddr; 2],
    bus: Bus,
}

impl World {
    /// A target with a record of each of its two portals, set to be logged in to automatically.
    async fn new() -> Self {
        let (machine, bus) = (Machine::new(), Bus::session());
        let portals = machine.add_gateway(TARGET, Chap::new("libvirtd", SECRET));
        machine.start_multipathd();
        for portal in portals {
            let chap = "node.session.auth.username = libvirtd\nnode.session.auth.password = ";
            // iscsid gives up: otherwise a session that is gone was logged out of.
            let text =
                format!("{chap}{SECRET}\nnode.conn[0].startup = automatic\nnode.session.reopen_max = 5\n");
            machine.record(TARGET, &portal.ip().to_string(), portal.port(), &text);
        }
        let (engine, activity) = daemon(&machine, &bus).await;
        Self { machine, engine, activity, target: TARGET.parse().unwrap(), portals, bus }
    }

    async fn keep(&self, pace: Pace) {
        *self.engine.turns.missing.plan() = Plan::new(pace);
        self.engine.keep_logged_in().await;
    }

    /// Another daemon takes the place of this one.
    async fn restart(&mut self, pace: Pace) {
        self.activity.stop();
        (self.engine, self.activity) = daemon(&self.machine, &self.bus).await;
        self.keep(pace).await;
    }

    fn close(&self) {
        self.portals.into_iter().for_each(|portal| self.machine.close_portal(portal));
    }

    fn open(&self) {
        self.portals.into_iter().for_each(|portal| self.machine.open_portal(portal));
    }

    async fn sessions(&self, number: usize) {
        eventually("the sessions", async || self.machine.sessions().len() == number).await;
    }

    /// What is waited for, once as many nodes are and each was tried.
    async fn waiting(&self, number: usize) -> Vec<Waiting> {
        let all = || self.engine.turns.missing.waiting();
        let are_tried = || {
            let all = all();
            all.len() == number && all.iter().all(|waiting| waiting.why.is_some())
        };
        eventually("what is waited for", async || are_tried()).await;
        all()
    }

    fn call(&self, action: Action, portal: Option<&Portal>) -> Call {
        let details = Details { target: Some(&self.target), portal, interface: None };
        Call::new(Grant::forged(action, details), Some(SOON), Cancel::default(), Progress::none())
    }

    async fn log_in(&self) -> iscsi_initiator_dbus::fault::Result<Vec<results::Login>> {
        self.engine.login(&self.call(Action::Login, None), &LoginOptions::new()).await
    }

    async fn log_out(&self) {
        self.engine.logout(&self.call(Action::Logout, None), &LogoutOptions::new()).await.unwrap();
    }

    fn network_event(&self) {
        let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
        sender.send_to(b"gain", self.machine.at("run/network")).unwrap();
    }

    fn visits(&self) -> usize {
        self.portals.into_iter().map(|portal| self.machine.visits(portal)).sum()
    }
}

async fn daemon(machine: &Machine, bus: &Bus) -> (Arc<Engine>, Activity) {
    let activity = Activity::default();
    (Engine::new(Layout::below(&machine.root()), &bus.connect().await, activity.clone()), activity)
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, looking).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

#[tokio::test]
async fn what_is_missing_is_tried_until_the_gateway_is_back_and_the_daemon_stays_for_it() {
    let world = World::new().await;
    world.close();
    world.keep(FAST).await;
    for waiting in world.waiting(2).await {
        assert_eq!(waiting.why.as_ref().map(Fault::kind), Some(Kind::PortalUnreachable), "{waiting:?}");
        assert!(waiting.sentence().contains(&waiting.node.portal.to_string()), "{waiting:?}");
    }
    let idle = world.activity.idle_for(Duration::from_millis(300));
    assert!(tokio::time::timeout(Duration::from_secs(1), idle).await.is_err(), "it stays");
    assert_eq!(world.machine.calls(), "", "no iscsiadm for a portal that is away");
    world.open();
    world.sessions(2).await;
    world.activity.idle_for(Duration::from_millis(300)).await;
    assert!(world.engine.turns.missing.waiting().is_empty());
    assert!(world.machine.most_at_once() <= 2);
}

#[tokio::test]
async fn of_two_nodes_the_one_whose_portal_is_away_does_not_hold_the_other_up() {
    let world = World::new().await;
    let [one, other] = world.portals;
    world.machine.close_portal(other);
    world.keep(FAST).await;
    world.sessions(1).await;
    let waiting = world.waiting(1).await;
    assert_eq!(waiting[0].node.portal.to_string(), other.to_string());
    world.machine.open_portal(other);
    world.sessions(2).await;
    assert!(world.machine.visits(one) > 0);
}

/// A second login would wait for the disks and maps of the first.
#[tokio::test]
async fn a_portal_that_answers_brings_the_targets_other_ones_with_it() {
    let world = World::new().await;
    world.close();
    world.keep(NEVER).await;
    let waiting = world.waiting(2).await;
    world.open();
    let node = &waiting[0].node;
    let way = Way { portal: node.portal.clone(), interface: None };
    let tried = attempt(&world.engine, &way, std::slice::from_ref(node)).await;
    assert!(tried.faults.is_empty() && tried.sessions.len() == 2, "{tried:?}");
    world.sessions(2).await;
}

/// By the records and the kernel alone: the process of the boot has no bus.
#[tokio::test]
async fn the_boot_waits_until_every_node_has_its_session_and_no_longer_than_it_may() {
    let world = World::new().await;
    let layout = Layout::below(&world.machine.root());
    let [_, other] = world.portals;
    world.machine.close_portal(other);
    world.keep(FAST).await;
    world.sessions(1).await;
    assert!(!await_automatic(&layout, Duration::from_millis(300)).await, "one of two is up");
    let waiting = tokio::spawn(async move { await_automatic(&layout, SOON).await });
    world.machine.open_portal(other);
    assert!(waiting.await.unwrap());
    world.sessions(2).await;
}

#[tokio::test]
async fn a_network_event_has_it_tried_at_once_and_many_events_are_one() {
    let world = World::new().await;
    world.close();
    world.keep(NEVER).await;
    world.waiting(2).await;
    world.open();
    for _ in 0..5 {
        world.network_event();
    }
    world.sessions(2).await;
    // A connection to see that the portal is there, and the login's own, for each.
    assert!(world.visits() <= 8, "{}", world.visits());
}

#[tokio::test]
async fn a_machine_that_wakes_up_has_it_tried_at_once() {
    let world = World::new().await;
    world.close();
    let logind = world.bus.connect().await;
    logind.request_name("org.freedesktop.login1").await.unwrap();
    world.keep(NEVER).await;
    world.waiting(2).await;
    world.open();
    let (path, interface) = ("/org/freedesktop/login1", "org.freedesktop.login1.Manager");
    let signal = async |begins: bool| {
        logind.emit_signal(None::<&str>, path, interface, "PrepareForSleep", &(begins,)).await.unwrap();
    };
    // Again, because nothing says when the daemon has begun to listen.
    eventually("the sessions", async || {
        signal(true).await;
        signal(false).await;
        sleep(Duration::from_millis(100)).await;
        world.machine.sessions().len() == 2
    })
    .await;
}

#[tokio::test]
async fn what_a_person_has_logged_out_of_stays_so_also_after_a_restart_until_it_is_logged_in_to() {
    let mut world = World::new().await;
    world.keep(FAST).await;
    world.sessions(2).await;
    world.log_out().await;
    // While it is missing, too.
    world.log_out().await;
    world.network_event();
    world.restart(FAST).await;
    eventually("a look", async || *world.engine.turns.missing.has_looked.borrow()).await;
    world.network_event();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.machine.sessions(), [0_u32; 0]);
    assert!(world.engine.turns.missing.waiting().is_empty());
    world.log_in().await.unwrap();
    world.sessions(2).await;
    eventually("the wish", || async {
        world.engine.turns.missing.wishes.still(nodes(&world)).await.unwrap().len() == 2
    })
    .await;
    // It goes by itself, as iscsid has it when it gives up.
    world.close();
    for sid in world.machine.sessions() {
        world.machine.end_session(sid);
    }
    world.waiting(2).await;
    world.open();
    world.sessions(2).await;
}

#[tokio::test]
async fn what_another_program_has_logged_out_of_stays_so() {
    let world = World::new().await;
    for path in world.machine.database().into_keys().filter(|path| path.contains(TARGET)) {
        let record = format!("db/{path}");
        let text = world.machine.text(&record).replace("reopen_max = 5", "reopen_max = 0");
        world.machine.put(&record, &text, 0o600);
    }
    world.keep(FAST).await;
    world.sessions(2).await;
    // The daemon has seen them.
    eventually("the end of the wait", async || world.engine.turns.missing.waiting().is_empty()).await;
    for sid in world.machine.sessions() {
        world.machine.end_session(sid);
    }
    eventually("the wish's end", async || {
        world.engine.turns.missing.wishes.still(nodes(&world)).await.unwrap().is_empty()
    })
    .await;
    world.network_event();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.machine.sessions(), [0_u32; 0]);
}

fn nodes(world: &World) -> std::collections::BTreeSet<NodeKey> {
    let listing = world.engine.database.list().unwrap();
    listing.nodes.into_iter().map(|node| node.key).collect()
}

#[tokio::test]
async fn a_logout_of_what_is_missing_ends_the_wait() {
    let world = World::new().await;
    world.close();
    world.keep(FAST).await;
    world.waiting(2).await;
    world.log_out().await;
    eventually("the end of the wait", async || world.engine.turns.missing.waiting().is_empty()).await;
    world.open();
    world.network_event();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.machine.sessions(), [0_u32; 0]);
}

#[tokio::test]
async fn a_record_that_is_removed_or_set_to_manual_is_not_waited_for_any_more() {
    let world = World::new().await;
    world.close();
    world.keep(FAST).await;
    world.waiting(2).await;
    let records: Vec<String> =
        world.machine.database().into_keys().filter(|path| path.contains(TARGET)).collect();
    let [one, other] = &records[..] else { panic!("{records:?}") };
    let (one, other) = (&format!("db/{one}"), &format!("db/{other}"));
    world.machine.remove(one);
    eventually("one less", async || world.engine.turns.missing.waiting().len() == 1).await;
    let manual = world.machine.text(other).replace("automatic", "manual");
    world.machine.put(other, &manual, 0o600);
    eventually("none", async || world.engine.turns.missing.waiting().is_empty()).await;
    world.activity.idle_for(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn what_is_set_later_is_for_the_next_boot() {
    let world = World::new().await;
    world.keep(FAST).await;
    world.sessions(2).await;
    world.log_out().await;
    let later = world.machine.add_portal("127.0.0.1");
    let record = world.machine.record(TARGET, "127.0.0.1", later.port(), "node.startup = automatic\n");
    assert!(world.machine.text(&record).contains("automatic"));
    sleep(Duration::from_secs(1)).await;
    assert!(world.engine.turns.missing.waiting().is_empty());
    assert_eq!(world.machine.visits(later), 0);
}

#[tokio::test]
async fn an_iscsid_that_is_away_is_named_and_waited_for() {
    let world = World::new().await;
    world.machine.open_iscsid_socket(false);
    world.keep(FAST).await;
    for waiting in world.waiting(2).await {
        assert!(waiting.sentence().contains("iscsid"), "{waiting:?}");
    }
    world.machine.open_iscsid_socket(true);
    world.sessions(2).await;
}

#[tokio::test]
async fn while_no_node_is_automatic_the_records_are_read_again_when_they_change_and_not_before() {
    let world = World::new().await;
    let record = |startup: &str| {
        for portal in world.portals {
            let more = format!("node.startup = {startup}\n");
            world.machine.record(TARGET, &portal.ip().to_string(), portal.port(), &more);
        }
    };
    record("manual");
    world.keep(FAST).await;
    eventually("files are watched", async || world.engine.state.watch.hears_files()).await;
    // Seen with the files watched.
    record("manual");
    sleep(Duration::from_secs(1)).await;
    let nodes = world.machine.at("db/nodes");
    let mut reads = Reads::below(nodes.clone());
    let mut are_read = || reads.take().iter().any(|path| path.starts_with(nodes.join(TARGET)));
    for number in 0..3 {
        world.machine.session(&large_target(number), "198.51.0.1", "3260");
        sleep(Duration::from_millis(500)).await;
    }
    assert!(!are_read(), "sessions that come say nothing of records");
    record("automatic");
    eventually("the records are read", async || are_read()).await;
    sleep(Duration::from_secs(1)).await;
    are_read();
    world.machine.session(&large_target(3), "198.51.0.1", "3260");
    eventually("with automatic nodes, each session may be the one of one", async || are_read()).await;
}

#[tokio::test]
async fn a_call_does_not_wait_for_what_the_daemon_tries_by_itself() {
    let world = World::new().await;
    // The portals take connections and say nothing: the login takes until its deadline.
    world.portals.into_iter().for_each(|portal| world.machine.silence(portal, true));
    world.keep(FAST).await;
    eventually("the try", async || world.engine.turns.claims.claimed().contains(&world.target)).await;
    let begun = std::time::Instant::now();
    world.log_out().await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    world.portals.into_iter().for_each(|portal| world.machine.silence(portal, false));
    assert_eq!(world.log_in().await.unwrap().len(), 2);
    world.sessions(2).await;
}

#[tokio::test]
async fn a_daemon_that_stops_begins_nothing_and_ends_what_it_tries() {
    let world = World::new().await;
    world.portals.into_iter().for_each(|portal| world.machine.silence(portal, true));
    world.keep(FAST).await;
    eventually("the try", async || world.engine.turns.claims.claimed().contains(&world.target)).await;
    world.activity.stop();
    world.activity.without_calls_for(Duration::from_millis(200)).await;
    world.portals.into_iter().for_each(|portal| world.machine.silence(portal, false));
    world.network_event();
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.machine.sessions(), [0_u32; 0]);
}
