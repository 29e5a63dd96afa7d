//! Logout on a machine of files: what keeps it away is named, and nothing is touched then.
//! It may not need a kernel's session: what a logout does to one is shown on the testbed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

mod room;

use std::time::Instant;

use iscsi_initiator_dbus::Kind;
use zbus::Variant;

use self::room::{Room, SOON, TARGET, fails};

type Options = std::collections::HashMap<&'static str, Variant<'static>>;

/// A session with two disks, and a record of it with these lines.
async fn room(more: &str) -> Room {
    let room = Room::start().await;
    room.machine.record(TARGET, "192.0.2.21", 3260, more);
    room.machine.session(TARGET, "192.0.2.21", "3260");
    room.machine.disk("sda", 0, "8:0");
    room.machine.disk("sdb", 1, "8:16");
    room
}

/// The call fails so, and neither iscsiadm has run nor a file changed.
async fn stays(room: &Room, options: Options, words: &str) {
    let before = room.machine.picture();
    fails(room.call("Logout", &(TARGET, "", options)).await, Kind::InUse, words);
    assert_eq!(room.machine.calls(), "");
    assert_eq!(room.machine.picture(), before);
}

fn forced() -> Options {
    Options::from([("force", true.into())])
}

#[tokio::test]
async fn each_device_is_named_with_its_holder() {
    let room = room("").await;
    let mounts = format!("{}36 35 8:0 / /mnt rw - ext4 /dev/sda rw\n", room::machine::ROOT);
    room.machine.put("proc/self/mountinfo", &mounts, 0o444);
    room.machine.put("sys/block/loop0/loop/backing_file", "/mnt/image\n", 0o444);
    room.machine.process(4711, "qemu-system-x86", "/dev/sdb");
    let words = "sda is mounted on /mnt; sda holds /mnt/image, which is the loop device loop0; \
                 sdb is held open by qemu-system-x86 (pid 4711)";
    stays(&room, Options::new(), words).await;
}

#[tokio::test]
async fn what_is_only_open_is_looked_at_again_within_the_callers_time() {
    let room = room("").await;
    room.machine.process(77, "blkid", "/dev/sda");
    let began = Instant::now();
    stays(&room, Options::from([("timeout", 1_u32.into())]), "sda is held open by blkid (pid 77)").await;
    assert!(began.elapsed() < SOON, "{:?}", began.elapsed());
}

#[tokio::test]
async fn the_boots_sessions_stay_by_force_too() {
    for (more, words) in [
        ("node.conn[0].startup = onboot\n", "node.startup = onboot"),
        ("node.discovery_type = fw\n", "node.discovery_type = fw"),
    ] {
        stays(&room(more).await, forced(), words).await;
    }
    let room = room("").await;
    room.machine.put("sys/firmware/ibft/target0/target-name", TARGET, 0o444);
    stays(&room, forced(), "the firmware booted from its target").await;
}

#[tokio::test]
async fn the_disks_of_the_root_file_system_stay_by_force_too() {
    let room = room("").await;
    room.machine.put("proc/1/mountinfo", "1 0 8:16 / / rw - ext4 /dev/root rw\n", 0o444);
    stays(&room, forced(), "this machine runs from the session to").await;
}
