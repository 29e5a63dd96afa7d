//! Initiator names that more than one machine has.
//! A name counts as shared because it was published, not because another machine uses it.

/// Names from documents and images that people copy, and the source of each.
const PRINTED: &[(&str, &str)] = &[
    ("iqn.1994-05.com.redhat:rh7-client", "the example in Ceph's documentation of its gateway"),
    ("iqn.2001-04.com.example:storage:diskarrays-sn-a8675309", "the example of RFC 3720"),
];

/// The source of a name, if other machines have it.
pub(super) fn origin(name: &str) -> Option<&'static str> {
    PRINTED.iter().find(|(printed, _)| *printed == name).map(|(_, origin)| *origin)
}

/// `iqn.YYYY-MM.` (RFC 7143, section 4.2.7.4); other kinds of names have no date.
pub(super) fn has_a_date(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("iqn.") else { return true };
    let mut parts = rest.splitn(2, '.');
    let date = parts.next().unwrap_or_default();
    let (year, month) = date.split_once('-').unwrap_or_default();
    let month = month.parse::<u8>().ok().filter(|_| month.len() == 2);
    year.len() == 4
        && year.bytes().all(|byte| byte.is_ascii_digit())
        && month.is_some_and(|month| (1..=12).contains(&month))
        && parts.next().is_some_and(|authority| !authority.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_name_is_told_from_ones_own() {
        assert!(origin("iqn.1994-05.com.redhat:rh7-client").is_some());
        assert_eq!(origin("iqn.1994-05.com.redhat:8b41c9f7d2e0"), None);
        for (printed, _) in PRINTED {
            assert!(printed.parse::<iscsi_initiator_dbus::Iqn>().is_ok() && has_a_date(printed), "{printed}");
        }
    }

    #[test]
    fn dates_are_years_and_months() {
        for good in [
            "iqn.2001-04.com.example:disk",
            "iqn.1989-06.io.cloud-atlas:me",
            "eui.02004567a425678d",
            "naa.6001405",
        ] {
            assert!(has_a_date(good), "{good}");
        }
        for bad in [
            "iqn.com.example:disk",
            "iqn.2001-13.com.example",
            "iqn.2001-4.com.example",
            "iqn.2001-04",
            "iqn.2001-04.",
        ] {
            assert!(!has_a_date(bad), "{bad}");
        }
    }
}
