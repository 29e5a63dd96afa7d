//! Which targets a disk is of, by a path below `/dev` that need not be there now: by what sessions show, and by what was
//! remembered of logins.
//! Must not open a device, or follow a link.

use std::collections::BTreeSet;

use iscsi_initiator_dbus::fault::Result;

use crate::{
    backend::{host::threads::reading, kernel::sysfs::Disk},
    engine::{Engine, state::reader::Parts},
};

/// What a path says of its disk.
#[derive(Debug, Default, PartialEq, Eq)]
struct Named {
    /// As the kernel has it: `naa.6001405…`.
    identifier: Option<String>,
    /// The name of a multipath map.
    map: Option<String>,
    /// The kernel's name: `sda`, `dm-0`.
    kernel: Option<String>,
}

/// The targets that have the disk of this path, or had it at their last login; in lower case.
pub(in crate::engine) async fn targets_of(engine: &Engine, path: &str) -> Result<BTreeSet<String>> {
    let mut named = Named::by(path);
    let (known, multipath) = (engine.known_luns.clone(), engine.multipath.clone());
    let map = named.map.clone().filter(|_| named.identifier.is_none());
    let remembered = reading(move || {
        // A map has the name that multipathd gave it when it was first made.
        let bound = map.and_then(|map| multipath.bound_to(&map).ok().flatten());
        (bound.and_then(|wwid| identifier(&wwid)), known.all())
    });
    let (bound, known) = remembered.await?;
    named.identifier = named.identifier.or(bound);
    let has = |wwid: &String| named.identifier.as_ref() == Some(wwid);
    let mut targets: BTreeSet<String> = known
        .into_iter()
        .filter(|(_, wwids)| wwids.values().any(has))
        .map(|(target, _)| target.canonical())
        .collect();
    for session in engine.state.look(Parts::SESSIONS).await?.all_sessions() {
        if session.disks.iter().any(|disk| named.is_of(disk)) {
            targets.insert(session.target.to_lowercase());
        }
    }
    Ok(targets)
}

impl Named {
    fn by(path: &str) -> Self {
        let path = without_partition(path);
        let of_id = |wwid: &str| Self { identifier: identifier(wwid), ..Self::default() };
        let of_map = |name: &str| Self { map: Some(name.to_owned()), ..of_id(name) };
        let Some(path) = path.strip_prefix("/dev/") else { return Self::default() };
        if let Some(name) = path.strip_prefix("mapper/").or_else(|| path.strip_prefix("disk/by-id/dm-name-"))
        {
            return of_map(name);
        }
        if let Some(wwid) =
            path.strip_prefix("disk/by-id/dm-uuid-mpath-").or_else(|| path.strip_prefix("disk/by-id/scsi-"))
        {
            return of_id(wwid);
        }
        if let Some(digits) = path.strip_prefix("disk/by-id/wwn-0x") {
            return of_id(&format!("3{digits}"));
        }
        let kernel = (!path.contains('/')).then(|| path.to_owned());
        Self { kernel, ..Self::default() }
    }

    fn is_of(&self, disk: &Disk) -> bool {
        let map = disk.map.as_ref();
        self.identifier.as_ref().is_some_and(|wwid| *wwid == disk.wwid)
            || self.map.as_ref().is_some_and(|name| map.is_some_and(|map| map.name == *name))
            || self
                .kernel
                .as_ref()
                .is_some_and(|name| *name == disk.name || map.is_some_and(|map| map.device == *name))
    }
}

/// udev's link for a partition is that of its disk, and `-part1`.
fn without_partition(path: &str) -> &str {
    let split = path.rsplit_once("-part");
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    split.filter(|(_, number)| is_number(number)).map_or(path, |(disk, _)| disk)
}

/// The kernel's form of what udev and multipath call a disk by: the kind of its identifier (SPC-4), and its digits.
fn identifier(wwid: &str) -> Option<String> {
    let (kind, digits) = wwid.split_at_checked(1)?;
    let is_hex = digits.len() >= 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let form = match kind {
        "3" => "naa",
        "2" => "eui",
        _ => return None,
    };
    is_hex.then(|| format!("{form}.{}", digits.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGITS: &str = "6001405a1b2c3d4e5f60718293a4b5c6";

    #[test]
    fn the_links_of_udev_and_multipath_name_the_disk_by_its_identifier_or_its_map() {
        let naa = Some(format!("naa.{DIGITS}"));
        for link in ["wwn-0x", "scsi-3", "dm-uuid-mpath-3"] {
            for part in ["", "-part1"] {
                let path = format!("/dev/disk/by-id/{link}{DIGITS}{part}");
                assert_eq!(Named::by(&path), Named { identifier: naa.clone(), ..Named::default() }, "{path}");
            }
        }
        for folder in ["/dev/mapper/", "/dev/disk/by-id/dm-name-"] {
            assert_eq!(Named::by(&format!("{folder}mpatha")).map.as_deref(), Some("mpatha"));
            let by_wwid = Named::by(&format!("{folder}3{DIGITS}"));
            assert_eq!((by_wwid.identifier, by_wwid.map), (naa.clone(), Some(format!("3{DIGITS}"))));
        }
        assert_eq!(Named::by("/dev/sda").kernel.as_deref(), Some("sda"));
        for other in ["/etc/passwd", "/dev/vg/lv", "/dev/disk/by-id/ata-x", "/dev/disk/by-id/scsi-1x", ""] {
            assert_eq!(Named::by(other), Named::default(), "{other}");
        }
    }

    #[test]
    fn what_is_no_identifier_is_none() {
        assert_eq!(identifier("2001b4d2400000001").as_deref(), Some("eui.001b4d2400000001"));
        for other in ["", "3", "mpatha", "3600140", "3g001405a1b2c3d4e5", "ä"] {
            assert_eq!(identifier(other), None, "{other}");
        }
    }
}
