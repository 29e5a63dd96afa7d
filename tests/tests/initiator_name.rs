//! The initiator name through the bus: written, kept as a backup, made known, and put back when iscsid does not follow.
//! Must not reach the host's systemd: there is none on the private bus, or a stand-in.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on must fail"
)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::room::{Room, fails, machine::INITIATOR, systemd};
use iscsi_initiator_dbus::{BUS_NAME, INTERFACE, Kind, OBJECT_PATH, proxy::InitiatorProxy};
use iscsi_initiator_tests::harness::{DEADLINE, STRANGER, World, world::output};
use tokio::time::timeout;
use zbus::{export::ordered_stream::OrderedStreamExt as _, fdo::PropertiesProxy};

const FILE: &str = "etc/initiatorname.iscsi";
const BACKUP: &str = "etc/initiatorname.iscsi.bak";
const NEW: &str = "iqn.2001-04.com.example:new";

async fn client(room: &Room) -> InitiatorProxy<'static> {
    let builder = InitiatorProxy::builder(&room.root).cache_properties(zbus::proxy::CacheProperties::No);
    builder.build().await.unwrap()
}

/// The names that `PropertiesChanged` tells, as they come, on a connection of its own.
async fn listen(world: &World) -> Arc<Mutex<Vec<String>>> {
    let connection = world.connect().await;
    let object = PropertiesProxy::builder(&connection).destination(BUS_NAME).path(OBJECT_PATH);
    let object = object.build().await.unwrap();
    let mut changes = object.receive_properties_changed().await.unwrap();
    let told = Arc::new(Mutex::new(Vec::new()));
    let telling = Arc::clone(&told);
    tokio::spawn(async move {
        let _kept = connection;
        while let Some(change) = changes.next().await {
            let change = change.args().unwrap();
            assert_eq!(change.interface_name.as_str(), INTERFACE);
            for (name, value) in &change.changed_properties {
                telling.lock().unwrap().push(format!("{name}={}", value.downcast_ref::<&str>().unwrap()));
            }
        }
    });
    told
}

async fn wait_for(told: &Mutex<Vec<String>>, count: usize) {
    let wait = async {
        while told.lock().unwrap().len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(DEADLINE, wait).await.unwrap();
}

#[tokio::test]
async fn everybody_may_read_the_name() {
    let room = Room::start().await;
    let mut busctl = room.world.busctl(STRANGER);
    busctl.args(["get-property", BUS_NAME, OBJECT_PATH, INTERFACE, "InitiatorName"]);
    assert_eq!(output(busctl).await.stdout.trim(), format!("s \"{INITIATOR}\""));
    let client = client(&room).await;
    // Read each time it is asked for, whoever wrote it.
    room.machine.put(FILE, &format!("InitiatorName={NEW}\n"), 0o600);
    assert_eq!(client.initiator_name().await.unwrap(), NEW);
    for none in ["", "GenerateName=yes\n", "InitiatorName=nonsense\n"] {
        room.machine.put(FILE, none, 0o600);
        assert_eq!(client.initiator_name().await.unwrap(), "");
    }
    std::fs::remove_file(room.machine.at(FILE)).unwrap();
    assert_eq!(client.initiator_name().await.unwrap(), "");
}

#[tokio::test]
async fn without_systemd_the_old_file_is_back_byte_for_byte() {
    let room = Room::start().await;
    let client = client(&room).await;
    let told = listen(&room.world).await;
    let odd = format!("## DO NOT EDIT\r\n\n InitiatorName = {INITIATOR} \nInitiatorAlias=me");
    for old in [room.machine.text(FILE), odd] {
        room.machine.put(FILE, &old, 0o600);
        let fault = fails(client.set_initiator_name(NEW).await, Kind::BackendUnavailable, "iscsid");
        assert_eq!(fault.next_step(), "systemctl restart iscsid.service; journalctl -u iscsid.service");
        assert_eq!((room.machine.text(FILE), room.machine.mode(FILE)), (old, 0o600));
        assert_eq!(client.initiator_name().await.unwrap(), INITIATOR);
    }
    // Where there was no file, there is none.
    std::fs::remove_file(room.machine.at(FILE)).unwrap();
    fails(client.set_initiator_name(NEW).await, Kind::BackendUnavailable, "iscsid");
    assert!(!room.machine.at(FILE).exists());
    assert_eq!(room.machine.calls(), "");
    // The file was removed without the daemon, which is told at its next look.
    wait_for(&told, 1).await;
    assert_eq!(*told.lock().unwrap(), ["InitiatorName="]);
}

#[tokio::test]
async fn with_systemd_it_is_written_told_and_the_old_file_kept() {
    let room = Room::start().await;
    let client = client(&room).await;
    let systemd_bus = room.world.connect().await;
    let orders = systemd::serve(&systemd_bus, Some("done")).await;
    let told = listen(&room.world).await;
    let old = room.machine.text(FILE);

    client.set_initiator_name(NEW).await.unwrap();
    assert_eq!(room.machine.text(FILE), format!("## DO NOT EDIT\nInitiatorName={NEW}\n"));
    assert_eq!((room.machine.text(BACKUP), room.machine.mode(BACKUP)), (old, 0o600));
    assert_eq!(room.machine.mode(FILE), 0o600);
    assert_eq!(client.initiator_name().await.unwrap(), NEW);
    assert_eq!(*orders.lock().unwrap(), [("iscsid.service".to_owned(), "replace".to_owned())]);
    wait_for(&told, 1).await;

    // The same once more: iscsid may have missed it, and nothing is told or written.
    let files = room.machine.picture_of("etc");
    client.set_initiator_name(NEW).await.unwrap();
    assert!(room.machine.picture_of("etc") == files);
    assert_eq!(orders.lock().unwrap().len(), 2);
    client.set_initiator_name(INITIATOR).await.unwrap();
    wait_for(&told, 2).await;
    assert_eq!(*told.lock().unwrap(), [format!("InitiatorName={NEW}"), format!("InitiatorName={INITIATOR}")]);
}

#[tokio::test]
async fn an_iscsid_that_does_not_come_back_gets_its_old_name_back() {
    let room = Room::start().await;
    let systemd_bus = room.world.connect().await;
    systemd::serve(&systemd_bus, Some("failed")).await;
    let told = listen(&room.world).await;
    let old = room.machine.text(FILE);
    let client = client(&room).await;
    fails(client.set_initiator_name(NEW).await, Kind::BackendUnavailable, "failed");
    assert_eq!(room.machine.text(FILE), old);
    assert_eq!(client.initiator_name().await.unwrap(), INITIATOR);
    assert_eq!(*told.lock().unwrap(), Vec::<String>::new());
}

/// Somebody who took the place of systemd's signals: the daemon listens to systemd alone.
#[tokio::test]
async fn anothers_word_that_the_job_is_done_does_not_count() {
    let room = Room::start().await;
    let systemd_bus = room.world.connect().await;
    systemd::serve(&systemd_bus, None).await;
    let forger = room.world.connect().await;
    let forge = tokio::spawn(async move {
        let job = zbus::ObjectPath::try_from("/org/freedesktop/systemd1/job/7").unwrap();
        let body = (7_u32, job, "iscsid.service", "done");
        loop {
            let (path, interface) = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1.Manager");
            forger.emit_signal(None::<&str>, path, interface, "JobRemoved", &body).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let client = client(&room).await;
    let call = tokio::spawn(async move { client.set_initiator_name(NEW).await });
    let early = timeout(Duration::from_secs(1), call).await;
    forge.abort();
    assert!(early.is_err(), "a forged signal was believed: {early:?}");
}

#[tokio::test]
async fn the_name_does_not_change_while_a_session_is_up() {
    let room = Room::start().await;
    let session = "sys/devices/platform/host3/session1";
    room.machine.put(
        &format!("{session}/iscsi_session/session1/targetname"),
        "iqn.2001-04.com.example:up\n",
        0o444,
    );
    room.machine.put(&format!("{session}/iscsi_session/session1/state"), "LOGGED_IN\n", 0o444);
    let class = room.machine.at("sys/class/iscsi_session");
    std::fs::create_dir_all(&class).unwrap();
    let place = room.machine.at(format!("{session}/iscsi_session/session1"));
    std::os::unix::fs::symlink(place, class.join("session1")).unwrap();
    let before = room.machine.picture();
    let client = client(&room).await;
    let fault = fails(client.set_initiator_name(NEW).await, Kind::InUse, "iqn.2001-04.com.example:up");
    assert!(fault.next_step().contains("log out"), "{fault}");
    assert!(room.machine.picture() == before);
    // The name that it has already is no change.
    client.set_initiator_name(INITIATOR).await.unwrap();
}
