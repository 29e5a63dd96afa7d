//! `Connect` and `Forget` through the bus: from a portal and CHAP to usable disks, and back to what was before.
//! Must not need a kernel: iscsid, kernel, udev and multipathd are the machine's of iscsi-initiator-fake.
//!
//! | module | holds |
//! |---|---|
//! | `steps` | the target that is chosen, the steps that are reported, and records that are forgotten |
//! | `undone` | each failure leaves the records as they were |

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

mod steps;
mod undone;

use std::net::SocketAddr;

use crate::room::{
    Options, Room, SECRET, TARGET,
    machine::{INITIATOR, Lun, Target},
    option,
};
use iscsi_initiator_dbus::{
    Fault, Kind,
    results::{Login, LoginOutcome, LogoutOutcome},
};

const OTHER: &str = "iqn.2001-04.com.example:other";

fn chap() -> Options {
    Options::from([("username", "libvirtd".into()), ("secret", SECRET.into())])
}

/// With CHAP and these options.
async fn connect(room: &Room, portal: SocketAddr, options: Options) -> Result<Vec<Login>, Fault> {
    let options: Options = chap().into_iter().chain(options).collect();
    room.client().await.connect(&portal.to_string(), options).await
}

/// A machine with multipathd beside a gateway that it knows nothing of.
async fn stranger() -> (Room, [SocketAddr; 2]) {
    let room = Room::start().await;
    let portals = room.machine.add_gateway(TARGET, crate::room::chap());
    room.machine.start_multipathd();
    (room, portals)
}

#[track_caller]
fn connected(entries: &[Login], portals: [SocketAddr; 2]) {
    let told: Vec<_> = entries.iter().map(|entry| entry.portal.clone()).collect();
    assert_eq!(told, portals.map(|at| at.to_string()));
    for entry in entries {
        assert_eq!((entry.outcome, entry.message.as_str()), (LoginOutcome::LoggedIn, ""));
        assert_eq!((entry.devices.len(), entry.maps.len()), (2, 2));
    }
}

#[tokio::test]
async fn from_nothing_but_a_portal_to_disks_and_all_the_way_back() {
    let (room, portals) = stranger().await;
    let client = room.client().await;
    let before = room.machine.database();
    connected(&connect(&room, portals[0], option("startup", "automatic")).await.unwrap(), portals);
    let records = room.machine.database();
    assert_eq!(records.len(), before.len() + 2, "{:?}", records.keys());
    for record in records.iter().filter(|(path, _)| !before.contains_key(*path)).map(|(_, text)| text) {
        for line in [
            &format!("node.name = {TARGET}"),
            "node.startup = automatic",
            "node.session.auth.authmethod = CHAP",
            "node.session.auth.username = libvirtd",
            &format!("node.session.auth.password = {SECRET}"),
        ] {
            assert!(record.lines().any(|other| other == line), "{line}");
        }
    }
    room.owes_nothing();

    let left = client.logout(TARGET, "", Options::new()).await.unwrap();
    assert!(left.iter().all(|entry| entry.outcome == LogoutOutcome::LoggedOut), "{left:?}");
    client.forget(TARGET, "").await.unwrap();
    assert_eq!(room.machine.database(), before);
    assert!(!room.machine.at(format!("db/nodes/{TARGET}")).exists());
    assert!(room.machine.sessions().is_empty() && room.machine.maps().is_empty());
}

#[tokio::test]
async fn what_is_connected_already_stays_so() {
    let (room, portals) = stranger().await;
    connected(&connect(&room, portals[0], Options::new()).await.unwrap(), portals);
    let (records, sessions) = (room.machine.database(), room.machine.sessions());
    let entries = connect(&room, portals[1], Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LoginOutcome::AlreadyLoggedIn), "{entries:?}");
    assert_eq!((room.machine.database(), room.machine.sessions()), (records, sessions));
    assert_eq!(room.runs("--login"), 1);
    room.owes_nothing();
}

#[tokio::test]
async fn a_record_with_another_secret_gets_the_one_that_works_and_keeps_the_rest() {
    let (room, portals) = stranger().await;
    let path = room.record(portals[0], "an-old-secret");
    connected(&connect(&room, portals[0], Options::new()).await.unwrap(), portals);
    let text = room.machine.text(&path);
    assert!(text.contains(SECRET) && !text.contains("an-old-secret"));
    assert!(text.contains("node.conn[0].tcp.congestion_control = \t kept = as it is \n"), "{text}");
}

#[tokio::test]
async fn a_portal_that_is_down_is_told_and_the_other_connected() {
    let (room, portals) = stranger().await;
    room.machine.close_portal(portals[1]);
    let entries = connect(&room, portals[0], Options::new()).await.unwrap();
    let [up, down] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!((up.outcome, up.devices.len()), (LoginOutcome::LoggedIn, 2));
    assert_eq!((down.outcome, down.error.as_str()), (LoginOutcome::Failed, Kind::PortalUnreachable.name()));
    // It is recorded: a login brings it up when it is back.
    room.machine.open_portal(portals[1]);
    let entries = room.login(Options::new()).await.unwrap();
    let outcomes: Vec<_> = entries.iter().map(|entry| (entry.outcome, entry.maps.len())).collect();
    assert_eq!(outcomes, [(LoginOutcome::AlreadyLoggedIn, 2), (LoginOutcome::LoggedIn, 2)]);
}

#[tokio::test]
async fn of_two_targets_the_one_that_refuses_leaves_no_record() {
    let (room, portals) = stranger().await;
    let other =
        Target::new(OTHER, [Lun::disk(8, 16)]).for_initiator(INITIATOR, Some(crate::room::another_chap()));
    room.machine.add_target(other, &portals);
    let both = option("targets", vec![TARGET.to_owned(), OTHER.to_owned()]);
    let entries = connect(&room, portals[0], both).await.unwrap();
    assert_eq!(entries.len(), 4);
    for entry in &entries {
        let (outcome, error) = match entry.target.as_str() {
            TARGET => (LoginOutcome::LoggedIn, ""),
            _ => (LoginOutcome::Failed, Kind::ChapRejected.name()),
        };
        assert_eq!((entry.outcome, entry.error.as_str()), (outcome, error), "{}", entry.message);
    }
    assert!(room.machine.at(format!("db/nodes/{TARGET}")).exists());
    assert!(!room.machine.at(format!("db/nodes/{OTHER}")).exists());
    room.owes_nothing();
}
