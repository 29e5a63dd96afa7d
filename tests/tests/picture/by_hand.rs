//! What changes behind the daemon's back is shown, too.

use std::time::Duration;

use iscsi_initiator_dbus::{
    objects::{Event, Id, Model},
    proxy::SessionProxy,
    results::{Health, Startup},
};
use iscsi_initiator_tests::harness::process::program;

use super::{Room, changed, count, sessions, until, watcher};
use crate::room::{Options, TARGET, machine::Lun};

/// A person runs iscsiadm.
async fn iscsiadm(room: &Room, arguments: &[&str]) {
    let status = program(room.machine.at("bin/iscsiadm")).args(arguments).status().await.unwrap();
    assert!(status.success(), "{arguments:?}: {status}");
}

#[tokio::test]
async fn a_login_and_a_logout_by_hand() {
    let (room, portals) = Room::with_gateway().await;
    let mut watcher = watcher(&room).await;
    assert_eq!(count(watcher.model()), [2, 0, 0]);
    let portal = format!("{},1", portals[1]);
    iscsiadm(&room, &["-m", "node", "-T", TARGET, "-p", &portal, "-I", "default", "--login"]).await;
    let is_whole = |model: &Model| {
        count(model) == [2, 1, 2]
            && model.disks().all(|(_, disk)| disk.health == Health::Single)
            && model.nodes().any(|(_, node)| node.logged_in)
    };
    until(&mut watcher, "a session with two disks", is_whole).await;
    let node = watcher.model().nodes().find(|(_, node)| node.portal == portals[1].to_string());
    let (_, node) = node.unwrap();
    assert!(node.logged_in && Id::at(&node.session).is_some(), "{node:?}");
    let sid = sessions(watcher.model())[0].to_owned();

    iscsiadm(&room, &["-m", "session", "-r", &sid, "--logout"]).await;
    let is_empty = |model: &Model| count(model) == [2, 0, 0];
    let events = until(&mut watcher, "nothing is left", is_empty).await;
    let removed = |event: &&Event| matches!(event, Event::Removed(..));
    assert_eq!(events.iter().filter(removed).count(), 3, "{events:?}");
    assert!(watcher.model().nodes().all(|(_, node)| !node.logged_in && node.session.as_str() == "/"));
}

#[tokio::test]
async fn a_cable_is_pulled_and_plugged_in_again() {
    let (room, portals) = Room::logged_in().await;
    let mut watcher = watcher(&room).await;
    assert_eq!(count(watcher.model()), [2, 2, 2]);
    assert!(watcher.model().disks().all(|(_, disk)| disk.health == Health::Optimal));
    let at = portals[0].to_string();
    let session = watcher.model().sessions().find(|(_, session)| session.portal == at);
    let id = session.map(|(id, _)| id.clone()).unwrap();

    room.machine.pull_cable(portals[0]);
    let is_down = |model: &Model| {
        model.sessions().any(|(_, session)| session.state == "FREE")
            && model.disks().all(|(_, disk)| disk.health == Health::Degraded)
    };
    let events = until(&mut watcher, "degraded", is_down).await;
    assert!(changed(&events, &id).contains(&"State"), "{events:?}");
    let disk = watcher.model().disks().next().unwrap().0.clone();
    assert!(changed(&events, &disk).contains(&"Health"), "{events:?}");
    let since = |model: &Model| {
        model.sessions().find(|(known, _)| **known == id).map(|(_, session)| session.since).unwrap()
    };
    assert!(since(watcher.model()) > 0);
    assert_eq!(count(watcher.model()), [2, 2, 2], "nothing hides");

    room.machine.plug_cable(portals[0]);
    let is_up = |model: &Model| {
        model.sessions().all(|(_, session)| session.state == "LOGGED_IN")
            && model.disks().all(|(_, disk)| disk.health == Health::Optimal)
    };
    until(&mut watcher, "optimal", is_up).await;

    portals.iter().for_each(|at| room.machine.pull_cable(*at));
    let is_queueing = |model: &Model| model.disks().all(|(_, disk)| disk.health == Health::Queueing);
    until(&mut watcher, "queueing", is_queueing).await;
}

#[tokio::test]
async fn a_record_is_made_edited_and_removed() {
    let (room, portals) = Room::with_gateway().await;
    let mut watcher = watcher(&room).await;
    let at = portals[0].to_string();
    let path = room.record(portals[0], "mypassword12");
    let text = room.machine.text(&path);
    room.machine.put(&path, &format!("{text}node.startup = automatic\n"), 0o600);
    let is_automatic = |model: &Model| {
        model.nodes().any(|(_, node)| node.portal == at && node.startup == Startup::Automatic)
    };
    let events = until(&mut watcher, "automatic", is_automatic).await;
    let node = watcher.model().nodes().find(|(_, node)| node.portal == at).unwrap().0.clone();
    assert_eq!(changed(&events, &node), ["Startup"]);

    let other = "iqn.2001-04.com.example:other";
    room.machine.record(other, "192.0.2.21", 3260, "");
    until(&mut watcher, "three nodes", |model| count(model) == [3, 0, 0]).await;
    assert!(watcher.model().nodes().any(|(_, node)| node.target == other));
    room.machine.remove(&path);
    let events = until(&mut watcher, "two nodes", |model| count(model) == [2, 0, 0]).await;
    assert!(matches!(events.last(), Some(Event::Removed(gone, _)) if *gone == node), "{events:?}");
}

#[tokio::test]
async fn a_lun_is_added_and_another_one_grows() {
    let (room, _) = Room::logged_in().await;
    let mut watcher = watcher(&room).await;
    room.machine.add_lun(TARGET, 2, Lun::disk(3, 32));
    room.machine.resize_lun(TARGET, 1, 256);
    for sid in sessions(watcher.model()).into_iter().map(str::to_owned).collect::<Vec<_>>() {
        iscsiadm(&room, &["-m", "session", "-r", &sid, "--rescan"]).await;
    }
    let is_there = |model: &Model| {
        count(model) == [2, 2, 3]
            && model.disks().all(|(_, disk)| disk.paths.len() == 2)
            && model.disks().any(|(_, disk)| disk.size == 256 << 20)
            && model.sessions().all(|(_, session)| session.disks.len() == 3)
    };
    until(&mut watcher, "three disks with two paths each", is_there).await;
}

#[tokio::test]
async fn a_map_is_flushed() {
    let (room, _) = Room::logged_in().await;
    let mut watcher = watcher(&room).await;
    let disk = watcher.model().disks().find(|(_, disk)| disk.map == "mpatha").unwrap().0.clone();
    room.machine.flush_map("mpatha");
    let is_flushed = |model: &Model| {
        model.disk_at(&disk.path()).is_some_and(|disk| disk.health == Health::Single && disk.map.is_empty())
    };
    let events = until(&mut watcher, "a disk without a map", is_flushed).await;
    let names = changed(&events, &disk);
    assert!(["Map", "MapDevice", "Health", "Paths"].iter().all(|name| names.contains(name)), "{events:?}");
    let path = &watcher.model().disk_at(&disk.path()).unwrap().paths[0];
    assert_eq!(path.problem.as_str(), "no-map");
    // Another one is still there, and what is read says the same as what was signalled.
    let read = room.client().await.list_paths(Options::new()).await.unwrap();
    assert_eq!(read.iter().filter(|path| path.map == "mpathb").count(), 2);
}

#[tokio::test]
async fn a_session_of_an_unknown_target_is_shown_without_a_node() {
    let room = Room::start().await;
    let mut watcher = watcher(&room).await;
    let sid = room.machine.session("iqn.2001-04.com.example:empty", "192.0.2.21", "3260");
    until(&mut watcher, "one session", |model| count(model) == [0, 1, 0]).await;
    let (id, session) = watcher.model().sessions().next().unwrap();
    assert_eq!((id, session.sid), (&Id::session(sid), sid));
    assert_eq!((session.node.as_str(), session.disks.len(), session.holds.len()), ("/", 0, 0));
}

/// The kernel reports nothing of it: only who looks can see it.
fn silently(room: &Room, sid: u32, state: &str) {
    room.machine.put(&format!("sys/class/iscsi_session/session{sid}/state"), &format!("{state}\n"), 0o444);
}

#[tokio::test]
async fn what_has_no_event_is_shown_when_anyone_looks_and_its_end_without_that() {
    let room = Room::start().await;
    let sid = room.machine.session("iqn.2001-04.com.example:empty", "192.0.2.21", "3260");
    let mut watcher = watcher(&room).await;
    assert_eq!(sessions(watcher.model()), [sid.to_string()]);
    // The looks that followed the session's own event are over.
    tokio::time::sleep(Duration::from_secs(2)).await;
    silently(&room, sid, "FAILED");
    // While all is well the mirror does not look by itself.
    assert!(tokio::time::timeout(Duration::from_secs(1), watcher.next()).await.is_err());
    let session = SessionProxy::builder(&room.root).path(Id::session(sid).path()).build().await.unwrap();
    assert_eq!(session.state().await.unwrap(), "FAILED");
    let state =
        |model: &Model| model.sessions().map(|(_, session)| session.state.clone()).collect::<String>();
    until(&mut watcher, "failed", |model| state(model) == "FAILED").await;
    silently(&room, sid, "LOGGED_IN");
    until(&mut watcher, "logged in", |model| state(model) == "LOGGED_IN").await;
}

#[tokio::test]
async fn after_the_network_lost_something_a_failed_session_is_noticed_without_an_event() {
    let room = Room::start().await;
    let sid = room.machine.session("iqn.2001-04.com.example:empty", "192.0.2.21", "3260");
    let mut watcher = watcher(&room).await;
    let network = tokio::net::UnixDatagram::unbound().unwrap();
    network.send_to(b"a link without a carrier", room.machine.at("run/network")).await.unwrap();
    // The kernel takes its time to notice.
    tokio::time::sleep(Duration::from_millis(600)).await;
    silently(&room, sid, "FAILED");
    until(&mut watcher, "failed", |model| model.sessions().all(|(_, session)| session.state == "FAILED"))
        .await;
}
