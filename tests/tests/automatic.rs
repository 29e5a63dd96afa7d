//! Nodes that are to stay logged in to: what a client sees while one is missing, and what ends that.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{net::SocketAddr, time::Duration};

use iscsi_initiator_dbus::results::{CheckState, Finding, Node, Path};
use tokio::time::{sleep, timeout};

use crate::room::{Options, Room, TARGET, systemd};

const UNIT: &str = "iscsi-initiatord-logout.service";

/// Logged in to, and set to stay so, by records that have iscsid give up: otherwise a session that is gone was logged out of.
async fn automatic() -> (Room, [SocketAddr; 2]) {
    let (room, portals) = Room::logged_in().await;
    room.client().await.set_startup(TARGET, "", "automatic").await.unwrap();
    for path in room.machine.database().into_keys().filter(|path| path.contains(TARGET)) {
        let record = format!("db/{path}");
        let text = room.machine.text(&record);
        assert!(text.contains("# END RECORD") && !text.contains("reopen_max"), "{text}");
        let text = text.replace("# END RECORD", "node.session.reopen_max = 5\n# END RECORD");
        room.machine.put(&record, &text, 0o600);
    }
    eventually("the wish", async || room.machine.at("scratch/wished/nodes").exists() && wished(&room) == 2)
        .await;
    (room, portals)
}

fn wished(room: &Room) -> usize {
    room.machine.text("scratch/wished/nodes").matches("\"target\"").count()
}

async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let looking = async {
        while !is_so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(60), looking).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

/// The gateway goes, and iscsid gives the sessions up.
fn lose(room: &Room, portals: [SocketAddr; 2]) {
    portals.into_iter().for_each(|portal| room.machine.close_portal(portal));
    room.machine.sessions().into_iter().for_each(|sid| room.machine.end_session(sid));
}

async fn nodes(room: &Room) -> Vec<Node> {
    room.client().await.list_nodes(Options::new()).await.unwrap()
}

async fn paths(room: &Room) -> Vec<Path> {
    room.client().await.list_paths(Options::new()).await.unwrap()
}

async fn findings(room: &Room) -> Vec<Finding> {
    let all = room.client().await.examine(Options::new()).await.unwrap();
    all.into_iter().filter(|finding| finding.name == "automatic").collect()
}

#[tokio::test]
async fn what_is_missing_is_shown_with_the_reason_until_it_is_back() {
    let (room, portals) = automatic().await;
    assert!(nodes(&room).await.iter().all(|node| node.logged_in && node.waiting.is_empty()));
    lose(&room, portals);
    let are_waited_for = async || {
        let nodes = nodes(&room).await;
        nodes.iter().all(|node| !node.logged_in && node.waiting.contains(&node.portal))
    };
    eventually("what is waited for", are_waited_for).await;
    let mut shown = paths(&room).await;
    // The maps are there without a path.
    shown.retain(|path| path.map.is_empty());
    assert_eq!(shown.len(), 2, "{shown:?}");
    for path in &shown {
        assert_eq!((path.target.as_str(), path.sid, path.device.as_str()), (TARGET, 0, ""));
        assert!(path.message.starts_with("no session yet: ") && !path.hint.is_empty(), "{path:?}");
    }
    let found = findings(&room).await;
    assert_eq!(found.len(), 2, "{found:?}");
    for finding in &found {
        assert!(finding.state == CheckState::Warning && finding.subject.starts_with(TARGET), "{finding:?}");
        assert!(finding.detail.contains("is tried again"), "{finding:?}");
    }
    let idle = room.activity.idle_for(Duration::from_millis(50));
    assert!(timeout(Duration::from_secs(1), idle).await.is_err(), "the daemon stays");

    portals.into_iter().for_each(|portal| room.machine.open_portal(portal));
    eventually("the sessions", async || room.machine.sessions().len() == 2).await;
    eventually("the end of the wait", async || nodes(&room).await.iter().all(|node| node.waiting.is_empty()))
        .await;
    timeout(Duration::from_secs(30), room.activity.idle_for(Duration::from_millis(50))).await.unwrap();
    let found = findings(&room).await;
    assert!(matches!(found.as_slice(), [one] if one.state == CheckState::Ok), "{found:?}");
}

#[tokio::test]
async fn a_logout_ends_it_and_a_login_begins_it_again() {
    let (room, portals) = automatic().await;
    let client = room.client().await;
    lose(&room, portals);
    eventually("what is waited for", async || nodes(&room).await.iter().all(|node| !node.waiting.is_empty()))
        .await;
    client.logout(TARGET, "", Options::new()).await.unwrap();
    eventually("the end of the wait", async || nodes(&room).await.iter().all(|node| node.waiting.is_empty()))
        .await;
    assert!(paths(&room).await.is_empty());
    portals.into_iter().for_each(|portal| room.machine.open_portal(portal));
    room.login(Options::new()).await.unwrap();
    eventually("the wish", async || wished(&room) == 2).await;
    client.logout(TARGET, &portals[0].to_string(), Options::new()).await.unwrap();
    assert_eq!((room.machine.sessions().len(), wished(&room)), (1, 1));
}

#[tokio::test]
async fn a_node_that_is_automatic_by_one_key_only_is_found_and_entries_of_fstab_that_would_hang() {
    let (room, _) = Room::logged_in().await;
    let portal = "192.0.2.99";
    room.machine.record(TARGET, portal, 3260, "node.conn[0].startup = automatic\n");
    room.machine.put(
        "etc/fstab",
        "/dev/sda /srv ext4 defaults 0 0\n/dev/sda /ok ext4 _netdev,nofail\n",
        0o644,
    );
    let found = findings(&room).await;
    let one = found.iter().find(|finding| finding.subject.contains(portal)).unwrap();
    assert!(
        one.state == CheckState::Warning && one.detail.starts_with("only node.conn[0].startup"),
        "{one:?}"
    );
    let srv = found.iter().find(|finding| finding.subject == "/srv").unwrap();
    assert!(srv.detail.contains("lacks _netdev and nofail") && srv.hint.contains("x-systemd"), "{srv:?}");
    assert!(!found.iter().any(|finding| finding.subject == "/ok"), "{found:?}");
}

#[tokio::test]
async fn the_unit_that_logs_out_at_shutdown_is_started_with_the_first_session() {
    let room = Room::start().await;
    let connection = room.world.connect().await;
    let (orders, units) = systemd::serve_units(&connection, Some("done"), [(UNIT, false, false)]).await;
    let is_active = || units.lock().unwrap().get(UNIT).is_some_and(|unit| unit.is_active);
    let portals = room.machine.add_gateway(TARGET, crate::room::chap());
    portals.into_iter().for_each(|portal| drop(room.record(portal, crate::room::SECRET)));
    room.login(Options::new()).await.unwrap();
    eventually("the unit", async || is_active()).await;
    let started = orders.lock().unwrap().iter().filter(|(unit, _)| unit == UNIT).count();
    assert_eq!(started, 1);
}
