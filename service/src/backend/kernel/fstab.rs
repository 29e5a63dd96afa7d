//! Which entries of `/etc/fstab` are about some devices, and would hold up a boot.
//! Must not resolve a source that the boot would not: those of devices that are not there are unknown.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use super::sysfs::Sysfs;
use crate::backend::host::bounded::{self, SMALL};

/// How deep devices are stacked at most.
const DEPTH: usize = 16;

/// An entry that would hold up the boot when its disk is away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) source: String,
    pub(crate) place: String,
    /// The options that it lacks.
    pub(crate) lacks: Vec<&'static str>,
}

/// The file, beside the devices that it names.
#[derive(Clone, Debug)]
pub(crate) struct Fstab {
    file: PathBuf,
    dev: PathBuf,
    sysfs: Sysfs,
}

impl Fstab {
    pub(crate) fn new(file: &Path, dev: &Path, sysfs: &Sysfs) -> Self {
        Self { file: file.to_owned(), dev: dev.to_owned(), sysfs: sysfs.clone() }
    }

    /// The entries about these disks, or about what is stacked on them, that lack an option. Nothing if there is no
    /// such file.
    pub(crate) fn that_hang(&self, disks: &[String]) -> Vec<Entry> {
        let Ok(text) = bounded::text(&self.file, SMALL) else { return Vec::new() };
        let mut devices = BTreeSet::new();
        disks.iter().for_each(|disk| self.stack(disk, DEPTH, &mut devices));
        let entries = text
            .lines()
            .filter_map(parse)
            .filter(|(source, ..)| self.device(source).is_some_and(|device| devices.contains(&device)));
        let entries = entries.map(|(source, place, lacks)| Entry { source, place, lacks });
        entries.filter(|entry| !entry.lacks.is_empty()).collect()
    }

    fn stack(&self, device: &str, depth: usize, found: &mut BTreeSet<String>) {
        if depth == 0 || !found.insert(device.to_owned()) {
            return;
        }
        let above = self.sysfs.holders(device).into_iter().chain(self.sysfs.partitions(device));
        above.for_each(|device| self.stack(&device, depth - 1, found));
    }

    /// The kernel's name of a device by its source.
    fn device(&self, source: &str) -> Option<String> {
        let by = |folder: &str, name: &str| {
            let name = name.trim_matches('"');
            // A name, and not a path.
            (!name.contains('/') && !name.is_empty()).then(|| self.dev.join("disk").join(folder).join(name))
        };
        let path = match source.split_once('=') {
            Some(("UUID", name)) => by("by-uuid", name)?,
            Some(("LABEL", name)) => by("by-label", name)?,
            Some(("PARTUUID", name)) => by("by-partuuid", name)?,
            Some(("PARTLABEL", name)) => by("by-partlabel", name)?,
            Some(("ID", name)) => by("by-id", name)?,
            _ => self.dev.join(source.strip_prefix("/dev/")?),
        };
        let target = fs::canonicalize(path).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }
}

/// Source, place, and which options it lacks.
fn parse(line: &str) -> Option<(String, String, Vec<&'static str>)> {
    let mut words = line.split_whitespace();
    let source = words.next().filter(|source| !source.starts_with('#'))?;
    let (place, kind) = (words.next()?, words.next()?);
    let options: Vec<&str> = words.next().unwrap_or("defaults").split(',').collect();
    if options.contains(&"noauto") {
        return None;
    }
    let lacks = ["_netdev", "nofail"].into_iter().filter(|option| !options.contains(option)).collect();
    let place = if kind == "swap" { "swap" } else { place };
    Some((unescaped(source), unescaped(place), lacks))
}

/// `\040` is a blank there.
fn unescaped(word: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\134", "\\")]
        .iter()
        .fold(word.to_owned(), |word, (code, character)| word.replace(code, character))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::atomic::Dir;

    #[test]
    fn entries_on_our_disks_that_lack_an_option_are_found_by_any_name() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let dir = Dir::open(root).unwrap();
        for path in
            ["sys/class/block/sda/holders/dm-0", "dev/mapper", "dev/disk/by-uuid", "sys/class/block/dm-0"]
        {
            dir.make_dirs(path).unwrap();
        }
        for device in ["dev/sda", "dev/dm-0", "dev/sdz"] {
            dir.create(device, b"", 0o600).unwrap();
        }
        std::os::unix::fs::symlink("../dm-0", root.join("dev/mapper/mpatha")).unwrap();
        std::os::unix::fs::symlink("../../dm-0", root.join("dev/disk/by-uuid/1-2")).unwrap();
        let text = "# a comment\n/dev/mapper/mpatha /mnt ext4 defaults 0 0\nUUID=\"1-2\" /a\\040b xfs _netdev\n\
                    /dev/mapper/mpatha /well ext4 nofail,_netdev\n/dev/mapper/mpatha /later ext4 noauto\n\
                    /dev/sdz / ext4 defaults\nUUID=../1-2 /x ext4 defaults\n/dev/sda none swap sw\n/dev/mpathb /gone ext4\n\
                    proc\n";
        dir.create("fstab", text.as_bytes(), 0o644).unwrap();
        let fstab = Fstab::new(&root.join("fstab"), &root.join("dev"), &Sysfs::new(&root.join("sys")));
        let found = fstab.that_hang(&["sda".to_owned()]);
        let shown: Vec<_> =
            found.iter().map(|entry| (entry.place.as_str(), entry.lacks.as_slice())).collect();
        let both = &["_netdev", "nofail"][..];
        assert_eq!(shown, [("/mnt", both), ("/a b", &["nofail"][..]), ("swap", both)]);
        assert!(fstab.that_hang(&[]).is_empty());
        let none = Fstab::new(&root.join("none"), &root.join("dev"), &Sysfs::new(&root.join("sys")));
        assert!(none.that_hang(&["sda".to_owned()]).is_empty());
    }
}
