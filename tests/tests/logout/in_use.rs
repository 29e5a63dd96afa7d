//! What keeps a logout away is named, with the device that it uses, and nothing is touched then.
//! Must not take a device that is open for one that is free.

use std::time::Instant;

use iscsi_initiator_dbus::{
    Kind,
    results::{LoginOutcome, LogoutOutcome},
};

use super::{left, log_out};
use crate::room::{Options, Room, SOON, TARGET, fails, option, within};

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
    option("force", true)
}

#[tokio::test]
async fn each_device_is_named_with_its_holder() {
    let room = room("").await;
    let mounts = format!("{}36 35 8:0 / /mnt rw - ext4 /dev/sda rw\n", crate::room::machine::ROOT);
    room.machine.put("proc/self/mountinfo", &mounts, 0o444);
    room.machine.put("sys/block/loop0/loop/backing_file", "/mnt/image\n", 0o444);
    room.machine.process(4711, "qemu-system-x86", "/dev/sdb");
    let words = "sda is mounted on /mnt; sda holds /mnt/image, which is the loop device loop0; \
                 sdb is held open by qemu-system-x86 (pid 4711)";
    stays(&room, Options::new(), words).await;
    let fault = log_out(&room, Options::new()).await.unwrap_err();
    let hint = "stop qemu-system-x86 (pid 4711), release the rest, then log out again: \
                losetup --detach /dev/loop0 && umount /mnt";
    assert_eq!(fault.next_step(), hint);
}

#[tokio::test]
async fn a_stack_is_released_from_its_top_by_the_commands_of_the_hint() {
    let room = room("").await;
    room.machine.stacked("sda", "dm-7", "guest-root", "LVM-abc");
    room.machine.stacked("sda", "dm-8", "guest-swap", "LVM-def");
    room.machine.stacked("dm-7", "dm-9", "my safe", "CRYPT-LUKS2-abc");
    let mounts =
        format!("{}36 35 253:9 / /srv/my\\040disk rw - ext4 /dev/dm-9 rw\n", crate::room::machine::ROOT);
    room.machine.put("proc/self/mountinfo", &mounts, 0o444);
    let swaps = "Filename Type Size Used Priority\n/dev/dm-8 partition 1 0 -2\n";
    room.machine.put("proc/swaps", swaps, 0o444);
    let fault = fails(log_out(&room, Options::new()).await, Kind::InUse, "of the volume group guest");
    let hint = "release them, then log out again: swapoff /dev/dm-8 && umount '/srv/my disk' && \
                cryptsetup close 'my safe' && vgchange --activate n guest";
    assert_eq!(fault.next_step(), hint);
    // By force swap space stays as well; the rest goes.
    let fault = fails(log_out(&room, forced()).await, Kind::InUse, "dm-8 is used as swap space");
    assert!(fault.next_step().ends_with(": swapoff /dev/dm-8"), "{fault}");
}

#[tokio::test]
async fn what_is_only_open_is_looked_at_again_within_the_callers_time() {
    let room = room("").await;
    room.machine.process(77, "blkid", "/dev/sda");
    let began = Instant::now();
    stays(&room, within(1), "sda is held open by blkid (pid 77)").await;
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

/// The logout is refused for these words, and everything is still up.
async fn stays_up(room: &Room, options: Options, words: &str) {
    let (devices, records) = (room.machine.picture_of("sys"), room.machine.picture_of("db"));
    let fault = fails(log_out(room, options).await, Kind::InUse, words);
    assert!(fault.next_step().contains("then log out again"), "{fault}");
    assert_eq!(room.runs("--logout"), 0);
    assert_eq!((room.machine.sessions().len(), room.machine.maps().len()), (2, 2));
    assert!(room.machine.picture_of("sys") == devices && room.machine.picture_of("db") == records);
    room.owes_nothing();
}

#[tokio::test]
async fn a_map_that_is_mounted_or_swapped_on_or_open_stays_with_all_its_paths() {
    let (room, _) = Room::logged_in().await;
    room.machine.mount("dm-1", "/mnt");
    stays_up(&room, Options::new(), "the disks are in use: dm-1 is mounted on /mnt").await;
    room.machine.unmount("/mnt");
    room.machine.swap("dm-0", true);
    stays_up(&room, Options::new(), "the disks are in use: dm-0 is used as swap space").await;
    room.machine.swap("dm-0", false);
    let pid = room.machine.hold("dm-0", "qemu-system-x86");
    let words = format!("the disks are in use: dm-0 is held open by qemu-system-x86 (pid {pid})");
    stays_up(&room, within(1), &words).await;
    room.machine.release(pid);
    left(&room, &log_out(&room, Options::new()).await.unwrap(), "");
}

#[tokio::test]
async fn a_path_below_a_map_may_be_open_as_well() {
    let (room, _) = Room::logged_in().await;
    let pid = room.machine.hold("sdc", "dd");
    stays_up(&room, within(1), &format!("sdc is held open by dd (pid {pid})")).await;
}

#[tokio::test]
async fn a_glance_at_a_disk_is_waited_for() {
    let (room, _) = Room::logged_in().await;
    let pid = room.machine.hold("dm-0", "blkid");
    let machine = room.machine.clone();
    let glance = async {
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        machine.release(pid);
    };
    let (entries, ()) = tokio::join!(log_out(&room, Options::new()), glance);
    left(&room, &entries.unwrap(), "");
}

/// What a forced logout says of `mpatha`, which this keeps.
#[track_caller]
fn says_what_stays(entries: &[iscsi_initiator_dbus::results::Logout], words: &str, hint: &str) {
    assert_eq!(entries.len(), 2);
    for entry in entries {
        assert_eq!(entry.outcome, LogoutOutcome::LoggedOut, "{entry:?}");
        assert!(
            entry.message.starts_with("still there: the map mpatha") && entry.error.is_empty(),
            "{entry:?}"
        );
        assert!(entry.message.contains(words) && entry.hint.contains(hint), "{entry:?}");
    }
}

#[tokio::test]
async fn by_force_the_sessions_end_under_what_uses_the_disks() {
    let (room, _) = Room::logged_in().await;
    room.machine.hold("dm-0", "qemu-system-x86");
    let entries = log_out(&room, forced()).await.unwrap();
    says_what_stays(&entries, "a program may have it open", "fuser --verbose /dev/mapper/mpatha");
    assert!(room.machine.sessions().is_empty() && room.machine.disks().is_empty());
    // What is open keeps its map; the other one is gone.
    assert_eq!(room.machine.maps(), ["mpatha"]);
    let again = log_out(&room, Options::new()).await.unwrap();
    let told = |entry: &iscsi_initiator_dbus::results::Logout| {
        entry.outcome == LogoutOutcome::NotLoggedIn
            && entry.message.starts_with("an earlier logout left the map mpatha")
    };
    assert!(again.iter().all(told), "{again:?}");
    // Its paths come back to it.
    let entries = room.login(Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.outcome == LoginOutcome::LoggedIn), "{entries:?}");
    assert_eq!(room.machine.maps(), ["mpatha", "mpathb"]);
}

#[tokio::test]
async fn a_login_that_is_refused_leaves_what_a_forced_logout_left() {
    let (room, _) = Room::logged_in().await;
    room.machine.mount("dm-0", "/srv/disk");
    log_out(&room, forced()).await.unwrap();
    room.machine.unmount("/srv/disk");
    room.machine.open_iscsid_socket(false);
    let refused = room.login(Options::new()).await;
    assert_eq!(room.machine.maps(), ["mpatha"], "{refused:?}");
    refused.unwrap_err();
    room.machine.open_iscsid_socket(true);
    room.login(Options::new()).await.unwrap();
}

#[tokio::test]
async fn what_a_forced_logout_breaks_on_disks_without_a_map_is_told() {
    let (room, _) = Room::with_gateway().await;
    room.machine.stop_multipathd();
    room.login(Options::new()).await.unwrap();
    let disks = room.machine.disks();
    room.machine.mount(&disks[0], "/srv/old;disk");
    let entries = log_out(&room, forced()).await.unwrap();
    assert!(room.machine.sessions().is_empty() && room.machine.disks().is_empty());
    for entry in entries {
        let what = format!("broken: {} is mounted on /srv/old;disk", disks[0]);
        assert!(entry.outcome == LogoutOutcome::LoggedOut && entry.message.ends_with(&what), "{entry:?}");
        assert_eq!(entry.hint, "release them: umount '/srv/old;disk'");
    }
    // Where nothing was on them, there is nothing to tell.
    room.machine.unmount("/srv/old;disk");
    room.login(Options::new()).await.unwrap();
    let entries = log_out(&room, forced()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.message.is_empty() && entry.hint.is_empty()), "{entries:?}");
}

#[tokio::test]
async fn what_a_forced_logout_left_is_shown_and_goes_with_a_later_logout() {
    let (room, _) = Room::logged_in().await;
    room.machine.mount("dm-0", "/srv/disk");
    let entries = log_out(&room, forced()).await.unwrap();
    let hint = format!("release it: umount /srv/disk && iscsictl logout {TARGET}");
    says_what_stays(&entries, "dm-0 is mounted on /srv/disk", &hint);

    let paths = room.client().await.list_paths(Options::new()).await.unwrap();
    let shown: Vec<_> =
        paths.iter().map(|path| (path.map.as_str(), path.sid, path.target.as_str())).collect();
    assert_eq!(shown, [("mpatha", 0, TARGET)]);
    assert!(paths[0].message.contains("mpatha outlived its sessions"), "{paths:?}");
    assert!(paths[0].hint.ends_with(&format!(": iscsictl logout {TARGET}")), "{paths:?}");
    let findings = room.client().await.examine(Options::new()).await.unwrap();
    let finding = findings.iter().find(|finding| finding.subject == "mpatha").unwrap();
    assert!(finding.detail.contains("dm-0 is mounted on /srv/disk") && finding.hint == hint, "{finding:?}");

    let again = log_out(&room, Options::new()).await.unwrap();
    assert!(again.iter().all(|entry| entry.hint == hint && entry.message.contains("mpatha")), "{again:?}");
    assert_eq!(room.machine.maps(), ["mpatha"]);
    room.machine.unmount("/srv/disk");
    let gone = log_out(&room, Options::new()).await.unwrap();
    for entry in &gone {
        assert_eq!(entry.outcome, LogoutOutcome::NotLoggedIn);
        assert_eq!(entry.message, "removed what an earlier logout left: the map mpatha");
    }
    assert!(room.machine.maps().is_empty());
    let bare = log_out(&room, Options::new()).await.unwrap();
    assert!(bare.iter().all(|entry| entry.message.is_empty()), "{bare:?}");
}

#[tokio::test]
async fn what_a_forced_logout_left_of_a_target_that_is_forgotten_goes_as_well() {
    let (room, _) = Room::with_gateway().await;
    // A login that does not wait has not learned what its LUNs are.
    room.login(option("wait", false)).await.unwrap();
    crate::room::until("both maps are there", || room.machine.maps().len() == 2).await;
    let pid = room.machine.hold("dm-1", "dd");
    log_out(&room, forced()).await.unwrap();
    assert_eq!(room.machine.maps().len(), 1);
    room.machine.remove("db/nodes");
    room.machine.release(pid);
    let gone = log_out(&room, Options::new()).await.unwrap();
    let [entry] = gone.as_slice() else { panic!("{gone:?}") };
    assert!(entry.portal.is_empty() && entry.message.starts_with("removed"), "{entry:?}");
    assert!(room.machine.maps().is_empty());
    fails(log_out(&room, Options::new()).await, Kind::NoSuchNode, TARGET);
}

#[tokio::test]
async fn a_login_takes_away_what_nothing_has_open_any_more() {
    let (room, _) = Room::logged_in().await;
    let pid = room.machine.hold("dm-0", "dd");
    log_out(&room, forced()).await.unwrap();
    room.machine.release(pid);
    assert_eq!(room.machine.maps(), ["mpatha"]);
    let entries = room.login(Options::new()).await.unwrap();
    assert!(entries.iter().all(|entry| entry.maps.len() == 2 && entry.message.is_empty()), "{entries:?}");
    left(&room, &log_out(&room, Options::new()).await.unwrap(), "");
    assert!(room.machine.maps().is_empty());
}
