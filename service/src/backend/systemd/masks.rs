//! The command that starts a unit, also one that an administrator has masked.
//! Must not ask systemd, which may not answer.

use std::{
    fs,
    path::{Path, PathBuf},
};

use iscsi_initiator_dbus::hint;

/// The command for a person who wants this unit started. systemctl refuses to start a masked one, and unmasks what is
/// masked until the next boot only if that is said. `folders`: where units are masked for good first.
pub(crate) fn how_to_start(folders: &[PathBuf], unit: &str) -> String {
    match folders.iter().position(|folder| is_mask(&folder.join(unit))) {
        None => hint!("systemctl start {UNIT}", UNIT = unit),
        Some(0) => hint!(
            "an administrator has masked it; to allow it again: systemctl unmask {UNIT} && systemctl start {UNIT}",
            UNIT = unit
        ),
        Some(_) => hint!(
            "it is masked until the next boot; to allow it again: systemctl unmask --runtime {UNIT} && systemctl start \
             {UNIT}",
            UNIT = unit
        ),
    }
}

/// A link to `/dev/null`, or an empty file (systemctl(1), "mask").
fn is_mask(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|to| to == Path::new("/dev/null"))
        || fs::symlink_metadata(path).is_ok_and(|it| it.is_file() && it.len() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::atomic::Dir;

    #[test]
    fn a_masked_unit_is_unmasked_first() {
        let (etc, run) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let folders = [etc.path().to_owned(), run.path().to_owned()];
        let how = |unit: &str| how_to_start(&folders, unit);
        assert_eq!(how("a.socket"), "systemctl start a.socket");
        std::os::unix::fs::symlink("/dev/null", etc.path().join("a.socket")).unwrap();
        std::os::unix::fs::symlink("/lib/systemd/system/b.service", etc.path().join("b.service")).unwrap();
        std::os::unix::fs::symlink("/dev/null", run.path().join("c.service")).unwrap();
        let dir = Dir::open(etc.path()).unwrap();
        dir.replace("d.service", b"", 0o644).unwrap();
        dir.replace("e.service", b"[Unit]\n", 0o644).unwrap();
        for (unit, runtime) in [("a.socket", ""), ("c.service", "--runtime "), ("d.service", "")] {
            let commands = format!(": systemctl unmask {runtime}{unit} && systemctl start {unit}");
            assert!(how(unit).ends_with(&commands), "{unit}");
        }
        for unit in ["b.service", "e.service", "f.service"] {
            assert_eq!(how(unit), format!("systemctl start {unit}"));
        }
    }
}
