//! Logout through the bus: nothing uses the disks, the maps go, the sessions go, nothing is left; and each way in which
//! it stops.
//! Must not need a kernel: iscsid, kernel, udev and multipathd are the machine's of iscsi-initiator-fake.
//!
//! | module | holds |
//! |---|---|
//! | `check` | what a logout would meet, without one |
//! | `fails` | iscsid or multipathd does not do it: the maps are made again |
//! | `in_use` | what keeps a logout away is named, and nothing is touched then |
//! | `paths` | one of two portals, and portals that are dead |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod check;
mod fails;
mod in_use;
mod paths;
use std::time::{Duration, Instant};

use crate::room::{Options, Room, TARGET, fails, until, within};
use iscsi_initiator_dbus::{
    Fault, Kind,
    results::{Logout, LogoutOutcome},
};
use iscsi_initiator_fake::machine::{INITIATOR, Lun, Target};

async fn log_out(room: &Room, options: Options) -> Result<Vec<Logout>, Fault> {
    room.client().await.logout(TARGET, "", options).await
}

/// Every session has ended, and of none anything is left.
#[track_caller]
fn left(room: &Room, entries: &[Logout], message: &str) {
    for entry in entries {
        assert_eq!((entry.outcome, entry.message.as_str()), (LogoutOutcome::LoggedOut, message));
    }
    assert!(room.machine.sessions().is_empty() && room.machine.disks().is_empty());
}

/// The same, and not a link, map or path is there any more.
#[track_caller]
fn left_without_a_trace(room: &Room, entries: &[Logout]) {
    left(room, entries, "");
    assert!(room.machine.maps().is_empty());
    for folder in ["dev/mapper", "dev/disk/by-id", "dev/disk/by-path", "sys/class/block"] {
        let names: Vec<_> = std::fs::read_dir(room.machine.at(folder)).into_iter().flatten().collect();
        assert!(names.is_empty(), "{folder}: {names:?}");
    }
}

#[tokio::test]
async fn targets_that_share_no_disk_are_logged_out_of_at_the_same_time() {
    const OTHER: &str = "iqn.2001-04.com.example:other";
    let (room, _) = Room::logged_in().await;
    let portal = room.machine.add_portal("127.0.0.3");
    let target = Target::new(OTHER, [Lun::disk(7, 64)]);
    room.machine.add_target(target.for_initiator(INITIATOR, None), &[portal]);
    room.machine.record(OTHER, "127.0.0.3", portal.port(), "");
    let entries = room.client().await.login(OTHER, "", Options::new()).await.unwrap();
    let sid = entries[0].sid.to_string();
    room.machine.fail(|faults| faults.stuck_logout = true);
    let client = room.client().await;
    let both = tokio::spawn(async move {
        tokio::join!(client.logout(TARGET, "", Options::new()), client.logout(OTHER, "", Options::new()))
    });
    // iscsid ends none of them before it is asked for both.
    let asked = |call: &str| room.machine.calls().lines().any(|made| made == call);
    until("both are asked for", || {
        asked(&format!("call [-m] [node] [-T] [{TARGET}] [--logout]"))
            && asked(&format!("call [-m] [session] [-r] [{sid}] [--logout]"))
    })
    .await;
    assert_eq!(room.machine.sessions().len(), 3);
    room.machine.fail(|faults| faults.stuck_logout = false);
    let (first, second) = both.await.unwrap();
    let entries: Vec<Logout> = first.unwrap().into_iter().chain(second.unwrap()).collect();
    assert_eq!(entries.len(), 3);
    left_without_a_trace(&room, &entries);
}

#[tokio::test]
async fn it_is_over_when_nothing_is_left_and_not_before() {
    const STEP: Duration = Duration::from_millis(100);
    let (room, portals) = Room::logged_in().await;
    let records = room.machine.picture_of("db");
    room.machine.delay(|delays| {
        delays.logout = STEP;
        delays.udev = STEP;
        delays.multipathd = STEP;
    });
    let began = Instant::now();
    let entries = log_out(&room, Options::new()).await.unwrap();
    assert!(began.elapsed() >= STEP * 3, "{:?}", began.elapsed());
    left_without_a_trace(&room, &entries);
    let told: Vec<_> = entries.iter().map(|entry| entry.portal.clone()).collect();
    assert_eq!(told, portals.map(|at| at.to_string()));
    assert!(room.machine.picture_of("db") == records);
    assert_eq!(room.runs("--logout"), 1);
}

#[tokio::test]
async fn who_is_not_logged_in_is_told_so_and_nothing_is_done() {
    let (room, _) = Room::with_gateway().await;
    let entries = log_out(&room, Options::new()).await.unwrap();
    let told: Vec<_> = entries.iter().map(|entry| (entry.outcome, entry.error.as_str())).collect();
    assert_eq!(told, [(LogoutOutcome::NotLoggedIn, ""), (LogoutOutcome::NotLoggedIn, "")]);
    let other = "iqn.2003-01.com.example:other";
    fails(room.client().await.logout(other, "", Options::new()).await, Kind::NoSuchNode, other);
    assert_eq!(room.machine.calls(), "");
}

#[tokio::test]
async fn a_session_without_a_record_is_left_like_any_other() {
    let (room, _) = Room::logged_in().await;
    room.machine.remove("db/nodes");
    let entries = log_out(&room, Options::new()).await.unwrap();
    assert_eq!(entries.len(), 2);
    left_without_a_trace(&room, &entries);
}

#[tokio::test]
async fn disks_without_maps_are_left_by_themselves() {
    let (room, _) = Room::with_gateway().await;
    room.machine.stop_multipathd();
    room.login(Options::new()).await.unwrap();
    let entries = log_out(&room, Options::new()).await.unwrap();
    left_without_a_trace(&room, &entries);
}

#[tokio::test]
async fn what_is_still_there_at_the_deadline_is_told() {
    let (room, _) = Room::logged_in().await;
    // udev sees the disks go, and does not get to take its links away.
    room.machine.delay(|delays| delays.udev = Duration::from_secs(3600));
    let entries = log_out(&room, within(2)).await.unwrap();
    for entry in &entries {
        assert_eq!(entry.outcome, LogoutOutcome::LoggedOut);
        assert!(entry.message.starts_with("still there: the link "), "{}", entry.message);
    }
    assert!(room.machine.sessions().is_empty());
}

#[tokio::test]
async fn without_waiting_it_is_over_when_the_sessions_and_their_disks_are_gone() {
    let (room, _) = Room::logged_in().await;
    room.machine.delay(|delays| delays.udev = Duration::from_secs(3600));
    let mut options = within(60);
    options.insert("wait", false.into());
    let begun = Instant::now();
    let entries = log_out(&room, options).await.unwrap();
    for entry in &entries {
        assert_eq!((entry.outcome, entry.message.as_str()), (LogoutOutcome::LoggedOut, ""));
    }
    assert!(begun.elapsed() < Duration::from_secs(20), "udev never takes its links away");
    // What udev still has of them must not be taken for another login's.
    fails(room.client().await.login(TARGET, "", within(60)).await, Kind::Busy, "an earlier logout");
    assert!(room.machine.sessions().is_empty() && room.machine.maps().is_empty());
}
