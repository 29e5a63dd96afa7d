//! Tests of the uses that are found on a fake machine.
//! Must not read the host's own tables.

use super::*;
use crate::backend::{host::atomic::Dir, kernel::sysfs};

fn world() -> (tempfile::TempDir, Usage) {
    let folder = sysfs::tests::sample();
    std::fs::create_dir_all(folder.path().join("proc/self")).unwrap();
    let usage =
        Usage::new(&Sysfs::new(folder.path()), &folder.path().join("proc"), &folder.path().join("dev"));
    (folder, usage)
}

fn set(folder: &tempfile::TempDir, path: &str, name: &str, text: &str) {
    let path = folder.path().join(path);
    std::fs::create_dir_all(&path).unwrap();
    Dir::open(&path).unwrap().replace(name, text.as_bytes(), 0o644).unwrap();
}

/// A device-mapper device on another.
fn stack(folder: &tempfile::TempDir, below: &str, device: &str, name: &str, uuid: &str) {
    set(folder, &format!("block/{device}/dm"), "name", name);
    set(folder, &format!("block/{device}/dm"), "uuid", uuid);
    set(folder, &format!("block/{device}"), "dev", &format!("253:{}", device.trim_start_matches("dm-")));
    let class = folder.path().join("class/block");
    std::os::unix::fs::symlink(folder.path().join("block").join(device), class.join(device)).unwrap();
    std::fs::create_dir_all(class.join(below).join("holders").join(device)).unwrap();
}

fn uses(usage: &Usage, question: Question) -> Uses {
    usage.uses(usage.look_at(vec![question], &[]).pop().unwrap())
}

fn of(usage: &Usage, device: &str) -> Vec<String> {
    uses(usage, Question { devices: vec![device.to_owned()], ..Question::default() })
        .found
        .iter()
        .map(ToString::to_string)
        .collect()
}

/// What every machine has mounted.
const ROOT: &str = "20 1 253:9 / / rw - ext4 /dev/root rw\n";

fn mounted(usage: &Usage, device: &str) -> BTreeSet<String> {
    usage.carried(&[device.to_owned()]).unwrap().mounts
}

#[test]
fn a_free_disk_is_free() {
    assert_eq!(of(&world().1, "sdb"), [""; 0]);
}

#[test]
fn a_mount_and_a_swap_are_named() {
    let (folder, usage) = world();
    set(&folder, "proc/self", "mountinfo", "36 35 8:16 / /mnt rw,noatime shared:1 - ext4 /dev/sdb rw\n");
    assert_eq!(of(&usage, "sdb"), ["sdb is mounted on /mnt"]);
    set(&folder, "proc", "swaps", "Filename Type Size Used Priority\n/dev/sdb partition 1 0 -2\n");
    assert_eq!(of(&usage, "sdb"), ["sdb is mounted on /mnt", "sdb is used as swap space"]);
    set(&folder, "proc", "swaps", "Filename Type Size Used Priority\n/mnt/swap file 1 0 -2\n");
    assert_eq!(of(&usage, "sdb"), ["sdb is mounted on /mnt", "sdb holds the swap file /mnt/swap"]);
}

#[test]
fn a_mount_that_only_another_process_sees_is_told_with_it() {
    let (folder, usage) = world();
    set(&folder, "proc/1", "mountinfo", "");
    set(&folder, "proc/77", "mountinfo", "36 35 8:16 / /mnt rw - ext4 /dev/sdb rw\n");
    set(&folder, "proc/77", "comm", "sh\n");
    std::fs::create_dir_all(folder.path().join("proc/77/ns")).unwrap();
    std::os::unix::fs::symlink("mnt:[1]", folder.path().join("proc/77/ns/mnt")).unwrap();
    assert_eq!(of(&usage, "sdb"), ["sdb is mounted on /mnt in the mount namespace of sh (pid 77)"]);
    set(&folder, "proc/1", "mountinfo", "36 35 8:16 / /mnt rw - ext4 /dev/sdb rw\n");
    assert_eq!(of(&usage, "sdb"), ["sdb is mounted on /mnt"]);
}

#[test]
fn what_is_stacked_is_named_by_its_kind_all_the_way_up() {
    let (folder, usage) = world();
    stack(&folder, "sdb", "dm-1", "vg0-lv0", "LVM-abc");
    stack(&folder, "dm-1", "dm-2", "safe", "CRYPT-LUKS2-abc");
    set(
        &folder,
        "proc/self",
        "mountinfo",
        &format!("{ROOT}36 35 253:2 / /mnt rw - ext4 /dev/mapper/safe rw\n"),
    );
    set(&folder, "block/loop0/loop", "backing_file", "/mnt/image\n");
    assert_eq!(
        of(&usage, "sdb"),
        [
            "dm-1 is open as the encrypted device safe",
            "dm-2 is mounted on /mnt",
            "dm-2 holds /mnt/image, which is the loop device loop0",
            "sdb is part of the logical volume lv0 of the volume group vg0"
        ]
    );
    assert_eq!(mounted(&usage, "sdb"), BTreeSet::from(["/mnt".to_owned()]));
}

#[test]
fn udevs_look_is_told_from_a_use_by_its_cgroup() {
    let (folder, usage) = world();
    let process = |pid: u32, cgroup: &str| {
        let place = format!("proc/{pid}");
        set(&folder, &place, "comm", "(udev-worker)\n");
        set(&folder, &place, "cgroup", cgroup);
        set(&folder, &place, "maps", "7f00-7f01 rw-s 00000000 00:05 300 /dev/sdb\n");
    };
    process(7, "0::/system.slice/systemd-udevd.service/udev\n");
    assert_eq!(of(&usage, "sdb"), ["sdb is being probed by udev's (udev-worker) (pid 7)"]);
    process(8, "0::/user.slice/system.slice/systemd-udevd.service\n");
    assert_eq!(of(&usage, "sdb").first().unwrap(), "sdb is held open by (udev-worker) (pid 8)");
}

#[test]
fn programs_are_looked_into_only_where_the_kernel_counts_one_that_has_a_disk_open() {
    let (folder, usage) = world();
    set(&folder, "dev", "sdb", "");
    set(&folder, "class/scsi_host/host3", "proc_name", "iscsi_tcp\n");
    set(&folder, "proc/7", "comm", "dd\n");
    set(&folder, "proc/7", "maps", "7f00-7f01 rw-s 00000000 00:05 300 /dev/sdb\n");
    // One is the session's.
    for (count, found) in [("1\n", None), ("2\n", Some("sdb is held open by dd (pid 7)"))] {
        set(&folder, "module/iscsi_tcp", "refcnt", count);
        let question = Question { devices: vec!["sdb".to_owned()], ..Question::default() };
        let uses = uses(&usage, question);
        assert_eq!(told(&uses), Vec::from_iter(found), "{count}");
        assert_eq!(uses.claims.is_empty(), found.is_some());
    }
}

#[test]
fn a_btrfs_is_found_by_its_members_and_by_its_source() {
    let (folder, usage) = world();
    std::fs::create_dir_all(folder.path().join("fs/btrfs/uu-id/devices/sdb")).unwrap();
    set(&folder, "proc/self", "mountinfo", &format!("{ROOT}36 35 0:41 / /mnt rw - btrfs /dev/sdb rw\n"));
    assert_eq!(of(&usage, "sdb"), ["sdb is mounted on /mnt", "sdb is part of the mounted btrfs uu-id"]);
    // The mount names one member; on the other is the same file system.
    std::fs::create_dir_all(folder.path().join("fs/btrfs/uu-id/devices/sda")).unwrap();
    assert_eq!(mounted(&usage, "sda"), BTreeSet::from(["/mnt".to_owned()]));
}

#[test]
fn a_place_that_is_no_text_hides_no_other() {
    let (folder, usage) = world();
    let bytes = b"20 1 253:9 / / rw - ext4 /dev/root rw\n35 1 8:0 / /home/\xff rw - fuse x rw\n36 35 8:16 / /mnt rw - ext4 /dev/sdb rw\n";
    Dir::open(&folder.path().join("proc/self")).unwrap().replace("mountinfo", bytes, 0o444).unwrap();
    assert_eq!(of(&usage, "sdb"), ["sdb is mounted on /mnt"]);
    assert!(usage.carried(&[]).is_some());
    Dir::open(&folder.path().join("proc/self")).unwrap().replace("mountinfo", b"", 0o444).unwrap();
    assert!(usage.carried(&[]).is_none());
}

#[test]
fn who_cannot_be_looked_into_may_use_it() {
    let (folder, usage) = world();
    set(&folder, "proc/7", "comm", "closed\n");
    set(&folder, "proc/7", "fd", "no folder");
    assert_eq!(of(&usage, "sdb"), ["sdb may be held open by closed (pid 7), which could not be inspected"]);
}

/// A LUN's generic device, which has the number of /dev/null.
fn generic(folder: &tempfile::TempDir) -> Question {
    set(folder, "class/scsi_device/3:0:0:0/device/scsi_generic/sg0", "dev", "1:3\n");
    Question { addresses: vec!["3:0:0:0".to_owned()], ..Question::default() }
}

/// What is open in this folder of a process or a thread.
fn open_in(folder: &tempfile::TempDir, place: &str, target: Option<&str>) {
    set(folder, place, "maps", "");
    let fd = folder.path().join(place).join("fd");
    std::fs::create_dir_all(&fd).unwrap();
    if let Some(target) = target {
        std::os::unix::fs::symlink(target, fd.join("3")).unwrap();
    }
}

fn told(uses: &Uses) -> Vec<String> {
    uses.found.iter().map(ToString::to_string).collect()
}

/// A process of a user who could not open a disk, with its table of descriptors.
fn strange(folder: &tempfile::TempDir, pid: u32, uid: u32, descriptors: usize, target: &str) {
    let place = format!("proc/{pid}");
    set(folder, &place, "comm", "strange\n");
    set(folder, &place, "maps", "");
    let status = format!(
        "Name:\tstrange\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nGid:\t{uid}\nFDSize:\t{descriptors}\nGroups:\t\n"
    );
    set(folder, &place, "status", &status);
    let fd = folder.path().join(&place).join("fd");
    std::fs::create_dir_all(&fd).unwrap();
    for number in 0..descriptors {
        std::os::unix::fs::symlink(target, fd.join(number.to_string())).unwrap();
    }
}

/// A disk that root and its group may open.
fn private(folder: &tempfile::TempDir) {
    set(folder, "dev", "sdb", "");
    let path = folder.path().join("dev/sdb");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o660)).unwrap();
}

#[test]
fn a_user_who_has_more_open_than_can_be_looked_at_does_not_keep_the_disks_in_use() {
    let (folder, usage) = world();
    private(&folder);
    let opens = 1_100;
    strange(&folder, 7, 4_000_000, opens, "/dev/null");
    strange(&folder, 8, 4_000_001, 3, "socket:[1]");
    assert_eq!(of(&usage, "sdb"), [""; 0]);
    // Whoever could open the disk is waited for, and is named.
    std::fs::set_permissions(
        folder.path().join("dev/sdb"),
        std::os::unix::fs::PermissionsExt::from_mode(0o666),
    )
    .unwrap();
    std::fs::remove_dir_all(folder.path().join("proc/8/fd")).unwrap();
    set(&folder, "proc/8", "fd", "no folder");
    assert_eq!(
        of(&usage, "sdb"),
        ["sdb may be held open by strange (pid 8, uid 4000001), which could not be inspected"]
    );
}

#[test]
fn what_a_user_has_open_beside_sockets_is_seen_however_many_those_are() {
    let (folder, usage) = world();
    private(&folder);
    set(&folder, "class/scsi_device/3:0:0:0/device/scsi_generic/sg0", "dev", "1:3\n"); // /dev/null's, for the test
    strange(&folder, 7, 4_000_000, 1_100, "socket:[1]");
    std::os::unix::fs::symlink("/dev/null", folder.path().join("proc/7/fd/999999")).unwrap();
    let Uses { found, .. } = uses(
        &usage,
        Question {
            devices: vec!["sdb".to_owned()],
            addresses: vec!["3:0:0:0".to_owned()],
            ..Question::default()
        },
    );
    assert_eq!(
        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["sg0 is held open by strange (pid 7)"]
    );
}

#[test]
fn what_any_user_may_mount_is_not_taken_for_the_device_that_it_names() {
    let (folder, usage) = world();
    for kind in ["tmpfs", "fuse.sshfs", "overlay"] {
        let mounts = format!("{ROOT}36 35 0:41 / /mnt rw - {kind} /dev/sdb rw\n");
        set(&folder, "proc/self", "mountinfo", &mounts);
        assert_eq!(of(&usage, "sdb"), [""; 0], "{kind}");
    }
}

#[test]
fn a_namespace_with_more_mounts_than_are_read_hides_nothing_and_costs_no_memory() {
    let (folder, usage) = world();
    set(&folder, "proc/1", "mountinfo", ROOT);
    set(&folder, "proc/77", "comm", "sh\n");
    let line = format!("36 35 0:41 / /{} rw - tmpfs x rw\n", "x".repeat(4000));
    let lines = line.repeat((17 << 20) / line.len());
    let last = "37 35 8:16 / /mnt rw - ext4 /dev/sdb rw\n";
    set(&folder, "proc/77", "mountinfo", &format!("{last}{lines}"));
    std::fs::create_dir_all(folder.path().join("proc/77/ns")).unwrap();
    std::os::unix::fs::symlink("mnt:[1]", folder.path().join("proc/77/ns/mnt")).unwrap();
    assert_eq!(of(&usage, "sdb"), ["sdb is mounted on /mnt in the mount namespace of sh (pid 77)"]);
    let kept = usage.tables(&["sdb".to_owned()], Namespaces::Of(&[77]));
    assert_eq!(kept.mounts.len(), 1, "only the mounts of the device are kept");
}

#[test]
fn a_program_at_the_generic_device_of_a_lun_uses_it() {
    let (folder, usage) = world();
    let lun = generic(&folder);
    set(&folder, "proc/7", "comm", "qemu\n");
    open_in(&folder, "proc/7", Some("/dev/null"));
    assert_eq!(told(&uses(&usage, lun)), ["sg0 is held open by qemu (pid 7)"]);
}

#[test]
fn a_program_whose_first_thread_has_ended_is_seen_by_another() {
    let (folder, usage) = world();
    let lun = generic(&folder);
    let status = "Name:\tqemu\nState:\tZ (zombie)\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n";
    set(&folder, "proc/7", "status", status);
    set(&folder, "proc/7", "comm", "qemu\n");
    open_in(&folder, "proc/7", None);
    open_in(&folder, "proc/7/task/7", None);
    open_in(&folder, "proc/7/task/8", Some("/dev/null"));
    set(&folder, "proc/7/task/8", "status", "Name:\tqemu\nState:\tS (sleeping)\n");
    assert_eq!(told(&uses(&usage, lun)), ["sg0 is held open by qemu (pid 7)"]);
}

#[test]
fn each_question_gets_what_is_its_own_of_one_look() {
    let (folder, usage) = world();
    let lun = generic(&folder);
    // That of /dev/zero.
    set(&folder, "class/scsi_device/3:0:0:1/device/scsi_generic/sg1", "dev", "1:5\n");
    let other = Question { addresses: vec!["3:0:0:1".to_owned()], ..Question::default() };
    let disk = |name: &str| Question { devices: vec![name.to_owned()], ..Question::default() };
    set(&folder, "proc/7", "comm", "qemu\n");
    open_in(&folder, "proc/7", Some("/dev/null"));
    set(&folder, "proc/self", "mountinfo", "36 35 8:16 / /mnt rw - ext4 /dev/sdb rw\n");
    let all = usage.look_at(vec![other, disk("sdb"), lun.clone(), disk("sda")], &[]);
    let found: Vec<String> = all.into_iter().map(|looked| told(&usage.uses(looked)).join("; ")).collect();
    let map = "sda is a path of the multipath map mpatha";
    assert_eq!(found, ["", "sdb is mounted on /mnt", "sg0 is held open by qemu (pid 7)", map]);
    let mut skipped = usage.look_at(vec![lun], &[7]);
    assert_eq!(told(&usage.uses(skipped.remove(0))), [""; 0], "who checks its paths is passed over");
}

#[test]
fn who_is_waited_for_is_decided_for_each_disk_by_itself() {
    let (folder, usage) = world();
    private(&folder);
    let generic = generic(&folder);
    // Anyone may open the one device, and not the other.
    set(&folder, "dev", "sg0", "");
    let path = folder.path().join("dev/sg0");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let disk = Question { devices: vec!["sdb".to_owned()], ..Question::default() };
    let looked = usage.look_at(vec![disk.clone(), generic, disk], &[]);
    let groups = usage.groups(&looked);
    let numbers: Vec<_> = groups.iter().map(|group| group.numbers.clone()).collect();
    assert_eq!(numbers, [vec![0, 2], vec![1]]);
    assert!(!groups[0].wanted.has("sg0") && groups[1].wanted.has("sg0"));
}

#[test]
fn a_disk_that_nothing_uses_stays_claimed_until_the_claims_go() {
    let (folder, usage) = world();
    set(&folder, "dev", "sdb", "");
    let Uses { found, claims, .. } =
        uses(&usage, Question { devices: vec!["sdb".to_owned()], ..Question::default() });
    assert!(found.is_empty());
    assert_eq!(claims.0.len(), 1);
}
