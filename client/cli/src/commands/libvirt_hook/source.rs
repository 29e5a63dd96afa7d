//! What the path of a disk says, without looking whether it is there.

use iscsi_initiator_dbus::{Iqn, results::Path};

/// Where udev has a link for each path of a disk.
const BY_PATH: &str = "/dev/disk/by-path/";

/// Names that a disk of a target may have; whether it is one, the daemon knows.
const ASKED: [&str; 5] = [
    "/dev/mapper/",
    "/dev/disk/by-id/wwn-0x",
    "/dev/disk/by-id/scsi-",
    "/dev/disk/by-id/dm-uuid-mpath-",
    "/dev/disk/by-id/dm-name-",
];

/// What a path says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A LUN of this target.
    Lun(Iqn),
    /// A disk that may be a target's.
    Asked,
    /// Nothing that has to do with iSCSI.
    Other,
}

impl Source {
    /// Of this path.
    pub(super) fn of(path: &str) -> Self {
        if let Some((target, _)) = by_path(path) {
            return Self::Lun(target);
        }
        let is_asked = ASKED.iter().any(|begin| path.len() > begin.len() && path.starts_with(begin));
        if is_asked { Self::Asked } else { Self::Other }
    }
}

/// The target and the LUN of `ip-192.0.2.21:3260-iscsi-iqn.2003-01.com.example:disks-lun-0`. A name may have `-lun-` in
/// it.
fn by_path(path: &str) -> Option<(Iqn, u64)> {
    let name = without_partition(path.strip_prefix(BY_PATH)?);
    let (portal, rest) = name.split_once("-iscsi-")?;
    let (target, lun) = rest.rsplit_once("-lun-")?;
    portal.contains("ip-").then_some(())?;
    Some((target.parse().ok()?, lun.parse().ok()?))
}

fn without_partition(path: &str) -> &str {
    let split = path.rsplit_once("-part");
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    split.filter(|(_, number)| is_number(number)).map_or(path, |(disk, _)| disk)
}

/// Whether this path of a target is one of the disk that is named so.
pub(super) fn is_of(path: &Path, source: &str) -> bool {
    if let Some((target, lun)) = by_path(source) {
        return path.lun == lun && path.target.to_lowercase() == target.canonical();
    }
    let name = without_partition(source.strip_prefix("/dev/").unwrap_or(source));
    let name =
        name.strip_prefix("disk/by-id/dm-name-").or_else(|| name.strip_prefix("mapper/")).unwrap_or(name);
    if name == path.map || name == path.map_device || name == path.device {
        return !name.is_empty();
    }
    let digits = path.wwid.split_once('.').map_or("", |(_, digits)| digits);
    digits.len() >= 16 && name.to_ascii_lowercase().ends_with(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "iqn.2003-01.com.example:a-lun-1";
    const DIGITS: &str = "6001405a1b2c3d4e5f60718293a4b5c6";

    #[test]
    fn a_link_by_path_names_its_target_also_where_the_name_looks_like_the_end_of_it() {
        for portal in ["ip-192.0.2.21:3260", "ip-2001:db8::21:3260", "pci-0000:01:00.0-ip-192.0.2.21:3260"] {
            for part in ["", "-part2"] {
                let path = format!("{BY_PATH}{portal}-iscsi-{TARGET}-lun-0{part}");
                assert_eq!(Source::of(&path), Source::Lun(TARGET.parse().unwrap()), "{path}");
            }
        }
    }

    #[test]
    fn names_by_identifier_and_of_maps_are_asked_for_and_no_others() {
        for asked in ["/dev/mapper/mpatha", &format!("/dev/disk/by-id/wwn-0x{DIGITS}")] {
            assert_eq!(Source::of(asked), Source::Asked);
        }
        for other in [
            "",
            "/dev/mapper/",
            "/dev/vg/lv",
            "/dev/sda",
            "/srv/disk.img",
            "/dev/disk/by-id/ata-disk",
            "/dev/disk/by-path/pci-0000:00:1f.2-ata-1",
            "/dev/disk/by-path/ip-192.0.2.21:3260-iscsi-nonsense-lun-0",
            "/dev/disk/by-path/ip-192.0.2.21:3260-iscsi-iqn.2003-01.com.example:a-lun-x",
        ] {
            assert_eq!(Source::of(other), Source::Other, "{other}");
        }
    }

    #[test]
    fn a_disk_is_known_by_each_of_its_names() {
        let mut path = Path::default();
        path.target = TARGET.to_uppercase();
        (path.lun, path.device, path.map, path.map_device) =
            (3, "sdb".to_owned(), "mpatha".to_owned(), "dm-0".to_owned());
        path.wwid = format!("naa.{DIGITS}");
        for name in [
            "/dev/mapper/mpatha",
            "/dev/mapper/mpatha-part1",
            "/dev/disk/by-id/dm-name-mpatha",
            &format!("/dev/disk/by-id/dm-uuid-mpath-3{DIGITS}"),
            &format!("/dev/disk/by-id/wwn-0x{DIGITS}-part1"),
            &format!("/dev/disk/by-id/scsi-3{}", DIGITS.to_uppercase()),
            &format!("{BY_PATH}ip-192.0.2.21:3260-iscsi-{TARGET}-lun-3"),
            "/dev/sdb",
        ] {
            assert!(is_of(&path, name), "{name}");
        }
        for name in [
            "/dev/mapper/mpathb",
            "/dev/mapper/",
            &format!("{BY_PATH}ip-192.0.2.21:3260-iscsi-{TARGET}-lun-4"),
            "/dev/disk/by-id/wwn-0x6001405",
        ] {
            assert!(!is_of(&path, name), "{name}");
        }
        assert!(!is_of(&Path::default(), "/dev/mapper/"), "a session without a LUN");
    }
}
