//! Nodes that are managed by hand: when they are logged in to, and what is behind their sessions.
//! It may not touch a disk: the machine is a temporary directory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod fake;

use fake::{Room, TARGET, fails, machine::record_text};
use iscsi_initiator_dbus::{Kind, proxy::InitiatorProxy};

const PORTAL: &str = "192.0.2.21:3260";

async fn client(room: &Room) -> InitiatorProxy<'static> {
    InitiatorProxy::new(&room.root).await.unwrap()
}

#[tokio::test]
async fn both_keys_of_the_startup_are_set_and_nothing_else() {
    let room = Room::start().await;
    let client = client(&room).await;
    let first = room.machine.record(TARGET, "192.0.2.21", 3260, "");
    let second = room.machine.record(TARGET, "192.0.2.37", 3260, "node.conn[0].startup = manual\n");
    let text = |address: &str, startup: &str| {
        let text = record_text(TARGET, address, 3260, &format!("node.conn[0].startup = {startup}\n"));
        text.replace("node.startup = manual", &format!("node.startup = {startup}"))
    };
    client.set_startup(TARGET, "", "automatic").await.unwrap();
    assert_eq!(room.machine.text(&first), text("192.0.2.21", "automatic"));
    assert_eq!(room.machine.text(&second), text("192.0.2.37", "automatic"));
    client.set_startup(TARGET, PORTAL, "manual").await.unwrap();
    assert_eq!(room.machine.text(&first), text("192.0.2.21", "manual"));
    assert_eq!(room.machine.text(&second), text("192.0.2.37", "automatic"));
    assert_eq!((room.machine.mode(&first), room.machine.calls().as_str()), (0o600, ""));
    fails(client.set_startup(TARGET, "192.0.2.99", "manual").await, Kind::NoSuchNode, TARGET);
}

#[tokio::test]
async fn the_boots_records_keep_their_startup() {
    let room = Room::start().await;
    let client = client(&room).await;
    room.machine.record(TARGET, "192.0.2.21", 3260, "");
    room.machine.session(TARGET, "192.0.2.37", "3260");
    for more in ["node.conn[0].startup = onboot\n", "node.discovery_type = fw\n"] {
        room.machine.record(TARGET, "192.0.2.37", 3260, more);
        let before = room.machine.picture();
        let words = "boots with the record of iqn.2003-01.com.example:disks at 192.0.2.37:3260";
        for portal in ["", "192.0.2.37"] {
            fails(client.set_startup(TARGET, portal, "automatic").await, Kind::InUse, words);
            // The session is up already: a login would only store it.
            let options = std::collections::HashMap::from([("startup", "automatic".into())]);
            fails(client.login(TARGET, portal, options).await, Kind::InUse, words);
        }
        assert!(room.machine.picture() == before);
    }
    client.set_startup(TARGET, PORTAL, "automatic").await.unwrap();
    room.machine.put(&format!("db/nodes/{TARGET}/192.0.2.21,3260,1/default"), "# BEGIN", 0o600);
    let fault =
        fails(client.set_startup(TARGET, PORTAL, "manual").await, Kind::InvalidConfiguration, "cut off");
    assert!(fault.next_step().contains("iscsictl forget"), "{fault}");
}

#[tokio::test]
async fn a_rescan_asks_for_each_session_and_reads_what_there_is_then() {
    let room = Room::start().await;
    let client = client(&room).await;
    let options = || std::collections::HashMap::from([("timeout", 1_u32.into())]);
    for target in [TARGET, ""] {
        let fault =
            fails(client.rescan(target, "", options()).await, Kind::NotLoggedIn, "there is no session");
        assert!(fault.next_step().contains("iscsictl login"), "{fault}");
    }
    room.machine.session(TARGET, "192.0.2.21", "3260");
    room.machine.disk("sda", 0, "8:0");
    room.machine.put("run/udev/data/b8:0", "I:1\n", 0o644);
    // As under a unit that keeps all of /sys to be read only: said, not passed over.
    let fault = fails(client.rescan(TARGET, "", options()).await, Kind::BackendUnavailable, "host3");
    assert!(fault.next_step().contains("ReadWritePaths"), "{fault}");
    assert_eq!(room.machine.calls(), "");
    room.machine.put("sys/class/scsi_host/host3/scan", "", 0o200);
    let sizes = "sys/devices/platform/host3/session1/target3:0:0/3:0:0:0/block/sda/size";
    room.machine.put(sizes, "131072\n", 0o444);
    for (target, portal) in [(TARGET, ""), ("", ""), (TARGET, "192.0.2.21"), ("", "192.0.2.21")] {
        let sessions = client.rescan(target, portal, options()).await.unwrap();
        assert_eq!(sessions.len(), 1, "{sessions:?}");
        assert!(sessions.iter().all(|s| s.sid == 1 && s.portal == PORTAL && s.devices == ["sda"]));
        assert!(sessions.iter().all(|s| s.added.is_empty() && s.resized.is_empty() && s.vanished.is_empty()));
    }
    let call = "call [-m] [session] [-r] [1] [--rescan]\n";
    assert_eq!(room.machine.calls().matches(call).count(), 4, "{}", room.machine.calls());
    fails(client.rescan(TARGET, "192.0.2.37", options()).await, Kind::NotLoggedIn, "at 192.0.2.37:3260");

    // The LUN does not answer for its size.
    room.machine.put(sizes, "0\n", 0o444);
    let sessions = client.rescan(TARGET, "", options()).await.unwrap();
    assert!(
        sessions.iter().all(|s| s.vanished == ["sda"] && s.message.starts_with("sda is not offered")),
        "{sessions:?}"
    );
    // A target that lets the scan hang.
    room.machine.put("bin/delay", "3", 0o644);
    fails(client.rescan(TARGET, "", options()).await, Kind::TimedOut, "did not answer for all of its disks");
    room.machine.put("sys/class/iscsi_session/session1/state", "FAILED\n", 0o444);
    let calls = room.machine.calls();
    fails(client.rescan(TARGET, "", options()).await, Kind::PortalUnreachable, "in state FAILED");
    assert_eq!(room.machine.calls(), calls, "it would hang");
}
