//! A logout at one of two portals, and logouts from portals that are dead.
//! Must not take a map's last path that works away from what uses it.

use std::net::SocketAddr;

use iscsi_initiator_dbus::{
    Kind,
    results::{LoginOutcome, LogoutOutcome},
};

use super::{left_without_a_trace, log_out};
use crate::room::{Options, Room, TARGET, fails, until};

/// The session at this portal is the only one, and carries both maps.
#[track_caller]
fn stays_alone(room: &Room, portal: SocketAddr) {
    let status = room.machine.status();
    assert!(status.contains(&format!("at {portal}: LOGGED_IN")), "{status}");
    assert_eq!((room.machine.sessions().len(), status.matches("1 paths").count()), (1, 2), "{status}");
}

#[tokio::test]
async fn one_of_two_paths_leaves_and_the_maps_stay_in_use() {
    let (room, portals) = Room::logged_in().await;
    let client = room.client().await;
    room.machine.mount("dm-0", "/mnt");
    let entries = client.logout(TARGET, &portals[0].to_string(), Options::new()).await.unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((entry.outcome, entry.message.as_str()), (LogoutOutcome::LoggedOut, ""));
    assert_eq!(entry.portal, portals[0].to_string());
    stays_alone(&room, portals[1]);

    room.machine.unmount("/mnt");
    let entries = log_out(&room, Options::new()).await.unwrap();
    let outcomes = entries.iter().map(|entry| entry.outcome).collect::<Vec<_>>();
    assert_eq!(outcomes, [LogoutOutcome::NotLoggedIn, LogoutOutcome::LoggedOut]);
    assert!(room.machine.sessions().is_empty() && room.machine.maps().is_empty());
}

#[tokio::test]
async fn a_path_comes_back_into_the_map_that_was_left_to_the_other() {
    let (room, portals) = Room::logged_in().await;
    let client = room.client().await;
    client.logout(TARGET, &portals[1].to_string(), Options::new()).await.unwrap();
    let entries = room.login(Options::new()).await.unwrap();
    let outcomes: Vec<_> = entries.iter().map(|entry| (entry.outcome, entry.maps.len())).collect();
    assert_eq!(outcomes, [(LoginOutcome::AlreadyLoggedIn, 2), (LoginOutcome::LoggedIn, 2)]);
}

#[tokio::test]
async fn the_last_path_that_works_is_not_taken_from_a_map_in_use() {
    let (room, portals) = Room::logged_in().await;
    let client = room.client().await;
    room.machine.pull_cable(portals[1]);
    until("the path is given up", || room.machine.status().contains("transport-offline")).await;
    room.machine.mount("dm-0", "/mnt");
    let here = portals[0].to_string();
    let words = "no other path of mpatha, mpathb works, and the disks are in use: dm-0 is mounted on /mnt";
    let fault = fails(client.logout(TARGET, &here, Options::new()).await, Kind::InUse, words);
    assert!(fault.next_step().contains("bring the other path back"), "{fault}");
    assert_eq!((room.machine.sessions().len(), room.runs("--logout")), (2, 0));

    // The dead one may leave, and with the cable back the live one could.
    let dead = client.logout(TARGET, &portals[1].to_string(), Options::new()).await.unwrap();
    assert_eq!((dead.len(), dead[0].outcome), (1, LogoutOutcome::LoggedOut));
    stays_alone(&room, portals[0]);
}

#[tokio::test]
async fn a_gateway_that_is_dead_is_left_all_the_same() {
    let (room, portals) = Room::logged_in().await;
    portals.iter().for_each(|at| room.machine.pull_cable(*at));
    until("every path is given up", || room.machine.status().matches("transport-offline").count() == 4).await;
    let entries = log_out(&room, Options::new()).await.unwrap();
    assert_eq!(entries.len(), 2);
    left_without_a_trace(&room, &entries);
}

#[tokio::test]
async fn a_gateway_that_dies_during_the_logout_does_not_stop_it() {
    let (room, portals) = Room::logged_in().await;
    room.machine.delay(|delays| delays.logout = std::time::Duration::from_millis(300));
    let dying = async {
        until("iscsiadm is at it", || room.runs("--logout") == 1).await;
        portals.iter().for_each(|at| room.machine.pull_cable(*at));
    };
    let (entries, ()) = tokio::join!(log_out(&room, Options::new()), dying);
    left_without_a_trace(&room, &entries.unwrap());
}
