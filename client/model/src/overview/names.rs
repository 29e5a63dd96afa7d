//! Names as people read them.

use iscsi_initiator_dbus::{DEFAULT_PORT, objects::Disk};

/// The part of a target's name that tells it from others: what follows the first colon of `iqn.2003-01.com.example:x`;
/// the whole name if nothing does.
pub fn short(target: &str) -> &str {
    match target.split_once(':') {
        Some((_, rest)) if !rest.is_empty() => rest,
        _ => target,
    }
}

/// A portal without the usual port: `192.0.2.21`, `[2001:db8::21]`.
pub fn portal(portal: &str) -> &str {
    match portal.rsplit_once(':') {
        Some((address, port)) if port.parse() == Ok(DEFAULT_PORT) && !address.is_empty() => address,
        _ => portal,
    }
}

/// A name of at most so many characters: names differ at their ends, so what is too long is cut in the middle.
pub fn cut(name: &str, most: usize) -> String {
    let count = name.chars().count();
    if count <= most {
        return name.to_owned();
    }
    let kept = most.saturating_sub(1);
    let (begin, end) = (kept / 2, kept - kept / 2);
    let head = name.chars().take(begin);
    head.chain(std::iter::once('…').take(most)).chain(name.chars().skip(count - end)).collect()
}

/// What a disk is called: its map; without one its first device, or else its identifier. Empty if it has none of these.
pub fn disk_name(disk: &Disk) -> &str {
    let device = disk.paths.iter().map(|path| path.device.as_str()).find(|device| !device.is_empty());
    let names = [disk.map.as_str(), device.unwrap_or_default(), disk.wwid.as_str()];
    names.into_iter().find(|name| !name.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_short_name_is_what_tells_a_target_from_others() {
        for (name, shown) in [
            ("iqn.2001-07.com.ceph:1711700000", "1711700000"),
            ("iqn.2003-01.org.linux-iscsi.igw.x86:sn.2", "sn.2"),
            ("iqn.2003-01.com.example:a:b", "a:b"),
            ("eui.02004567A425678D", "eui.02004567A425678D"),
            ("iqn.2003-01.com.example:", "iqn.2003-01.com.example:"),
            ("", ""),
        ] {
            assert_eq!(short(name), shown);
        }
        for (whole, shown) in [
            ("192.0.2.21:3260", "192.0.2.21"),
            ("192.0.2.21:3261", "192.0.2.21:3261"),
            ("[2001:db8::21]:3260", "[2001:db8::21]"),
            ("gateway", "gateway"),
            (":3260", ":3260"),
            ("", ""),
        ] {
            assert_eq!(portal(whole), shown);
        }
    }

    #[test]
    fn a_disk_is_called_by_the_first_name_that_it_has() {
        let mut disk = Disk::default();
        assert_eq!(disk_name(&disk), "");
        disk.wwid = "naa.1".to_owned();
        assert_eq!(disk_name(&disk), "naa.1");
        disk.paths = crate::for_tests::disk("", &[("", ""), ("sdb", "")], disk.health).paths;
        assert_eq!(disk_name(&disk), "sdb");
        disk.map = "mpatha".to_owned();
        assert_eq!(disk_name(&disk), "mpatha");
    }

    proptest! {
        #[test]
        fn a_cut_name_fits_and_keeps_both_ends(name in ".{0,40}", most in 0_usize..50) {
            let shown = cut(&name, most);
            prop_assert!(shown.chars().count() <= most);
            if name.chars().count() <= most {
                prop_assert_eq!(&shown, &name);
            } else if most > 2 {
                prop_assert!(name.starts_with(shown.split('…').next().unwrap()) || name.contains('…'));
                prop_assert_eq!(shown.chars().last(), name.chars().last());
            }
        }
    }
}
