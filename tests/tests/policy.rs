//! The shipped bus policy on a private bus: who may own the name, and what may be sent to it.
//! Must not know the daemon: an interface with one property stands in for it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use iscsi_initiator_dbus::{BUS_NAME, INTERFACE, OBJECT_PATH};
use iscsi_initiator_tests::harness::{MEMBER, ROOT, Reply, STRANGER, User, World, world::output};
use zbus::Connection;

struct Stand;

#[zbus::interface(name = "org.cloudatlas.IscsiInitiator")]
impl Stand {
    #[zbus(property)]
    fn version(&self) -> &str {
        "7"
    }
}

async fn serve(connection: Connection) {
    connection.object_server().at(OBJECT_PATH, Stand).await.unwrap();
    connection.request_name(BUS_NAME).await.unwrap();
    std::future::pending().await
}

async fn busctl(world: &World, user: User, args: &[&str]) -> Reply {
    let mut busctl = world.busctl(user);
    busctl.args(args);
    output(busctl).await
}

#[tokio::test]
async fn only_root_may_take_the_name() {
    let world = World::start().await;
    let bus = "org.freedesktop.DBus";
    let request = ["call", bus, "/org/freedesktop/DBus", bus, "RequestName", "su", BUS_NAME, "4"];
    for (user, is_allowed) in [(STRANGER, false), (MEMBER, false), (ROOT, true)] {
        let reply = busctl(&world, user, &request).await;
        assert_eq!(reply.code == 0, is_allowed, "{}: {}", user.name, reply.stderr);
    }
}

#[tokio::test]
async fn everybody_may_look_at_the_object_and_nobody_may_set_a_property() {
    let mut world = World::start().await;
    world.serve(serve).await;
    for user in [ROOT, STRANGER] {
        let read = busctl(&world, user, &["get-property", BUS_NAME, OBJECT_PATH, INTERFACE, "Version"]).await;
        assert_eq!(read.stdout.trim(), "s \"7\"", "{}: {}", user.name, read.stderr);
        let introspected = busctl(&world, user, &["introspect", BUS_NAME, OBJECT_PATH]).await;
        assert!(introspected.stdout.contains(INTERFACE), "{}: {}", user.name, introspected.stderr);
        let peer = "org.freedesktop.DBus.Peer";
        assert_eq!(busctl(&world, user, &["call", BUS_NAME, OBJECT_PATH, peer, "Ping"]).await.code, 0);
        let set = ["set-property", BUS_NAME, OBJECT_PATH, INTERFACE, "Version", "s", "8"];
        assert_ne!(busctl(&world, user, &set).await.code, 0, "{}", user.name);
    }
}

#[tokio::test]
async fn what_is_not_listed_does_not_get_through() {
    let mut world = World::start().await;
    world.serve(serve).await;
    let others = "org.freedesktop.DBus.Debug.Stats";
    let reply = busctl(&world, STRANGER, &["call", BUS_NAME, OBJECT_PATH, others, "GetStats"]).await;
    assert!(reply.code != 0 && reply.stderr.contains("Access denied"), "{}", reply.stderr);
}
