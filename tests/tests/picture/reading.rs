//! Objects, properties and introspection, with the tools that any system has, and without being a watcher.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use iscsi_initiator_dbus::{
    BUS_NAME, OBJECT_PATH,
    objects::{Class, Id, Model, Object, Values},
    proxy::{DiskProxy, NodeProxy, SessionProxy},
    results::Health,
};
use iscsi_initiator_tests::harness::{ROOT, world::output};
use tokio::time::timeout;
use zbus::{
    OwnedVariant, Variant,
    fdo::{IntrospectableProxy, ObjectManagerProxy, PeerProxy, PropertiesProxy},
};

use super::{Room, count, watcher};
use crate::room::{Options, TARGET};

async fn root(room: &Room) -> ObjectManagerProxy<'static> {
    let root = ObjectManagerProxy::builder(&room.root).destination(BUS_NAME).path(OBJECT_PATH);
    root.build().await.unwrap()
}

async fn managed(room: &Room) -> BTreeMap<Id, Object> {
    let objects = root(room).await.get_managed_objects().await.unwrap();
    objects
        .into_iter()
        .map(|(path, interfaces)| {
            let id = Id::at(&path).unwrap();
            let names: Vec<&str> = interfaces.keys().map(|name| name.as_str()).collect();
            assert_eq!(names, [id.class().interface()], "{path:?}");
            let values: &Values = interfaces.values().next().unwrap();
            let object = Object::read(id.class(), values);
            // No property is missing, and none is unknown.
            assert_eq!(values.len(), object.properties().len(), "{path:?}");
            (id, object)
        })
        .collect()
}

async fn properties(room: &Room, id: &Id) -> PropertiesProxy<'static> {
    let object = PropertiesProxy::builder(&room.root).destination(BUS_NAME).path(id.path());
    object.build().await.unwrap()
}

#[tokio::test]
async fn the_objects_say_what_the_lists_say() {
    let (room, portals) = Room::logged_in().await;
    let objects = managed(&room).await;
    let nodes = room.client().await.list_nodes(Options::new()).await.unwrap();
    let paths = room.client().await.list_paths(Options::new()).await.unwrap();
    assert_eq!(objects.len(), nodes.len() + 2 + 2);
    for node in nodes {
        let id = Id::node(&node.target, &node.portal, "default");
        let Some(Object::Node(shown)) = objects.get(&id) else { panic!("{id}: {objects:?}") };
        assert_eq!((&shown.target, &shown.portal, shown.tpgt), (&node.target, &node.portal, node.tpgt));
        assert_eq!((shown.startup, shown.chap, shown.state), (node.startup, node.chap, node.state));
        assert!(shown.logged_in && node.logged_in && shown.message.is_empty() && shown.hint.is_empty());
        let session = Id::at(&shown.session).unwrap();
        let Some(Object::Session(session)) = objects.get(&session) else { panic!("{objects:?}") };
        assert_eq!(session.node, id.path());
        assert_eq!(
            (&session.target, &session.portal, session.state.as_str()),
            (&node.target, &node.portal, "LOGGED_IN")
        );
        assert_eq!(session.initiator_name, crate::room::machine::INITIATOR);
    }
    let mut shown = Vec::new();
    for object in objects.values() {
        let Object::Disk(disk) = object else { continue };
        assert_eq!((disk.health, disk.targets.as_slice()), (Health::Optimal, &[TARGET.to_owned()][..]));
        for path in &disk.paths {
            assert_eq!((&path.wwid, &path.map, path.size), (&disk.wwid, &disk.map, disk.size));
            assert!(portals.iter().any(|portal| portal.to_string() == path.portal), "{path:?}");
        }
        shown.extend(disk.paths.clone());
    }
    shown.sort_by_key(|path| (path.sid, path.lun));
    assert_eq!(shown, paths);
}

#[tokio::test]
async fn a_property_is_read_alone_and_with_the_others() {
    let (room, _) = Room::logged_in().await;
    let objects = managed(&room).await;
    for (id, object) in &objects {
        let object_properties = properties(&room, id).await;
        let interface = || id.class().interface().try_into().unwrap();
        let all = object_properties.get_all(interface()).await.unwrap();
        assert_eq!(Object::read(id.class(), &all), *object);
        for (name, value) in all {
            assert_eq!(object_properties.get(interface(), &name).await.unwrap(), value, "{id} {name}");
        }
    }
    // The typed proxies have the same.
    for (id, object) in &objects {
        match object {
            Object::Node(node) => {
                let proxy = NodeProxy::builder(&room.root).path(id.path()).build().await.unwrap();
                assert_eq!(proxy.target().await.unwrap(), node.target);
                assert_eq!(proxy.startup().await.unwrap(), node.startup);
                assert_eq!(
                    (proxy.tpgt().await.unwrap(), proxy.logged_in().await.unwrap()),
                    (node.tpgt, true)
                );
            }
            Object::Session(session) => {
                let proxy = SessionProxy::builder(&room.root).path(id.path()).build().await.unwrap();
                assert_eq!(proxy.disks().await.unwrap(), session.disks);
                assert_eq!(
                    (proxy.sid().await.unwrap(), proxy.state().await.unwrap()),
                    (session.sid, session.state.clone())
                );
                assert_eq!(proxy.holds().await.unwrap(), Vec::<String>::new());
            }
            Object::Disk(disk) => {
                let proxy = DiskProxy::builder(&room.root).path(id.path()).build().await.unwrap();
                assert_eq!(proxy.paths().await.unwrap(), disk.paths);
                assert_eq!(
                    (proxy.health().await.unwrap(), proxy.map().await.unwrap()),
                    (disk.health, disk.map.clone())
                );
            }
        }
    }
}

fn name(error: impl zbus::DBusError) -> String {
    error.name().to_string()
}

#[tokio::test]
async fn what_is_not_there_is_an_error_by_its_name() {
    let (room, _) = Room::logged_in().await;
    let session = properties(&room, &Id::session(1)).await;
    let own = || Class::Session.interface().try_into().unwrap();
    let unknown = |what: &str| format!("org.freedesktop.DBus.Error.Unknown{what}");
    let gone = properties(&room, &Id::session(4711)).await;
    assert_eq!(name(gone.get_all(own()).await.unwrap_err()), unknown("Object"));
    assert_eq!(name(session.get(own(), "Secret").await.unwrap_err()), unknown("Property"));
    let disk = Class::Disk.interface().try_into().unwrap();
    assert_eq!(name(session.get_all(disk).await.unwrap_err()), unknown("Interface"));
    let set = session.set(own(), "State", &Variant::from("FREE")).await.unwrap_err();
    assert_eq!(name(set), "org.freedesktop.DBus.Error.PropertyReadOnly");
    // As on any object.
    let peer = PeerProxy::builder(&room.root).destination(BUS_NAME).path(Id::session(1).path());
    peer.build().await.unwrap().ping().await.unwrap();
    // The root object's own properties are what they were.
    let root = PropertiesProxy::builder(&room.root).destination(BUS_NAME).path(OBJECT_PATH);
    let root = root.build().await.unwrap();
    let all: HashMap<String, OwnedVariant> = root.get_all(BUS_NAME.try_into().unwrap()).await.unwrap();
    assert_eq!(all.len(), 3);
}

#[tokio::test]
async fn after_a_look_that_failed_nothing_older_is_read() {
    let (room, _) = Room::logged_in().await;
    let _watcher = watcher(&room).await;
    let root = root(&room).await;
    let before = managed(&room).await;
    let records = room.machine.database();
    room.machine.remove("db/nodes");
    std::os::unix::fs::symlink("nodes", room.machine.at("db/nodes")).unwrap();
    let soon = Duration::from_secs(10);
    // Until the daemon has heard of it.
    timeout(soon, async { while root.get_managed_objects().await.is_ok() {} }).await.unwrap();
    for _ in 0..5 {
        root.get_managed_objects().await.unwrap_err();
    }
    room.machine.remove("db/nodes");
    records.iter().for_each(|(path, text)| room.machine.put(&format!("db/{path}"), text, 0o600));
    timeout(soon, async { while root.get_managed_objects().await.is_err() {} }).await.unwrap();
    assert_eq!(managed(&room).await, before);
}

#[tokio::test]
async fn busctl_sees_the_tree_and_the_properties() {
    let (room, _) = Room::logged_in().await;
    let mut busctl = room.world.busctl(ROOT);
    busctl.args(["tree", "--list", BUS_NAME]);
    let reply = output(busctl).await;
    assert_eq!((reply.code, reply.stderr.as_str()), (0, ""));
    let lines: Vec<&str> = reply.stdout.lines().collect();
    for id in managed(&room).await.keys() {
        assert!(lines.contains(&id.path().as_str()), "{id}: {lines:?}");
    }
    let disk = managed(&room).await.into_keys().find(|id| id.class() == Class::Disk).unwrap();
    let mut busctl = room.world.busctl(ROOT);
    busctl.args(["introspect", BUS_NAME, disk.path().as_str(), Class::Disk.interface()]);
    let reply = output(busctl).await;
    assert_eq!(reply.code, 0, "{}", reply.stderr);
    for line in [".Health", "\"optimal\"", ".Paths", "aa{sv}", ".Size", ".MapDevice"] {
        assert!(reply.stdout.contains(line), "{line}: {}", reply.stdout);
    }
}

/// Versions of busctl differ in what they complain of, and in whether they go on then.
#[tokio::test]
async fn busctl_takes_every_introspection_document_without_a_complaint() {
    let (room, _) = Room::logged_in().await;
    let objects = managed(&room).await.into_keys().map(|id| id.path().to_string());
    let folders = Class::ALL.map(Class::path);
    let above = [OBJECT_PATH, "/", "/org", "/org/cloudatlas"].map(str::to_owned);
    for path in above.into_iter().chain(folders).chain(objects) {
        for how in [&["introspect"][..], &["introspect", "--xml-interface"]] {
            let mut busctl = room.world.busctl(ROOT);
            busctl.args(how).args([BUS_NAME, &path]);
            let reply = output(busctl).await;
            assert_eq!((reply.code, reply.stderr.as_str()), (0, ""), "{path}");
        }
    }
}

/// An interface as documented, and as an object serves it.
#[tokio::test]
async fn each_object_introspects_as_documented() {
    let (room, _) = Room::logged_in().await;
    for id in managed(&room).await.keys() {
        let object = IntrospectableProxy::builder(&room.root).destination(BUS_NAME).path(id.path());
        let text = object.build().await.unwrap().introspect().await.unwrap();
        let parse = |text| {
            let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
            let document = roxmltree::Document::parse_with_options(text, options).unwrap();
            let interfaces = document.root_element().children().filter(|node| node.has_tag_name("interface"));
            let described: BTreeMap<String, BTreeMap<String, String>> = interfaces
                .map(|interface| {
                    let properties = interface.children().filter(|node| node.has_tag_name("property"));
                    let of =
                        |name: &str, node: roxmltree::Node<'_, '_>| node.attribute(name).unwrap().to_owned();
                    (
                        of("name", interface),
                        properties.map(|node| (of("name", node), of("type", node))).collect(),
                    )
                })
                .collect();
            described
        };
        let (served, documented) = (parse(&text), parse(id.class().introspection()));
        let own = id.class().interface();
        assert_eq!(served.get(own), documented.get(own));
        let standard =
            ["Introspectable", "Peer", "Properties"].map(|name| format!("org.freedesktop.DBus.{name}"));
        assert!(standard.iter().all(|name| served.contains_key(name)) && served.len() == 4, "{served:?}");
        let all = properties(&room, id).await.get_all(own.try_into().unwrap()).await.unwrap();
        let types: BTreeMap<String, String> =
            all.into_iter().map(|(name, value)| (name, value.value_signature().to_string())).collect();
        assert_eq!(served.get(own), Some(&types));
    }
}

#[tokio::test]
async fn a_watcher_who_comes_late_knows_everything_and_a_reader_the_same() {
    let (room, portals) = Room::logged_in().await;
    let early = watcher(&room).await;
    room.machine.pull_cable(portals[0]);
    let mut early = early;
    let is_down = |model: &Model| {
        model.sessions().any(|(_, session)| session.state == "FREE")
            && model.disks().all(|(_, disk)| disk.paths.iter().any(|path| path.checker_state == "faulty"))
    };
    super::until(&mut early, "one portal is down", is_down).await;
    let late = watcher(&room).await;
    super::received(&mut early).await;
    assert_eq!(late.model(), early.model());
    assert_eq!(count(late.model()), [2, 2, 2]);
    let read: BTreeMap<Id, Object> =
        late.model().objects().map(|(id, object)| (id.clone(), object.clone())).collect();
    assert_eq!(managed(&room).await, read);
    assert!(late.model().sessions().any(|(_, session)| session.since > 0));
}
