//! Several sessions of one node: all of their disks are in the answer.
//! Must not count on the first session alone.

use std::{net::SocketAddr, time::Duration};

use iscsi_initiator_dbus::{
    Kind,
    results::{CheckState, LoginOutcome},
};

use crate::room::{Options, Room, SECRET, TARGET, fails, option, until};

/// A record that asks for so many sessions.
fn record(room: &Room, portal: SocketAddr, number: usize) {
    let more = format!(
        "node.session.auth.username = libvirtd\nnode.session.auth.password = {SECRET}\n\
         node.session.nr_sessions = {number}\n"
    );
    room.machine.record(TARGET, &portal.ip().to_string(), portal.port(), &more);
}

#[tokio::test]
async fn each_session_of_a_node_has_an_entry_with_its_disks() {
    let (room, portals) = Room::with_gateway().await;
    record(&room, portals[0], 2);
    let entries = room.login(Options::new()).await.unwrap();
    let sids: Vec<u32> = entries.iter().map(|entry| entry.sid).collect();
    assert_eq!(sids.len(), 3, "{entries:?}");
    assert!(room.machine.sessions().iter().all(|sid| sids.contains(sid)), "{entries:?}");
    let mut disks: Vec<String> = entries.iter().flat_map(|entry| entry.devices.clone()).collect();
    disks.sort();
    assert_eq!(disks.len(), 6, "{entries:?}");
    disks.dedup();
    assert_eq!(disks.len(), 6, "{entries:?}");
    for entry in &entries {
        assert_eq!((entry.outcome, entry.message.as_str()), (LoginOutcome::LoggedIn, ""), "{entries:?}");
        assert_eq!(entry.maps, ["mpatha", "mpathb"], "{entries:?}");
    }
    // The same once they are there.
    let again = room.login(Options::new()).await.unwrap();
    assert_eq!(again.iter().map(|entry| entry.sid).collect::<Vec<_>>(), sids);
    assert!(again.iter().all(|entry| entry.outcome == LoginOutcome::AlreadyLoggedIn), "{again:?}");

    let client = room.client().await;
    let checks = client.diagnose(TARGET, &portals[0].to_string(), Options::new()).await.unwrap();
    let check = |name: &str| checks.iter().find(|check| check.name == name).unwrap();
    assert_eq!((check("session").state, check("luns").state), (CheckState::Ok, CheckState::Ok), "{checks:?}");
    let here = entries.iter().filter(|entry| entry.portal == portals[0].to_string());
    for entry in here {
        assert!(check("session").detail.contains(&entry.sid.to_string()), "{checks:?}");
        assert!(entry.devices.iter().all(|disk| check("luns").detail.contains(disk)), "{checks:?}");
    }
}

/// It has the same word for each, so that its end is waited for.
#[tokio::test]
async fn iscsiadm_has_made_all_sessions_of_a_node_before_a_login_is_over() {
    let (room, portals) = Room::with_gateway().await;
    portals.iter().for_each(|portal| record(&room, *portal, 2));
    room.machine.delay(|delays| delays.end = Duration::from_millis(300));
    for portal in [portals[0].to_string(), String::new()] {
        let entries = room.client().await.login(TARGET, &portal, Options::new()).await.unwrap();
        assert_eq!(room.machine.running("iscsiadm"), 0, "{entries:?}");
        room.client().await.logout(TARGET, "", Options::new()).await.unwrap();
        until("the logout's has ended", || room.machine.running("iscsiadm") == 0).await;
    }
}

#[tokio::test]
async fn a_changed_lun_ends_every_new_session_of_its_node() {
    let (room, portals) = Room::logged_in().await;
    let client = room.client().await;
    client.logout(TARGET, "", Options::new()).await.unwrap();
    portals.iter().for_each(|portal| record(&room, *portal, 3));
    room.machine.swap_lun(TARGET, 1, 77);
    fails(room.login(Options::new()).await, Kind::LunChanged, "LUN 1 of");
    assert!(room.machine.sessions().is_empty() && room.machine.disks().is_empty());
    let entries = room.login(option("accept-changed-luns", true)).await.unwrap();
    assert_eq!((entries.len(), room.machine.sessions().len()), (6, 6), "{entries:?}");
}
