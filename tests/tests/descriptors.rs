//! Descriptors that come with a call: no program inherits them, and an index without one is a bad argument.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on must fail")]

use std::{io::Write as _, os::fd::OwnedFd};

use crate::room::{Options, Room, SECRET, TARGET};
use iscsi_initiator_dbus::{BUS_NAME, INTERFACE, OBJECT_PATH};
use iscsi_initiator_tests::harness::DEADLINE;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
    time::timeout,
};
use zbus::{Message, Variant};

/// The bytes of a message, with one text in the place of another.
fn patched(message: &Message, from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = message.data().to_vec();
    let at = bytes.windows(from.len()).position(|window| window == from).unwrap();
    bytes.splice(at..at + to.len(), to.iter().copied());
    bytes
}

/// The kind of CVE-2025-8067 of udisks: an index that no descriptor has.
#[tokio::test]
async fn an_index_without_a_descriptor_is_a_bad_argument() {
    let room = Room::start().await;
    let address = room.world.address();
    let path = address.split(',').find_map(|part| part.strip_prefix("unix:path=")).unwrap();
    for index in [0_u32, 1, 7, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        let mut bus = UnixStream::connect(path).await.unwrap();
        bus.write_all(b"\0AUTH EXTERNAL 30\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n").await.unwrap();
        let bus_name = "org.freedesktop.DBus";
        let to_bus = Message::method_call("/org/freedesktop/DBus", "Hello");
        let hello = to_bus.destination(bus_name).interface(bus_name).build(&()).unwrap();
        bus.write_all(hello.data()).await.unwrap();
        let to_us = Message::method_call(OBJECT_PATH, "SetChap").destination(BUS_NAME).interface(INTERFACE);
        let chap = Options::from([("secret-fd", Variant::from(index))]);
        let call = to_us.build(&(TARGET, "", chap)).unwrap();
        bus.write_all(&patched(&call, b"secret-fd\0\x01u\0", b"secret-fd\0\x01h\0")).await.unwrap();
        let answer = async {
            let mut said = Vec::new();
            while !String::from_utf8_lossy(&said).contains("org.freedesktop.DBus.Error.") {
                assert_ne!(bus.read_buf(&mut said).await.unwrap(), 0, "the bus hung up: {index}");
            }
            String::from_utf8_lossy(&said).into_owned()
        };
        let answer = timeout(DEADLINE, answer).await.unwrap();
        assert!(answer.contains("org.freedesktop.DBus.Error.InvalidArgs"), "{index}: {answer}");
    }
    assert_eq!(room.client().await.list_nodes(Options::new()).await.unwrap(), [], "the daemon is there");
}

/// While the call that brought a descriptor runs, the daemon has it open.
#[tokio::test]
async fn a_program_sees_no_descriptor_of_a_callers() {
    let room = Room::start().await;
    let [portal, _] = room.machine.add_gateway(TARGET, crate::room::chap());
    room.machine.start_multipathd();
    room.machine.put("bin/descriptors", "", 0o600);
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(SECRET.as_bytes()).unwrap();
    drop(writer);
    let pipe = format!("pipe:[{}]", rustix::fs::fstat(&reader).unwrap().st_ino);
    let secret = Variant::from(zbus::Fd::from(OwnedFd::from(reader)));
    let options = Options::from([("username", Variant::from("libvirtd")), ("secret-fd", secret)]);
    room.client().await.connect(&portal.to_string(), options).await.unwrap();
    let listed = room.machine.text("bin/descriptors");
    // The test's own process may have been given others.
    assert!(listed.contains(" 0 -> /dev/null") && !listed.contains(&pipe), "{pipe}: {listed}");
}
