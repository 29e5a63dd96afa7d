//! Login through the bus: done when its disks and maps can be used, and not before; and each way in which it fails.
//! Must not need a kernel: iscsid, kernel, udev and multipathd are the machine's of iscsi-initiator-fake.
//!
//! | module | holds |
//! |---|---|
//! | `iscsid` | the target lets us in, and iscsid or iscsiadm does not do it |
//! | `lost` | sessions that have lost their connection: their portals are asked |
//! | `luns` | no LUN, and LUNs that are other disks than before |
//! | `portals` | one portal is up and the other is not |
//! | `refused` | the target does not let us in |
//! | `several` | several sessions of one node |
//! | `two_targets` | LUNs that agree in identifier and not in target, or not in size |
//! | `waits` | disks, maps and their links come late, or not at all |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod iscsid;
mod lost;
mod luns;
mod portals;
mod refused;
mod several;
mod two_targets;
mod waits;

use crate::room::{Options, Room, SECRET, TARGET, fails, option};
use iscsi_initiator_dbus::{
    Kind,
    results::{LoginOutcome, LogoutOutcome},
};

#[tokio::test]
async fn both_portals_come_up_with_their_disks_in_maps() {
    let (room, portals) = Room::with_gateway().await;
    let records = room.machine.database();
    let entries = room.login(Options::new()).await.unwrap();
    assert_eq!(entries.len(), 2);
    for (entry, portal) in entries.iter().zip(portals) {
        assert_eq!(
            (entry.outcome, entry.portal.as_str()),
            (LoginOutcome::LoggedIn, portal.to_string().as_str())
        );
        assert_eq!(
            (entry.devices.len(), entry.maps.as_slice()),
            (2, &["mpatha".to_owned(), "mpathb".to_owned()][..])
        );
        assert_eq!((entry.map.as_str(), entry.message.as_str()), ("mpatha", ""));
        assert!(room.machine.sessions().contains(&entry.sid));
    }
    assert_eq!(room.machine.database(), records, "the retries are as they were");
    room.owes_nothing();
    let left = room.client().await.logout(TARGET, "", Options::new()).await.unwrap();
    assert!(left.iter().all(|entry| entry.outcome == LogoutOutcome::LoggedOut && entry.message.is_empty()));
    assert!(room.machine.sessions().is_empty() && room.machine.maps().is_empty());
}

#[tokio::test]
async fn who_is_logged_in_already_is_told_so_and_nothing_is_done() {
    let (room, portals) = Room::logged_in().await;
    let (sessions, records) = (room.machine.sessions(), room.machine.picture_of("db"));
    let entries = room.login(Options::new()).await.unwrap();
    for (entry, portal) in entries.iter().zip(portals) {
        assert_eq!(
            (entry.outcome, entry.portal.as_str()),
            (LoginOutcome::AlreadyLoggedIn, portal.to_string().as_str())
        );
        assert_eq!((entry.devices.len(), entry.maps.len(), entry.message.as_str()), (2, 2, ""));
    }
    assert_eq!((room.machine.sessions(), room.runs("--login")), (sessions, 1));
    assert!(room.machine.picture_of("db") == records);
}

#[tokio::test]
async fn the_portal_that_was_not_asked_for_stays_as_it_is_until_it_is() {
    let (room, portals) = Room::with_gateway().await;
    let client = room.client().await;
    let entries = client.login(TARGET, &portals[1].to_string(), Options::new()).await.unwrap();
    assert_eq!((entries.len(), entries[0].outcome), (1, LoginOutcome::LoggedIn));
    assert_eq!((entries[0].devices.len(), entries[0].maps.len()), (2, 0), "a path alone gets no map");
    let entries = room.login(Options::new()).await.unwrap();
    let outcomes: Vec<_> = entries.iter().map(|entry| (entry.outcome, entry.maps.len())).collect();
    assert_eq!(outcomes, [(LoginOutcome::LoggedIn, 2), (LoginOutcome::AlreadyLoggedIn, 2)]);
    assert_eq!(room.machine.maps(), ["mpatha", "mpathb"]);
}

#[tokio::test]
async fn the_startup_is_written_only_where_the_login_came_about() {
    let (room, portals) = Room::with_gateway().await;
    room.machine.close_portal(portals[1]);
    let before = room.machine.database();
    room.login(option("startup", "automatic")).await.unwrap();
    let after = room.machine.database();
    let changed: Vec<_> = before.iter().filter(|(path, text)| after.get(*path) != Some(text)).collect();
    let [(path, _)] = changed.as_slice() else { panic!("{changed:?}") };
    assert!(path.contains(&portals[0].ip().to_string()), "{path}");
    assert!(after[*path].contains("node.startup = automatic"));
}

#[tokio::test]
async fn a_target_that_is_not_recorded_is_not_asked() {
    let (room, portals) = Room::with_gateway().await;
    let client = room.client().await;
    let other = "iqn.2003-01.com.example:other";
    let fault = fails(client.login(other, "", Options::new()).await, Kind::NoSuchNode, other);
    assert!(fault.next_step().contains("iscsictl discover"), "{fault}");
    let nowhere = client.login(TARGET, "192.0.2.99", Options::new()).await;
    fails(nowhere, Kind::NoSuchNode, "192.0.2.99:3260");
    assert_eq!((room.machine.calls().as_str(), portals.map(|at| room.machine.visits(at))), ("", [0, 0]));
}

#[tokio::test]
async fn a_record_that_is_cut_off_is_named_and_the_other_portal_comes_up() {
    let (room, portals) = Room::with_gateway().await;
    let path = room.record(portals[1], SECRET);
    let text = room.machine.text(&path);
    room.machine.put(&path, &text[..text.len() / 2], 0o600);
    let entries = room.login(Options::new()).await.unwrap();
    assert_eq!((entries[0].outcome, entries[1].outcome), (LoginOutcome::LoggedIn, LoginOutcome::Failed));
    assert_eq!(entries[1].error, Kind::InvalidConfiguration.name());
    assert!(entries[1].message.contains("is damaged"), "{}", entries[1].message);
    assert_eq!(room.machine.text(&path), text[..text.len() / 2]);
}
