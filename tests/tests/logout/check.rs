//! `CheckInUse`: what a logout would meet, structured, and the same that the logout then says.
//! Must not find anything changed by it.

use iscsi_initiator_dbus::{
    Fault, Kind,
    results::{Holder, HolderKind, NO_USER},
};

use super::log_out;
use crate::room::{Options, Room, TARGET, fails, machine, option, within};

async fn check(room: &Room, portal: &str) -> Result<Vec<Holder>, Fault> {
    room.client().await.check_in_use(TARGET, portal).await
}

/// Kind, device and the sentence of each.
fn seen(holders: &[Holder]) -> Vec<(HolderKind, &str, &str)> {
    holders.iter().map(|holder| (holder.kind, holder.device.as_str(), holder.message.as_str())).collect()
}

/// A session with two disks, and a record of it.
async fn bare() -> Room {
    let room = Room::start().await;
    room.machine.record(TARGET, "192.0.2.21", 3260, "");
    room.machine.session(TARGET, "192.0.2.21", "3260");
    room.machine.disk("sda", 0, "8:0");
    room.machine.disk("sdb", 1, "8:16");
    room
}

#[tokio::test]
async fn each_holder_is_an_entry_with_its_parts_and_nothing_is_changed() {
    let room = bare().await;
    let mounts = format!("{}36 35 8:0 / /mnt rw - ext4 /dev/sda rw\n", machine::ROOT);
    room.machine.put("proc/self/mountinfo", &mounts, 0o444);
    room.machine.put("sys/block/loop0/loop/backing_file", "/mnt/image\n", 0o444);
    room.machine.process(4711, "qemu-system-x86", "/dev/sdb");
    room.machine.put("proc/4711/status", "Name:\tqemu\nUid:\t64055\t64055\t64055\t64055\n", 0o444);
    room.machine.put("proc/4711/cgroup", "0::/system.slice/libvirtd.service/x\n", 0o444);
    let before = room.machine.picture();
    let holders = check(&room, "").await.unwrap();
    let words = [
        (HolderKind::Process, "sdb", "sdb is held open by qemu-system-x86 (pid 4711)"),
        (HolderKind::Loop, "sda", "sda holds /mnt/image, which is the loop device loop0"),
        (HolderKind::Mount, "sda", "sda is mounted on /mnt"),
    ];
    assert_eq!(seen(&holders), words);
    let [qemu, image, mount] = holders.as_slice() else { panic!("{holders:?}") };
    assert_eq!((qemu.name.as_str(), qemu.pid, qemu.uid), ("qemu-system-x86", 4711, 64_055));
    assert_eq!(
        (qemu.unit.as_str(), qemu.hint.as_str()),
        ("libvirtd.service", "stop qemu-system-x86 (pid 4711)")
    );
    assert_eq!((image.name.as_str(), image.hint.as_str()), ("loop0", "losetup --detach /dev/loop0"));
    assert_eq!((mount.mount_point.as_str(), mount.hint.as_str()), ("/mnt", "umount /mnt"));
    assert_eq!((mount.pid, mount.uid, mount.lease.as_str(), mount.since), (0, NO_USER, "", 0));
    assert_eq!((room.machine.calls(), room.machine.picture() == before), (String::new(), true));

    // The logout has the same sentences.
    let fault = fails(log_out(&room, Options::new()).await, Kind::InUse, "the disks are in use: ");
    for holder in &holders {
        assert!(fault.message().contains(&holder.message), "{fault}: {holder:?}");
    }
}

#[tokio::test]
async fn what_nothing_uses_has_no_holder_and_can_be_logged_out_of() {
    let (room, portals) = Room::logged_in().await;
    for portal in [String::new(), portals[0].to_string()] {
        assert!(check(&room, &portal).await.unwrap().is_empty());
    }
    assert_eq!((room.runs("--logout"), room.machine.sessions().len(), room.machine.maps().len()), (0, 2, 2));
    log_out(&room, Options::new()).await.unwrap();
    assert!(check(&room, "").await.unwrap().is_empty(), "there is no session any more");
    let other = "iqn.2003-01.com.example:other";
    fails(room.client().await.check_in_use(other, "").await, Kind::NoSuchNode, other);
}

#[tokio::test]
async fn one_portal_of_two_leaves_the_map_to_the_other() {
    let (room, portals) = Room::logged_in().await;
    room.machine.mount("dm-1", "/mnt");
    let all = check(&room, "").await.unwrap();
    assert_eq!(seen(&all), [(HolderKind::Mount, "dm-1", "dm-1 is mounted on /mnt")]);
    assert!(check(&room, &portals[1].to_string()).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_boots_session_is_a_holder_of_its_own() {
    let room = bare().await;
    room.machine.put("sys/firmware/ibft/target0/target-name", TARGET, 0o444);
    let holders = check(&room, "").await.unwrap();
    let [boot] = holders.as_slice() else { panic!("{holders:?}") };
    assert_eq!((boot.kind, boot.device.as_str()), (HolderKind::Boot, ""));
    assert!(boot.message.contains("the firmware booted from its target"), "{boot:?}");
    assert!(boot.hint.contains("not even with force"), "{boot:?}");
    let fault = fails(log_out(&room, within(5)).await, Kind::InUse, "the firmware");
    assert_eq!(fault.message(), boot.message);
}

#[tokio::test]
async fn what_an_earlier_logout_by_force_left_is_found_without_a_session() {
    let (room, _) = Room::logged_in().await;
    room.machine.mount("dm-0", "/srv/disk");
    log_out(&room, option("force", true)).await.unwrap();
    let holders = check(&room, "").await.unwrap();
    assert_eq!(seen(&holders), [(HolderKind::Mount, "dm-0", "dm-0 is mounted on /srv/disk")]);
    assert_eq!(holders[0].hint, "umount /srv/disk");
    assert_eq!(room.machine.maps(), ["mpatha"], "it stays where it is");
}
