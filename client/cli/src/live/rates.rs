//! How much each session reads and writes: what the kernel counts for its disks.
//! Must not open anything but the name of a session's target and the counters of a disk, whose name is checked before
//! it becomes a path.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    time::Instant,
};

use iscsi_initiator_dbus::objects::{Id, Model, Object};

/// Where the kernel has its disks. Any user can read their counters.
const DISKS: &str = "/sys/class/block";
/// Where it has its sessions. Any user can read the names of their targets.
const SESSIONS: &str = "/sys/class/iscsi_session";
/// The kernel counts in these, whatever the disk's blocks are.
const SECTOR: u64 = 512;
/// A file of counters is shorter, and a name, too.
const LONGEST: u64 = 4096;
/// The name of a disk is shorter (DISK_NAME_LEN of the kernel).
const NAME: usize = 32;

/// Bytes in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) read: u64,
    pub(crate) written: u64,
}

/// Bytes since the disk is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    read: u64,
    written: u64,
}

/// The rates between the last two looks.
#[derive(Debug)]
pub(crate) struct Rates {
    disks: PathBuf,
    sessions: PathBuf,
    last: HashMap<String, Counts>,
    at: Option<Instant>,
    of: BTreeMap<u32, Rate>,
}

impl Rates {
    pub(crate) fn of_machine() -> Self {
        Self::below(Path::new(DISKS), Path::new(SESSIONS))
    }

    fn below(disks: &Path, sessions: &Path) -> Self {
        let (disks, sessions) = (disks.to_owned(), sessions.to_owned());
        Self { disks, sessions, last: HashMap::new(), at: None, of: BTreeMap::new() }
    }

    /// Of a session, over all its disks; nothing where it is not known.
    pub(crate) fn of(&self, sid: u32) -> Option<Rate> {
        self.of.get(&sid).copied()
    }

    /// Looks at the counters.
    pub(crate) fn look(&mut self, model: &Model, now: Instant) {
        let mut devices: BTreeSet<(u32, &str)> = BTreeSet::new();
        for (_, disk) in model.disks() {
            devices.extend(disk.paths.iter().map(|path| (path.sid, path.device.as_str())));
        }
        let sids: BTreeSet<u32> = devices.iter().map(|(sid, _)| *sid).collect();
        let here: BTreeSet<u32> = sids.into_iter().filter(|sid| self.is_here(model, *sid)).collect();
        devices.retain(|(sid, _)| here.contains(sid));
        let seconds = self.at.replace(now).map(|at| (now - at).as_secs_f64());
        let before = std::mem::take(&mut self.last);
        self.of.clear();
        for (sid, device) in devices {
            let Some(counts) = self.counts(device) else { continue };
            self.last.insert(device.to_owned(), counts);
            let (Some(was), Some(seconds)) = (before.get(device), seconds.filter(|seconds| *seconds > 0.0))
            else {
                continue;
            };
            // Less than before: it is another disk of the same name.
            let read = counts.read.checked_sub(was.read);
            let Some((read, written)) = read.zip(counts.written.checked_sub(was.written)) else { continue };
            let rate = self.of.entry(sid).or_default();
            rate.read = rate.read.saturating_add(per_second(read, seconds));
            rate.written = rate.written.saturating_add(per_second(written, seconds));
        }
    }

    fn counts(&self, device: &str) -> Option<Counts> {
        let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if device.is_empty() || device.len() >= NAME || !is_name(device) {
            return None;
        }
        counts(&read(&self.disks.join(device).join("stat"))?)
    }

    /// Whether it is a session of this machine: the daemon, and the bus, may be another's.
    fn is_here(&self, model: &Model, sid: u32) -> bool {
        let Some(Object::Session(session)) = model.get(&Id::session(sid)) else { return false };
        let target = read(&self.sessions.join(format!("session{sid}")).join("targetname"));
        target.is_some_and(|target| !session.target.is_empty() && target.trim_end() == session.target)
    }
}

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
    Some(text)
}

fn per_second(bytes: u64, seconds: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "shown with three digits; a cast saturates"
    )]
    let rate = (bytes as f64 / seconds) as u64;
    rate
}

/// The third and the seventh number (Documentation/block/stat.rst of the kernel).
fn counts(text: &str) -> Option<Counts> {
    let number = |place: usize| text.split_whitespace().nth(place)?.parse::<u64>().ok()?.checked_mul(SECTOR);
    Some(Counts { read: number(2)?, written: number(6)? })
}

#[cfg(test)]
impl Rates {
    pub(super) fn known(of: impl IntoIterator<Item = (u32, Rate)>) -> Self {
        Self { of: of.into_iter().collect(), ..Self::of_machine() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use iscsi_initiator_dbus::results::Health;

    use super::*;
    use crate::live::for_tests::{TARGET, disk, put, session};

    fn model(paths: &[(u32, &str)]) -> Model {
        let mut disk = disk("", &[], Health::Single);
        disk.paths = paths
            .iter()
            .map(|(sid, device)| {
                let mut path = iscsi_initiator_dbus::results::Path::default();
                (path.sid, path.device) = (*sid, (*device).to_owned());
                path
            })
            .collect();
        let mut model = Model::default();
        put(&mut model, &Id::disk("naa.1", 1, 0), &Object::Disk(disk));
        for (sid, _) in paths {
            put(&mut model, &Id::session(*sid), &Object::Session(session(*sid, "LOGGED_IN")));
        }
        model
    }

    fn write(folder: &Path, device: &str, read: u64, written: u64) {
        std::fs::create_dir_all(folder.join(device)).unwrap();
        let text = format!("  7 0 {read} 5 9 0 {written} 8 0 4 4\n");
        #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
        std::fs::write(folder.join(device).join("stat"), text).unwrap();
    }

    fn name(folder: &Path, sid: u32, target: &str) {
        let folder = folder.join(format!("session{sid}"));
        std::fs::create_dir_all(&folder).unwrap();
        #[expect(clippy::disallowed_methods, reason = "below a temporary directory of the test's own")]
        std::fs::write(folder.join("targetname"), format!("{target}\n")).unwrap();
    }

    #[test]
    fn a_session_of_another_machine_has_no_rates() {
        let folder = tempfile::tempdir().unwrap();
        let mut rates = Rates::below(folder.path(), folder.path());
        let model = model(&[(1, "sda"), (2, "sdb"), (3, "sdc")]);
        for device in ["sda", "sdb", "sdc"] {
            write(folder.path(), device, 100, 200);
        }
        // The second has the number of another session here, the third none.
        name(folder.path(), 1, TARGET);
        name(folder.path(), 2, "iqn.2003-01.com.example:other");
        let begin = Instant::now();
        rates.look(&model, begin);
        rates.look(&model, begin + Duration::from_secs(1));
        assert_eq!([1, 2, 3].map(|sid| rates.of(sid)), [Some(Rate::default()), None, None]);
    }

    #[test]
    fn a_session_reads_and_writes_what_its_disks_do() {
        let folder = tempfile::tempdir().unwrap();
        let mut rates = Rates::below(folder.path(), folder.path());
        let model = model(&[(1, "sda"), (1, "sdb"), (2, "sdc"), (3, "../sda"), (4, "sdx")]);
        (1..=4).for_each(|sid| name(folder.path(), sid, TARGET));
        for device in ["sda", "sdb", "sdc"] {
            write(folder.path(), device, 100, 200);
        }
        let begin = Instant::now();
        rates.look(&model, begin);
        assert_eq!(rates.of(1), None, "not known yet");
        write(folder.path(), "sda", 104, 200);
        write(folder.path(), "sdb", 102, 300);
        // Another disk of this name.
        write(folder.path(), "sdc", 0, 0);
        rates.look(&model, begin + Duration::from_secs(2));
        assert_eq!(rates.of(1), Some(Rate { read: 6 * 512 / 2, written: 100 * 512 / 2 }));
        assert_eq!([2, 3, 4].map(|sid| rates.of(sid)), [None; 3]);
        rates.look(&model, begin + Duration::from_secs(3));
        assert_eq!([1, 2].map(|sid| rates.of(sid)), [Some(Rate::default()); 2], "idle");
    }

    #[test]
    fn what_is_not_a_file_of_counters_says_nothing() {
        for text in ["", "1 2", "1 2 x 4 5 6 7", "1 2 18446744073709551615 4 5 6 7"] {
            assert_eq!(counts(text), None, "{text}");
        }
        assert_eq!(counts("1 2 3 4 5 6 7"), Some(Counts { read: 3 * 512, written: 7 * 512 }));
    }
}
