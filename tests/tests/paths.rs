//! A path dies and returns: `ListPaths` shows what kernel and multipathd have, and the other path carries the maps.
//! Must not wait for a signal: the interface has none for paths yet.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use crate::room::{
    Options, Room, TARGET,
    machine::{Lun, Size},
};
use iscsi_initiator_dbus::{
    BUS_NAME, INTERFACE, OBJECT_PATH,
    results::{LoginOutcome, Node, Path},
};
use zbus::{
    Message, MessageStream, export::ordered_stream::OrderedStreamExt as _, message::EndianSig, wire::Endian,
};

async fn paths(room: &Room) -> Vec<Path> {
    room.client().await.list_paths(Options::new()).await.unwrap()
}

/// Waits until the paths at this portal are shown so; all of them.
async fn shown(room: &Room, portal: SocketAddr, session: &str, device: &str, checker: &str) -> Vec<Path> {
    let at = portal.to_string();
    let mut last = Vec::new();
    let waiting = async {
        loop {
            last = paths(room).await;
            let mut here = last.iter().filter(|path| path.portal == at);
            if here.all(|path| {
                (path.session_state.as_str(), path.device_state.as_str(), path.checker_state.as_str())
                    == (session, device, checker)
            }) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let done = tokio::time::timeout(iscsi_initiator_tests::harness::DEADLINE, waiting).await;
    assert!(done.is_ok(), "not {session}, {device}, {checker}: {last:?}");
    last
}

#[tokio::test]
async fn a_path_dies_and_returns_and_its_map_with_the_other_path_stays() {
    let (room, portals) = Room::logged_in().await;
    let up = shown(&room, portals[0], "LOGGED_IN", "running", "ready").await;
    assert_eq!(up.len(), 4);
    for path in &up {
        assert!(["mpatha", "mpathb"].contains(&path.map.as_str()) && path.target == TARGET, "{path:?}");
    }

    // While the kernel still waits for the connection, what is on its way is held.
    room.machine.delay(|delays| delays.replacement = Duration::from_secs(3600));
    room.machine.pull_cable(portals[0]);
    shown(&room, portals[0], "FAILED", "blocked", "i/o pending").await;
    room.machine.plug_cable(portals[0]);
    shown(&room, portals[0], "LOGGED_IN", "running", "ready").await;

    // Then it gives it up.
    room.machine.delay(|delays| delays.replacement = Duration::from_millis(2));
    room.machine.pull_cable(portals[0]);
    let down = shown(&room, portals[0], "FREE", "transport-offline", "faulty").await;
    let other = portals[1].to_string();
    for path in &down {
        let is_up = path.portal == other;
        assert_eq!(path.dm_state, if is_up { "active" } else { "failed" }, "{path:?}");
        assert_eq!(path.session_state == "LOGGED_IN", is_up, "{path:?}");
        assert!(!path.map.is_empty(), "{path:?}");
    }
    assert_eq!(down.len(), 4, "nothing hides");

    room.machine.plug_cable(portals[0]);
    assert_eq!(shown(&room, portals[0], "LOGGED_IN", "running", "ready").await, up);
}

#[tokio::test]
async fn a_login_tells_of_a_session_that_has_lost_its_portal() {
    let (room, portals) = Room::logged_in().await;
    room.machine.pull_cable(portals[1]);
    shown(&room, portals[1], "FREE", "transport-offline", "faulty").await;
    let entries =
        room.client().await.login(TARGET, &portals[1].to_string(), crate::room::within(1)).await.unwrap();
    let [entry] = entries.as_slice() else { panic!("{entries:?}") };
    assert_eq!(entry.outcome, LoginOutcome::AlreadyLoggedIn);
    let words = "the session is in state FREE: the kernel is trying to reconnect, but ";
    assert!(entry.message.starts_with(words) && entry.message.contains(&portals[1].to_string()), "{entry:?}");
    assert_eq!(entry.error, iscsi_initiator_dbus::Kind::TimedOut.name());
    assert_eq!(room.runs("--login"), 1);

    room.machine.plug_cable(portals[1]);
    shown(&room, portals[1], "LOGGED_IN", "running", "ready").await;
    let entries = room.login(Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.message.is_empty() && entry.maps.len() == 2), "{entries:?}");
}

#[tokio::test]
async fn with_every_path_dead_the_maps_are_there_and_come_back() {
    let (room, portals) = Room::logged_in().await;
    portals.iter().for_each(|at| room.machine.pull_cable(*at));
    for at in portals {
        shown(&room, at, "FREE", "transport-offline", "faulty").await;
    }
    assert_eq!(room.machine.maps(), ["mpatha", "mpathb"]);
    portals.iter().for_each(|at| room.machine.plug_cable(*at));
    for at in portals {
        shown(&room, at, "LOGGED_IN", "running", "ready").await;
    }
}

#[tokio::test]
async fn a_filter_shows_its_paths_only_and_a_session_without_a_lun_is_shown_too() {
    let (room, portals) = Room::logged_in().await;
    let client = room.client().await;
    let here = portals[1].to_string();
    let filtered = client.list_paths(crate::room::option("portal", here.clone())).await.unwrap();
    assert_eq!(filtered.iter().map(|path| path.lun).collect::<Vec<_>>(), [0, 1]);
    assert!(filtered.iter().all(|path| path.portal == here), "{filtered:?}");

    let other = "iqn.2003-01.com.example:empty";
    room.machine.session(other, "192.0.2.21", "3260");
    let filtered = client.list_paths(crate::room::option("target", other)).await.unwrap();
    let [path] = filtered.as_slice() else { panic!("{filtered:?}") };
    assert_eq!((path.device.as_str(), path.session_state.as_str()), ("", "LOGGED_IN"));
    assert_eq!(paths(&room).await.len(), 5);
}

#[tokio::test]
async fn a_filter_changes_nothing_of_what_it_shows() {
    let (room, _) = Room::logged_in().await;
    room.machine.fill(Size { targets: 3, portals: 2, luns: 5, has_maps: true });
    // A disk of two targets, and two paths without a map.
    for (target, name, number) in [("a", "sdzx", "300:0"), ("b", "sdzy", "300:16"), ("b", "sdzz", "300:32")] {
        let lun = u32::from(name == "sdzz");
        room.machine.session(&format!("iqn.2003-01.com.example:{target}"), "192.0.2.21", "3260");
        room.machine.disk_as(name, 0, number, &Lun::disk(0x99, 64));
        room.machine.disk_as(&format!("{name}x"), 1 + lun, &format!("{number}1"), &Lun::disk(0x98, 64));
    }
    let client = room.client().await;
    let all = paths(&room).await;
    let problems: BTreeSet<String> = all.iter().map(|path| format!("{:?}", path.problem)).collect();
    assert!(problems.len() > 1 && all.iter().any(|path| path.group == 2), "{all:?}");
    let places: BTreeSet<(&str, &str)> =
        all.iter().map(|path| (path.target.as_str(), path.portal.as_str())).collect();
    for (target, portal) in places {
        for (at, through) in [(Some(target), None), (None, Some(portal)), (Some(target), Some(portal))] {
            let mut filter = Options::new();
            filter.extend(at.map(|target| ("target", target.to_owned().into())));
            filter.extend(through.map(|portal| ("portal", portal.to_owned().into())));
            let is_wanted = |path: &&Path| {
                at.is_none_or(|target| path.target == target)
                    && through.is_none_or(|portal| path.portal == portal)
            };
            let wanted: Vec<Path> = all.iter().filter(is_wanted).cloned().collect();
            assert_eq!(client.list_paths(filter).await.unwrap(), wanted, "{at:?} {through:?}");
        }
    }
}

#[tokio::test]
async fn a_size_that_a_rescan_found_is_shown_with_the_disks_identifier() {
    let (room, _) = Room::logged_in().await;
    room.machine.resize_lun(TARGET, 1, 256);
    let sizes = |paths: &[Path]| paths.iter().map(|path| path.size >> 20).collect::<Vec<_>>();
    assert_eq!(sizes(&paths(&room).await), [64, 128, 64, 128]);
    room.client().await.rescan(TARGET, "", Options::new()).await.unwrap();
    let now = paths(&room).await;
    assert_eq!(sizes(&now), [64, 256, 64, 256]);
    assert!(now.iter().filter(|path| path.lun == 1).all(|path| path.wwid == Lun::disk(2, 0).wwid));
}

/// The reply to a list, called by a program in this byte order.
async fn listed_in(room: &Room, order: Endian, method: &str) -> Message {
    let connection = room.world.connect().await;
    let mut replies = MessageStream::from(&connection);
    let call = Message::method_call(OBJECT_PATH, method).destination(BUS_NAME).interface(INTERFACE);
    let call = call.endian(order).build(&(Options::new(),)).unwrap();
    connection.send(&call).await.unwrap();
    let serial = call.primary_header().serial_num();
    let reply = async {
        loop {
            let message = replies.next().await.unwrap().unwrap();
            if message.header().reply_serial() == Some(serial) {
                return message;
            }
        }
    };
    tokio::time::timeout(iscsi_initiator_tests::harness::DEADLINE, reply).await.unwrap()
}

#[tokio::test]
async fn a_caller_of_the_other_byte_order_gets_the_same_lists_in_its_own() {
    let (room, portals) = Room::logged_in().await;
    // What has no event is the same in both.
    shown(&room, portals[0], "LOGGED_IN", "running", "ready").await;
    let mut lengths = Vec::new();
    for (order, sign) in [(Endian::Little, EndianSig::Little), (Endian::Big, EndianSig::Big)] {
        let (of_paths, of_nodes) =
            (listed_in(&room, order, "ListPaths").await, listed_in(&room, order, "ListNodes").await);
        for reply in [&of_paths, &of_nodes] {
            assert_eq!(reply.message_type(), zbus::message::Type::MethodReturn, "{reply:?}");
            assert_eq!(reply.primary_header().endian_sig(), sign);
            assert_eq!(reply.header().signature().to_string(), "aa{sv}");
            lengths.push(reply.body().len());
        }
        let (shown, nodes): (Vec<Path>, Vec<Node>) =
            (of_paths.body().deserialize().unwrap(), of_nodes.body().deserialize().unwrap());
        assert_eq!(shown, paths(&room).await);
        assert_eq!((shown.len(), shown[0].sid, shown[0].size), (4, 1, 64 << 20));
        assert_eq!(nodes, room.client().await.list_nodes(Options::new()).await.unwrap());
        assert_eq!(nodes.len(), 2);
    }
    assert_eq!(lengths[..2], lengths[2..], "the same bytes in another order");
}
