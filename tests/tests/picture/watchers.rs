//! Who gets signals: watchers alone, each by its name, as long as they are on the bus, and not too many of them. Whom
//! polkit refuses gets nothing.

use std::{pin::Pin, task::Poll};

use iscsi_initiator_dbus::{
    BUS_NAME, Kind, OBJECT_PATH,
    objects::{Class, Id},
    proxy::InitiatorProxy,
    watch::Watcher,
};
use iscsi_initiator_tests::harness::{STRANGER, world::output};
use zbus::{
    Connection, MatchRule, Message, MessageStream, export::futures_core::Stream as _, fdo::PeerProxy,
    message::Type,
};

use super::{NO_LOOKING, Room, count, until, watcher};
use crate::room::{Options, TARGET, call, fails};

/// Every signal of the daemon's that a connection gets from now on.
async fn signals(connection: &Connection) -> MessageStream {
    let rule = MatchRule::builder().msg_type(Type::Signal).path_namespace(OBJECT_PATH).build().unwrap();
    MessageStream::for_match_rule(rule, connection, None).await.unwrap()
}

/// Those that came until now: the daemon answers a call on the same connection after it has sent them.
async fn came(connection: &Connection, signals: &mut MessageStream) -> Vec<Message> {
    let peer = PeerProxy::builder(connection).destination(BUS_NAME).path(OBJECT_PATH);
    peer.build().await.unwrap().ping().await.unwrap();
    let mut came = Vec::new();
    std::future::poll_fn(|context| {
        while let Poll::Ready(Some(message)) = Pin::new(&mut *signals).poll_next(context) {
            came.push(message.unwrap());
        }
        Poll::Ready(())
    })
    .await;
    came
}

#[tokio::test]
async fn who_did_not_subscribe_gets_no_signal() {
    let (room, _) = Room::with_gateway().await;
    let other = room.world.connect().await;
    let mut signals = signals(&other).await;
    let mut watcher = watcher(&room).await;
    room.login(Options::new()).await.unwrap();
    until(&mut watcher, "logged in", |model| count(model) == [2, 2, 2]).await;
    assert!(came(&other, &mut signals).await.is_empty());

    // Who subscribes gets them, each with its own name as the destination.
    let client = InitiatorProxy::new(&other).await.unwrap();
    client.subscribe().await.unwrap();
    room.client().await.logout(TARGET, "", Options::new()).await.unwrap();
    let heard = came(&other, &mut signals).await;
    assert!(!heard.is_empty());
    for message in &heard {
        let own = other.unique_name().unwrap().as_str();
        assert_eq!(message.header().destination().unwrap().as_str(), own);
    }
    client.unsubscribe().await.unwrap();
    client.unsubscribe().await.unwrap();
    room.login(Options::new()).await.unwrap();
    assert!(came(&other, &mut signals).await.is_empty());
}

#[tokio::test]
async fn whom_polkit_refuses_gets_nothing() {
    let (room, _) = {
        let room = Room::start_with_rules(NO_LOOKING).await;
        let portals = room.machine.add_gateway(TARGET, crate::room::chap());
        for portal in portals {
            room.record(portal, crate::room::SECRET);
        }
        room.login(Options::new()).await.unwrap();
        (room, portals)
    };
    let mut stranger = room.world.peer(STRANGER).await;
    for (number, allow_interaction) in [(1, false), (2, true)] {
        let reply = stranger.ask(number, allow_interaction, "Subscribe", &[]).await;
        assert!(reply.starts_with(Kind::AccessDenied.name()), "{reply}");
    }
    let (session, nowhere) = (Id::session(1).to_string(), Id::session(4711).to_string());
    let (properties, introspectable) =
        ("org.freedesktop.DBus.Properties", "org.freedesktop.DBus.Introspectable");
    let folder = Class::Node.path();
    let own = Class::Session.interface();
    let calls: [&[&str]; 7] = [
        &[OBJECT_PATH, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"],
        &[&session, properties, "GetAll", "s", own],
        &[&session, properties, "Get", "ss", own, "State"],
        &[&nowhere, properties, "Get", "ss", own, "State"],
        &[&session, introspectable, "Introspect"],
        &[&nowhere, introspectable, "Introspect"],
        &[&folder, introspectable, "Introspect"],
    ];
    let mut complaints = Vec::new();
    for call in calls {
        let mut busctl = room.world.busctl(STRANGER);
        busctl.args(["call", BUS_NAME]).args(call);
        let reply = output(busctl).await;
        assert!(reply.code != 0 && reply.stdout.is_empty(), "{call:?}: {}", reply.stdout);
        assert!(!reply.stderr.contains(TARGET), "{call:?}: {}", reply.stderr);
        complaints.push(reply.stderr);
    }
    complaints.dedup();
    assert_eq!(complaints.len(), 1, "what is there and what is not is refused alike: {complaints:?}");
    // The root object has no secret: its interfaces, and the names of its folders.
    let mut busctl = room.world.busctl(STRANGER);
    busctl.args(["call", BUS_NAME, OBJECT_PATH, introspectable, "Introspect"]);
    let reply = output(busctl).await;
    assert!(reply.code == 0 && reply.stdout.contains("sessions"), "{}", reply.stderr);
    assert!(!reply.stdout.contains("iqn_2e"), "{}", reply.stdout);
}

#[tokio::test]
async fn without_polkit_no_object_is_shown_and_no_one_becomes_a_watcher() {
    let (mut room, _) = Room::with_gateway().await;
    room.world.kill_polkitd().await;
    fails(call(&room.root, "Subscribe", &()).await, Kind::AccessDenied, "polkit");
    let fault = Watcher::start(&room.root).await.unwrap_err();
    assert_eq!(fault.kind(), Kind::AccessDenied, "{fault}");
}

#[tokio::test]
async fn there_are_not_too_many_watchers_and_a_place_is_free_again_when_one_leaves() {
    let room = Room::start().await;
    let mut connections = Vec::new();
    let full = loop {
        let connection = room.world.connect().await;
        match call(&connection, "Subscribe", &()).await {
            Ok(_) => connections.push(connection),
            Err(fault) => break fault,
        }
    };
    assert_eq!((full.kind(), connections.len()), (Kind::Busy, 16), "{full}");
    // Who is one stays one.
    call(&connections[3], "Subscribe", &()).await.unwrap();
    call(&connections[3], "Unsubscribe", &()).await.unwrap();
    call(&room.root, "Subscribe", &()).await.unwrap();
    fails(call(&connections[3], "Subscribe", &()).await, Kind::Busy, "watch");
    // Leaving the bus is enough.
    connections.remove(0).close().await.unwrap();
    let waiting = async {
        while call(&connections[2], "Subscribe", &()).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(iscsi_initiator_tests::harness::DEADLINE, waiting).await.unwrap();
}

#[tokio::test]
async fn another_process_cannot_make_a_watcher_believe_anything() {
    let (room, _) = Room::logged_in().await;
    let connection = room.world.connect().await;
    let mut watcher = Watcher::start(&connection).await.unwrap();
    let liar = room.world.connect().await;
    let to = connection.unique_name().unwrap().as_str();
    let (id, manager) = (Id::session(1).path(), "org.freedesktop.DBus.ObjectManager");
    let body = (id, vec![Class::Session.interface()]);
    liar.emit_signal(Some(to), OBJECT_PATH, manager, "InterfacesRemoved", &body).await.unwrap();
    let owner = ("org.cloudatlas.IscsiInitiator", ":1.0", "");
    let bus = "org.freedesktop.DBus";
    liar.emit_signal(Some(to), "/org/freedesktop/DBus", bus, "NameOwnerChanged", &owner).await.unwrap();
    let sid = room.machine.session("iqn.2001-04.com.example:empty", "192.0.2.21", "3260");
    let events = until(&mut watcher, "one more session", |model| count(model) == [2, 3, 2]).await;
    assert_eq!(events, [iscsi_initiator_dbus::objects::Event::Added(Id::session(sid))]);
}
