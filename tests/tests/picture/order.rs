//! What a call makes is there before its reply, and what it removes is gone before it: both on one connection, where
//! what was received first was sent first.

use iscsi_initiator_dbus::{
    objects::{Event, Id},
    proxy::InitiatorProxy,
    results::{Health, Startup},
    watch::Watcher,
};

use super::{Room, changed, count, received};
use crate::room::{Options, SECRET, TARGET, machine::Lun};

/// A watcher and a client on one connection.
async fn both(room: &Room) -> (Watcher, InitiatorProxy<'static>) {
    let connection = room.world.connect().await;
    let watcher = Watcher::start(&connection).await.unwrap();
    (watcher, InitiatorProxy::new(&connection).await.unwrap())
}

#[tokio::test]
async fn a_login_and_a_logout() {
    let (room, portals) = Room::with_gateway().await;
    let (mut watcher, client) = both(&room).await;
    let entries = client.login(TARGET, "", Options::new()).await.unwrap();
    let events = received(&mut watcher).await;
    assert_eq!(count(watcher.model()), [2, 2, 2], "{events:?}");
    for entry in &entries {
        assert!(events.contains(&Event::Added(Id::session(entry.sid))), "{events:?}");
    }
    assert!(watcher.model().disks().all(|(_, disk)| disk.health == Health::Optimal && disk.paths.len() == 2));
    let is_whole = |session: &iscsi_initiator_dbus::objects::Session| {
        session.disks.len() == 2 && session.since > 0 && Id::at(&session.node).is_some()
    };
    assert!(watcher.model().sessions().all(|(_, session)| is_whole(session)), "{:?}", watcher.model());

    client.logout(TARGET, &portals[0].to_string(), Options::new()).await.unwrap();
    received(&mut watcher).await;
    assert_eq!(count(watcher.model()), [2, 1, 2]);
    assert!(watcher.model().disks().all(|(_, disk)| disk.paths.len() == 1));
    client.logout(TARGET, "", Options::new()).await.unwrap();
    received(&mut watcher).await;
    assert_eq!(count(watcher.model()), [2, 0, 0]);
}

#[tokio::test]
async fn records_that_are_made_changed_and_forgotten() {
    let (room, portals) = Room::with_gateway().await;
    let (mut watcher, client) = both(&room).await;
    client.forget(TARGET, "").await.unwrap();
    received(&mut watcher).await;
    assert_eq!(count(watcher.model()), [0, 0, 0]);

    let chap = Options::from([("username", "libvirtd".into()), ("secret", SECRET.into())]);
    let nodes = client.discover(&portals[0].to_string(), chap.clone()).await.unwrap();
    received(&mut watcher).await;
    assert_eq!((count(watcher.model()), nodes.len()), ([2, 0, 0], 2));

    client.set_startup(TARGET, &portals[1].to_string(), "automatic").await.unwrap();
    let events = received(&mut watcher).await;
    let node = watcher.model().nodes().find(|(_, node)| node.startup == Startup::Automatic).unwrap();
    assert_eq!(node.1.portal, portals[1].to_string());
    assert_eq!(changed(&events, node.0), ["Startup"]);

    client.set_chap(TARGET, "", chap).await.unwrap();
    received(&mut watcher).await;
    assert!(watcher.model().nodes().all(|(_, node)| node.chap.as_str() == "one-way"));

    let other = "iqn.2001-04.com.example:other";
    client.add_node(other, "192.0.2.21", Options::new()).await.unwrap();
    received(&mut watcher).await;
    assert!(watcher.model().nodes().any(|(_, node)| node.target == other));
}

#[tokio::test]
async fn connect_and_rescan() {
    let room = Room::start().await;
    let portals = room.machine.add_gateway(TARGET, crate::room::chap());
    room.machine.start_multipathd();
    let (mut watcher, client) = both(&room).await;
    let chap = Options::from([("username", "libvirtd".into()), ("secret", SECRET.into())]);
    client.connect(&portals[0].to_string(), chap).await.unwrap();
    received(&mut watcher).await;
    assert_eq!(count(watcher.model()), [2, 2, 2]);
    room.machine.add_lun(TARGET, 2, Lun::disk(3, 32));
    client.rescan(TARGET, "", Options::new()).await.unwrap();
    received(&mut watcher).await;
    assert_eq!(count(watcher.model()), [2, 2, 3]);
}

#[tokio::test]
async fn a_login_that_fails_leaves_the_watchers_with_what_was_there() {
    let (room, portals) = Room::with_gateway().await;
    let before = both(&room).await.0.model().clone();
    let (mut watcher, client) = both(&room).await;
    room.machine.want_chap(TARGET, &crate::room::another_chap());
    client.login(TARGET, &portals[0].to_string(), Options::new()).await.unwrap_err();
    received(&mut watcher).await;
    assert_eq!(*watcher.model(), before);
}

#[tokio::test]
async fn who_holds_a_target_and_who_does_not_any_more() {
    let (room, _) = Room::logged_in().await;
    let (mut watcher, client) = both(&room).await;
    let are = |watcher: &Watcher, names: &[&str]| {
        let sessions = watcher.model().sessions().all(|(_, session)| session.holds == names);
        sessions && watcher.model().disks().flat_map(|(_, disk)| &disk.paths).all(|path| path.holds == names)
    };
    assert!(are(&watcher, &[]));
    for (holder, names) in
        [("libvirt", &["libvirt"][..]), ("backup of Monday", &["libvirt", "backup of Monday"])]
    {
        client.hold(TARGET, holder, Options::new()).await.unwrap();
        received(&mut watcher).await;
        assert!(are(&watcher, names), "{:?}", watcher.model());
    }
    client.release(TARGET, "libvirt").await.unwrap();
    received(&mut watcher).await;
    assert!(are(&watcher, &["backup of Monday"]), "{:?}", watcher.model());
}
