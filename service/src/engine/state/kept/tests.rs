use std::os::unix::net::UnixDatagram;

use iscsi_initiator_fake::{
    Machine,
    machine::{Size, large_target},
};

use super::*;
use crate::{Layout, backend::open_iscsi::database::Database};

const WWID: &str = "sys/devices/platform/host3/session1/target3:0:0/3:0:0:0/wwid";

fn machine() -> Machine {
    let machine = Machine::new();
    machine.fill(Size { targets: 2, portals: 2, luns: 2, has_maps: true });
    machine
}

fn kept(layout: &Layout) -> Kept {
    let database = Database::new(&layout.find_database(), &layout.config, &layout.lock);
    Kept::new(&State::new(layout, &database))
}

/// Another disk is behind a LUN, and nothing reports it.
fn swap(machine: &Machine, number: u32) -> String {
    let wwid = format!("naa.{number}");
    machine.put(WWID, &format!("{wwid}\n"), 0o444);
    wwid
}

async fn seen(kept: &Kept) -> String {
    let current = kept.current(&Freshness::now(), None).await.unwrap();
    current.snapshot.session(1).unwrap().disks[0].wwid.clone()
}

#[tokio::test]
async fn what_is_neither_reported_nor_a_state_is_seen_after_lost_events_and_acts() {
    let machine = machine();
    let kept = kept(&Layout::below(&machine.root()));
    let begun = seen(&kept).await;
    swap(&machine, 1);
    // On a machine that takes 10 s for that, everything is read again.
    assert!([begun, "naa.1".to_owned()].contains(&seen(&kept).await));
    let wwid = swap(&machine, 2);
    kept.acted_on(Some(&large_target(0).parse().unwrap()));
    assert_eq!(seen(&kept).await, wwid, "after an act on its target");
    let wwid = swap(&machine, 3);
    kept.acted_on(None);
    assert_eq!(seen(&kept).await, wwid, "after an act on all");
    let wwid = swap(&machine, 4);
    let kernel = UnixDatagram::unbound().unwrap();
    kernel.send_to(b"lost", machine.at("run/uevents")).unwrap();
    assert_eq!(seen(&kept).await, wwid, "after events were lost");
    let wwid = swap(&machine, 5);
    let path = WWID.strip_prefix("sys").unwrap();
    kernel.send_to(format!("change@{path}\0").as_bytes(), machine.at("run/uevents")).unwrap();
    assert_eq!(seen(&kept).await, wwid, "after an event");
}

#[tokio::test]
async fn where_events_are_not_heard_everything_is_read_each_time() {
    let machine = machine();
    let layout = Layout { uevents: Some(machine.at("none/uevents")), ..Layout::below(&machine.root()) };
    let kept = kept(&layout);
    for number in 0..3 {
        let wwid = swap(&machine, number);
        assert_eq!(seen(&kept).await, wwid);
    }
}

#[tokio::test]
async fn one_target_is_the_same_of_what_is_kept_and_in_a_look_of_its_own() {
    let machine = machine();
    let kept = kept(&Layout::below(&machine.root()));
    let sessions = |current: &Current| current.snapshot.all_sessions().to_vec();
    let scope = || Scope::of([&large_target(1).parse().unwrap()]);
    let alone = kept.current_around(scope(), None).await.unwrap();
    assert!(alone.pathless.is_none(), "nothing else was read");
    kept.current(&Freshness::now(), None).await.unwrap();
    machine.put("sys/class/iscsi_session/session3/state", "FAILED\n", 0o444);
    let of_kept = kept.current_around(scope(), None).await.unwrap();
    let alone = kept.state.paths_around(scope(), None).await.unwrap();
    assert_eq!(sessions(&of_kept), alone.all_sessions());
    assert_eq!(of_kept.snapshot.session(3).unwrap().state, "FAILED", "its states are read each time");
}

#[tokio::test(start_paused = true)]
async fn who_waits_too_long_for_another_looks_by_itself() {
    let machine = machine();
    let kept = kept(&Layout::below(&machine.root()));
    let hangs = kept.turns.take(&Freshness::now()).await;
    assert_eq!(kept.current(&Freshness::now(), None).await.unwrap().snapshot.all_sessions().len(), 4);
    let scope = Scope::of([&large_target(0).parse().unwrap()]);
    assert_eq!(kept.current_around(scope, None).await.unwrap().snapshot.all_sessions().len(), 2);
    drop(hangs);
}
