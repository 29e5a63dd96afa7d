//! Why a disk has no multipath map, and what to do about it.
//! Must not run multipath's parser or have a map made.

use iscsi_initiator_dbus::{fault::Result, hint};

use crate::{
    backend::{
        host::threads::{asking_multipathd, reading},
        multipath::daemon::{FindMultipaths, MultipathdError},
    },
    engine::Engine,
};

/// The command that sets multipath up.
pub(in crate::engine) const SETUP: &str = "iscsictl multipath setup";

/// What decides whether a LUN gets a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Rule {
    NotInstalled,
    /// multipathd is not running.
    NotRunning,
    /// It is running and does not report the setting.
    Unknown,
    Of(FindMultipaths),
}

/// The rule in force, or why multipathd does not report it.
pub(in crate::engine) async fn rule(
    engine: &Engine,
    has_multipathd: bool,
) -> Result<std::result::Result<Rule, MultipathdError>> {
    if !has_multipathd {
        let multipath = engine.multipath.clone();
        let is_installed = reading(move || multipath.is_installed()).await?;
        return Ok(Ok(if is_installed { Rule::NotRunning } else { Rule::NotInstalled }));
    }
    let multipathd = engine.state.multipathd.clone();
    let find_multipaths = asking_multipathd(move || multipathd.find_multipaths()).await?;
    Ok(find_multipaths.map(Rule::Of))
}

/// The reason, and the next step. `is_listed`: the LUN is in multipath's list of WWIDs; `is_ours`: this
/// service has set multipath up; `disk`: one of the paths.
pub(in crate::engine) fn reason(
    rule: Rule,
    is_listed: bool,
    is_ours: bool,
    disk: &str,
) -> (&'static str, String) {
    let setup = format!("set multipath up: {SETUP}");
    match rule {
        Rule::NotInstalled => (
            "multipath-tools is not installed",
            format!("install the package multipath-tools, then: {setup}"),
        ),
        Rule::NotRunning if is_ours => {
            ("multipathd is not running", "systemctl enable --now multipathd.service".to_owned())
        }
        Rule::NotRunning => ("multipathd is not running", setup),
        Rule::Of(FindMultipaths::Strict) if !is_listed => {
            ("find_multipaths is \"strict\", and its WWID is not in multipath's list of WWIDs", setup)
        }
        Rule::Unknown | Rule::Of(_) => (
            "multipathd makes none: a blacklist may exclude it, or it is in use",
            hint!("see why: sudo multipath -d -v3 {DISK}", DISK = format!("/dev/{disk}")),
        ),
    }
}

/// How multipath identifies a disk with this identifier: the type's digit, then the number, or for a vendor's
/// text its words joined by `_` (scsi_id's ID_SERIAL: `udev_replace_whitespace`, `udev_replace_chars`).
pub(in crate::engine) fn udev_name(wwid: &str) -> Option<String> {
    let (kind, number) = wwid.split_once('.')?;
    match kind {
        "naa" => Some(format!("3{number}")),
        "eui" => Some(format!("2{number}")),
        "t10" => {
            let words: Vec<&str> = number.split_whitespace().collect();
            let is_kept = |c: char| c.is_ascii_alphanumeric() || !c.is_ascii() || "#+-.:=@_".contains(c);
            let text: String = words.join("_").chars().map(|c| if is_kept(c) { c } else { '_' }).collect();
            Some(format!("1{text}"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::udev_name;

    #[test]
    fn a_disk_has_the_name_that_udev_makes_of_its_identifier() {
        for (wwid, name) in [
            ("naa.600140512345", "3600140512345"),
            ("eui.0025385b71b00001", "20025385b71b00001"),
            ("t10.IET     00010001", "1IET_00010001"),
            ("t10.ATA     QEMU HARDDISK   QM00001 ", "1ATA_QEMU_HARDDISK_QM00001"),
            ("t10.VENDOR  a/b(c)", "1VENDOR_a_b_c_"),
        ] {
            assert_eq!(udev_name(wwid).as_deref(), Some(name), "{wwid}");
        }
        assert_eq!(udev_name("unknown.1"), None);
        assert_eq!(udev_name(""), None);
    }
}
