//! The text of this service's file, for the installed multipath-tools.
//! Must not hold a setting without its reason.

use std::fmt;

use iscsi_initiator_dbus::options::MultipathOptions;

/// Late in the order of the folder, but before an administrator's `99-…` file.
pub(crate) const NAME: &str = "60-iscsi-initiatord.conf";

const HEADER: &str = "\
# Written by iscsi-initiatord (SetupMultipath). Edited, it is not touched any more; `iscsictl multipath undo` removes it.
";

/// The version of multipath-tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(pub(crate) u32, pub(crate) u32, pub(crate) u32);

impl Version {
    /// In `multipath-tools v0.11.1 (02/02, 2025)`.
    pub(crate) fn find(text: &str) -> Option<Self> {
        let rest = text.split_once("multipath-tools v")?.1;
        let mut numbers = rest.split(|c: char| !c.is_ascii_digit() && c != '.').next()?.split('.');
        let mut number = || numbers.next()?.parse().ok();
        Some(Self(number()?, number()?, number().unwrap_or(0)))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

/// Whether the text has our header.
pub(super) fn is_ours(text: &str) -> bool {
    text.starts_with(HEADER)
}

/// The options that it was written with, parsed from it; `None` if it was never ours.
pub(super) fn options(text: &str) -> Option<MultipathOptions> {
    let value = |key: &str| {
        let rest = text.lines().find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(' '));
        rest.map(|rest| rest.trim_matches('"'))
    };
    is_ours(text).then_some(())?;
    Some(
        MultipathOptions::new()
            .only_iscsi(value("protocol").is_some())
            .friendly_names(value("user_friendly_names")? == "yes")
            .queueing(value("no_path_retry")?.parse().ok()?),
    )
}

/// Everything after the header is multipath.conf(5); a section's opening brace must end its line.
pub(super) fn text(version: &Version, options: &MultipathOptions) -> String {
    let mut text = HEADER.to_owned();
    // With the built-in "strict" a new LUN gets no map.
    let names = if options.friendly_names { "yes" } else { "no" };
    let mut defaults = vec![("find_multipaths", "yes"), ("user_friendly_names", names)];
    if *version >= Version(0, 8, 6) {
        // A path that comes back as another disk leaves the map, so that nothing is written to that
        // disk.
        defaults.push(("recheck_wwid", "yes"));
    }
    section(&mut text, "defaults", &defaults);
    if options.only_iscsi {
        // Local disks and NVMe stay as they are (keyword since 0.8.0, "!" since 0.8.5).
        section(&mut text, "blacklist", &[("protocol", "!^scsi:iscsi")]);
    }
    text.push_str("devices {\n");
    device(&mut text, &ceph(version, options));
    if *version < Version(0, 9, 5) {
        // LIO answers TEST UNIT READY with "good" whatever the state of its backend; multipath's
        // own entry for LIO handles that only since 0.9.5.
        let lio = [
            ("vendor", "LIO-ORG".to_owned()),
            ("product", "(FILEIO|IBLOCK|RAMDISK|PSCSI).*".to_owned()),
            ("path_checker", "directio".to_owned()),
            ("detect_checker", "no".to_owned()),
        ];
        device(&mut text, &lio);
    }
    text.push_str("}\n");
    text
}

/// The disks of a Ceph gateway: Ceph's own recommendation (Documentation, "iSCSI initiator for
/// Linux"), and what it needs to work with this version.
fn ceph(version: &Version, options: &MultipathOptions) -> Vec<(&'static str, String)> {
    let mut keys = vec![("vendor", "LIO-ORG"), ("product", "TCMU device")];
    if *version < Version(0, 11, 0) {
        // From 0.11 on the kernel attaches it itself.
        keys.push(("hardware_handler", "1 alua"));
    }
    keys.extend([
        // Only one gateway at a time writes to an image: otherwise the lock would move back and
        // forth.
        ("path_grouping_policy", "failover"),
        ("path_selector", "queue-length 0"),
        ("failback", "60"),
        ("path_checker", "tur"),
        ("prio", "alua"),
        ("prio_args", "exclusive_pref_bit"),
        // Without this, both lines above have no effect (libmultipath/propsel.c, `select_prio`).
        ("detect_prio", "no"),
        ("fast_io_fail_tmo", "25"),
    ]);
    let mut keys: Vec<(&'static str, String)> =
        keys.into_iter().map(|(key, value)| (key, value.to_owned())).collect();
    keys.push(("no_path_retry", options.queueing.to_string()));
    keys
}

fn section(text: &mut String, name: &str, keys: &[(&str, &str)]) {
    text.push_str(&format!("{name} {{\n"));
    for (key, value) in keys {
        text.push_str(&format!("        {key} \"{value}\"\n"));
    }
    text.push_str("}\n");
}

fn device(text: &mut String, keys: &[(&str, String)]) {
    text.push_str("        device {\n");
    for (key, value) in keys {
        text.push_str(&format!("                {key} \"{value}\"\n"));
    }
    text.push_str("        }\n");
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::options::Queueing;

    use super::*;

    #[test]
    fn versions_are_found_in_what_multipath_says() {
        assert_eq!(Version::find("multipath-tools v0.11.1 (02/02, 2025)\n"), Some(Version(0, 11, 1)));
        assert_eq!(Version::find("x\nmultipath-tools v0.9.4 (12/19, 2022)"), Some(Version(0, 9, 4)));
        assert_eq!(Version::find("multipath-tools v1.0"), Some(Version(1, 0, 0)));
        assert_eq!(Version::find("multipath: not found"), None);
        assert!(Version(0, 9, 4) < Version(0, 11, 0));
    }

    #[test]
    fn each_version_gets_what_it_needs() {
        let options = MultipathOptions::new();
        let (old, new) = (text(&Version(0, 9, 4), &options), text(&Version(0, 11, 1), &options));
        assert!(is_ours(&old) && is_ours(&new));
        assert!(old.contains("hardware_handler \"1 alua\"") && !new.contains("hardware_handler"));
        assert!(old.contains("\"directio\"") && !new.contains("directio"));
        for text in [&old, &new] {
            for line in [
                "find_multipaths \"yes\"",
                "user_friendly_names \"yes\"",
                "no_path_retry \"queue\"",
                "detect_prio \"no\"",
            ] {
                assert!(text.contains(line), "{line}: {text}");
            }
            assert!(!text.contains("blacklist"));
            // One-line sections are parse errors.
            assert!(text.lines().all(|line| !line.contains('{') || line.ends_with('{')), "{text}");
            assert_eq!(text.matches('{').count(), text.matches('}').count());
        }
    }

    #[test]
    fn the_options_are_in_the_text() {
        let options =
            MultipathOptions::new().only_iscsi(true).friendly_names(false).queueing(Queueing::Rounds(30));
        let text = text(&Version(0, 11, 1), &options);
        let again = super::options(&text).unwrap();
        assert_eq!(self::text(&Version(0, 11, 1), &again), text, "read back they give the same text");
        assert!(super::options("defaults {\n}\n").is_none());
        for line in ["protocol \"!^scsi:iscsi\"", "user_friendly_names \"no\"", "no_path_retry \"30\""] {
            assert!(text.contains(line), "{line}: {text}");
        }
    }
}
