//! The kernel's own count of those who have disks of the software initiator open.
//! Must not take a count that cannot be read, or that something else may be part of, for none.
//!
//! Each session holds a reference to the module `iscsi_tcp` for at least as long as it is seen in sysfs
//! (drivers/scsi/libiscsi.c, `iscsi_session_setup`, `iscsi_session_teardown`), and so does whoever has a disk, or its
//! SCSI generic or tape device, open: a program, a mount, a map, a claim (drivers/scsi/scsi.c, `scsi_device_get`). The
//! last to close one is the last who has it open or mapped. Linux 6.1 and 6.12 count so; the testbed shows it.

use std::collections::BTreeSet;

use crate::backend::kernel::sysfs::Sysfs;

/// Whether nothing at all has any of these disks or LUNs (`3:0:0:1`) open: then no program has to be looked into. `false`
/// where that is not known, and where anything has another session's disk open.
pub(super) fn is_nothing_open<'a>(
    sysfs: &Sysfs,
    disks: impl Iterator<Item = &'a String>,
    addresses: impl Iterator<Item = &'a String>,
) -> bool {
    let disks = disks.map(|disk| sysfs.session_of_disk(disk));
    let luns = addresses.map(|address| sysfs.session_of_lun(address));
    // A map is of no session: whoever has it open has not opened its paths.
    let Some(sessions) = disks.chain(luns).collect::<Option<BTreeSet<u32>>>() else { return false };
    let before = sysfs.software_sessions();
    before.is_superset(&sessions)
        && sysfs.references_to_software() == Some(before.len())
        // No session has another one's number: these were there, with their references, when those were counted.
        && sysfs.software_sessions() == before
}

#[cfg(test)]
mod tests {
    use std::{fs::create_dir_all, path::Path};

    use super::*;
    use crate::backend::{host::atomic::Dir, kernel::sysfs::tests::sample};

    fn set(root: &Path, path: &str, name: &str, text: &str) {
        let path = root.join(path);
        create_dir_all(&path).unwrap();
        Dir::open(&path).unwrap().replace(name, text.as_bytes(), 0o444).unwrap();
    }

    /// A machine with one session, whose disks are a path of a map and one without a map.
    fn machine() -> tempfile::TempDir {
        let folder = sample();
        let root = folder.path();
        set(root, "class/scsi_host/host3", "proc_name", "iscsi_tcp\n");
        set(root, "module/iscsi_tcp", "refcnt", "1\n");
        for lun in 0..2 {
            let device = format!("class/scsi_device/3:0:0:{lun}");
            create_dir_all(root.join(&device)).unwrap();
            let real = root.join(format!("devices/platform/host3/session1/target3:0:0/3:0:0:{lun}"));
            std::os::unix::fs::symlink(real, root.join(device).join("device")).unwrap();
        }
        folder
    }

    fn is_nothing(root: &Path, disks: &[&str], addresses: &[&str]) -> bool {
        let [disks, addresses] =
            [disks, addresses].map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        is_nothing_open(&Sysfs::new(root), disks.iter(), addresses.iter())
    }

    #[test]
    fn with_no_more_references_than_sessions_nothing_is_open() {
        let folder = machine();
        let root = folder.path();
        let is_nothing = || is_nothing(root, &["sda", "sdb"], &["3:0:0:0", "3:0:0:1"]);
        assert!(is_nothing());
        for count in ["2\n", "0\n", "-1\n", "", "one\n"] {
            set(root, "module/iscsi_tcp", "refcnt", count);
            assert!(!is_nothing(), "{count:?}");
        }
        std::fs::remove_dir_all(root.join("module")).unwrap();
        assert!(!is_nothing(), "as where it is no module");
    }

    #[test]
    fn what_is_not_a_disk_of_the_software_initiator_may_be_open() {
        let folder = machine();
        let root = folder.path();
        for (disk, address) in [("dm-0", "3:0:0:0"), ("sdz", "3:0:0:0"), ("sdb", "3:0:0:9")] {
            assert!(!is_nothing(root, &["sda", disk], &["3:0:0:1", address]));
        }
        // What another driver makes does not refer to the module.
        let (place, other) = ("devices/platform/host4/session2", "class/iscsi_session/session2");
        create_dir_all(root.join(place)).unwrap();
        set(root, other, "targetname", "iqn.2001-04.com.example:other\n");
        std::os::unix::fs::symlink(root.join(place), root.join(other).join("device")).unwrap();
        set(root, "class/scsi_host/host4", "proc_name", "qla4xxx\n");
        assert!(is_nothing(root, &["sdb"], &[]));
        set(root, "module/iscsi_tcp", "refcnt", "2\n");
        assert!(!is_nothing(root, &["sdb"], &[]), "the second is not that session's");
        set(root, "class/scsi_host/host4", "proc_name", "iscsi_tcp\n");
        assert!(is_nothing(root, &["sdb"], &[]));
    }
}
