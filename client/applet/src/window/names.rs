//! What a disk is called in `/dev`: names that stay over a restart.

use iscsi_initiator_dbus::objects::Disk;
use iscsi_initiator_model::overview::disk_name;

/// The path to give to `mount` or a virtual machine. With a map, one that never leads to a single path.
pub(super) fn path(disk: &Disk) -> Option<String> {
    // As udev's scsi_id and multipath have it: the kind of the identifier is a digit.
    let kinds = [("naa.", '3'), ("eui.", '2')];
    let serial = kinds.into_iter().find_map(|(kind, digit)| {
        let number = disk.wwid.strip_prefix(kind)?;
        let is_number = !number.is_empty() && number.chars().all(|c| c.is_ascii_hexdigit());
        is_number.then(|| format!("{digit}{number}"))
    });
    match (serial, disk.map.as_str()) {
        (Some(serial), "") => Some(format!("/dev/disk/by-id/scsi-{serial}")),
        (Some(serial), _) => Some(format!("/dev/disk/by-id/dm-uuid-mpath-{serial}")),
        (None, "") => {
            let name = disk_name(disk);
            let path = disk.paths.iter().find(|path| path.device == name && !name.is_empty())?;
            Some(format!("/dev/disk/by-path/ip-{}-iscsi-{}-lun-{}", path.portal, path.target, path.lun))
        }
        (None, map) => Some(format!("/dev/mapper/{map}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_a_name_that_stays() {
        let mut disk = Disk::default();
        assert_eq!(path(&disk), None);
        disk.wwid = "naa.6001405abc".to_owned();
        assert_eq!(path(&disk).as_deref(), Some("/dev/disk/by-id/scsi-36001405abc"));
        disk.map = "mpatha".to_owned();
        assert_eq!(path(&disk).as_deref(), Some("/dev/disk/by-id/dm-uuid-mpath-36001405abc"));
        disk.wwid = "t10.LIO-ORG disk".to_owned();
        assert_eq!(path(&disk).as_deref(), Some("/dev/mapper/mpatha"));
        disk.wwid = "naa.../../../etc".to_owned();
        disk.map = String::new();
        assert_eq!(path(&disk), None);
    }
}
