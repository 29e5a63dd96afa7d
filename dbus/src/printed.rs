//! Initiator names that more than one machine has. One list, for what a diagnosis warns of and what a program says.
//! A name counts as shared because it was published, not because another machine uses it.

/// Names from documents and images that people copy, and the source of each.
const PRINTED: &[(&str, &str)] = &[
    ("iqn.1994-05.com.redhat:rh7-client", "the example in Ceph's documentation of its gateway"),
    ("iqn.2001-04.com.example:storage:diskarrays-sn-a8675309", "the example of RFC 3720"),
];

/// The source of a name, if other machines have it.
#[must_use]
pub fn printed_in(name: &str) -> Option<&'static str> {
    PRINTED.iter().find(|(printed, _)| *printed == name).map(|(_, origin)| *origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_printed_name_is_told_from_ones_own() {
        assert!(printed_in("iqn.1994-05.com.redhat:rh7-client").is_some());
        assert_eq!(printed_in("iqn.1994-05.com.redhat:8b41c9f7d2e0"), None);
        for (printed, _) in PRINTED {
            assert!(printed.parse::<crate::Iqn>().is_ok(), "{printed}");
        }
    }
}
