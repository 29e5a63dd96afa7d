//! Nodes that are managed by hand: when they are logged in to.
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
