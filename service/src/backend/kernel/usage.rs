//! Finds what uses a disk or map, before a logout removes it.
//! Must not change anything, or take “could not look” for “not in use”.
//!
//! | room | what it is |
//! |---|---|
//! | `counted` | whether the kernel counts anyone who has a disk open |
//! | `holder` | describes what holds a device |
//! | `mapped` | processes that have a device mapped |
//! | `opens` | processes that have a device open or mapped |
//! | `release` | the commands that end the uses, topmost first |
//! | `suspects` | the processes to inspect, and in which order |
//! | `tables` | the kernel's tables: mounts, swap, loop files, btrfs |

mod counted;
mod holder;
mod mapped;
mod opens;
mod release;
mod suspects;
mod tables;

use std::{
    collections::BTreeSet,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags},
    io::Errno,
};

pub(crate) use self::{
    holder::{Holder, Process, Unseen, Use, guest},
    release::Release,
};
use self::{
    mapped::Hanging,
    opens::{Openers, Seen, Wanted},
    release::Above,
    tables::{Namespaces, Numbers, Tables},
};
use super::{
    processes::{pids, programs},
    sysfs::Sysfs,
};
use crate::backend::host::capabilities::{Raised, TO_LOOK_INTO_PROCESSES};

/// Devices stacked deeper than this form a loop.
const DEPTH: usize = 16;

/// Reads the kernel's own tables.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    sysfs: Sysfs,
    proc: PathBuf,
    dev: PathBuf,
    hanging: Hanging,
}

/// What is on some devices, all the way up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Carried {
    /// Mount points in the machine's first namespace.
    pub(crate) mounts: BTreeSet<String>,
    /// Devices that are swap space or hold a swap file, with what is known of it, and the commands
    /// that end that.
    pub(crate) swaps: BTreeSet<String>,
    pub(crate) swapoffs: Vec<String>,
}

/// Everything that holds some devices.
#[derive(Debug, Default)]
pub(crate) struct Uses {
    /// By the devices' names; empty if nothing holds them.
    pub(crate) found: Vec<Use>,
    /// How to end them.
    pub(crate) release: Release,
    /// Claims on the disks that nothing uses: while they are held, no other process can mount or
    /// claim such a disk.
    pub(crate) claims: Claims,
}

/// Exclusive claims on disks, released when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Claims(Vec<OwnedFd>);

impl Claims {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What is asked about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Question {
    /// Disks without a map, and multipath maps.
    pub(crate) devices: Vec<String>,
    /// Disks below a map, which may be open as well.
    pub(crate) paths: Vec<String>,
    /// All LUNs (`3:0:0:1`), whose SCSI generic and tape devices may be open.
    pub(crate) addresses: Vec<String>,
}

/// What was seen of a question, before anything is claimed.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    question: Question,
    climb: Climb,
    /// Its devices that no table has a use of.
    quiet: Vec<String>,
    wanted: Wanted,
    /// The programs that could not be inspected.
    unseen: Vec<Unseen>,
}

/// Questions about devices that the same users may open.
struct Group {
    openers: Openers,
    wanted: Wanted,
    /// Which questions.
    numbers: Vec<usize>,
}

impl Looked {
    fn unused(question: Question) -> Self {
        Self { quiet: question.devices.clone(), question, ..Self::default() }
    }
}

#[cfg(test)]
impl Looked {
    pub(crate) fn at_nothing(question: Question) -> Self {
        Self { question, ..Self::default() }
    }

    pub(crate) fn question(&self) -> &Question {
        &self.question
    }
}

/// What was found on the way up from the devices.
#[derive(Debug, Default)]
struct Climb {
    found: BTreeSet<Use>,
    /// Every device visited.
    devices: BTreeSet<String>,
    above: Above,
}

impl Usage {
    pub(crate) fn new(sysfs: &Sysfs, proc: &Path, dev: &Path) -> Self {
        Self { sysfs: sysfs.clone(), proc: proc.to_owned(), dev: dev.to_owned(), hanging: Hanging::default() }
    }

    /// What the tables say of each question, and which programs have its devices open; all programs are looked at once.
    /// No program is, where the kernel counts none that has one open. `skip` are those that may have them open. Claims
    /// nothing. Blocks.
    pub(crate) fn look_at(&self, questions: Vec<Question>, skip: &[u32]) -> Vec<Looked> {
        let disks = questions.iter().flat_map(|question| question.devices.iter().chain(&question.paths));
        let addresses = questions.iter().flat_map(|question| &question.addresses);
        if counted::is_nothing_open(&self.sysfs, disks, addresses) {
            return questions.into_iter().map(Looked::unused).collect();
        }
        let capabilities = Raised::new(TO_LOOK_INTO_PROCESSES);
        let devices: Vec<String> = questions.iter().flat_map(|question| question.devices.clone()).collect();
        let known = pids(&self.proc);
        let mut programs = programs(&self.proc, &known);
        let tables = self.tables(&devices, Namespaces::Of(&programs));
        let mut looked: Vec<Looked> =
            questions.into_iter().map(|question| self.ask_tables(question, &tables)).collect();
        // Who has come meanwhile may have it from one that was there before.
        programs.extend(pids(&self.proc).into_iter().filter(|pid| known.binary_search(pid).is_err()));
        programs.retain(|pid| !skip.contains(pid));
        let groups = self.groups(&looked);
        let look =
            |group: &Group| opens::look(&self.proc, &group.openers, &group.wanted, &programs, &self.hanging);
        // At the same time: each has a limit of its own. As a rule there is one.
        let seen: Vec<Seen> = std::thread::scope(|scope| {
            let begin = |group| std::thread::Builder::new().spawn_scoped(scope, move || look(group)).ok();
            let Some((first, others)) = groups.split_first() else { return Vec::new() };
            let threads: Vec<_> = others.iter().map(|group| (group, begin(group))).collect();
            let first = look(first);
            // Where no thread can be started, or one panicked, it is looked at here.
            let others = threads.into_iter().map(|(group, thread)| {
                thread.and_then(|thread| thread.join().ok()).unwrap_or_else(|| look(group))
            });
            std::iter::once(first).chain(others).collect()
        });
        for (Group { numbers, .. }, seen) in groups.into_iter().zip(seen) {
            // Still with the capabilities: where /proc hides processes (hidepid), one that is there would look gone.
            let open = |(device, process): (String, Process)| {
                Some(Use { device, holder: Holder::of_process(&self.proc, process)? })
            };
            let open: Vec<Use> = seen.open.into_iter().filter_map(open).collect();
            for number in numbers {
                let Some(looked) = looked.get_mut(number) else { continue };
                let its = open.iter().filter(|used| looked.wanted.has(&used.device));
                looked.climb.found.extend(its.cloned());
                looked.unseen.clone_from(&seen.unseen);
            }
        }
        drop(capabilities);
        looked
    }

    /// Who could open the devices by itself is looked at with more time: that is not to depend on other questions.
    fn groups(&self, looked: &[Looked]) -> Vec<Group> {
        let mut groups: Vec<Group> = Vec::new();
        for (number, Looked { wanted, .. }) in looked.iter().enumerate() {
            let openers = opens::openers(&self.dev, wanted);
            match groups.iter_mut().find(|group| group.openers == openers) {
                Some(group) => {
                    group.wanted.extend(wanted);
                    group.numbers.push(number);
                }
                None => groups.push(Group { openers, wanted: wanted.clone(), numbers: vec![number] }),
            }
        }
        groups
    }

    /// What the tables say, and what programs may have open.
    fn ask_tables(&self, question: Question, tables: &Tables) -> Looked {
        let mut all = Climb::default();
        let mut quiet = Vec::new();
        for device in &question.devices {
            let mut climb = Climb::default();
            self.climb(device, tables, DEPTH, &mut climb);
            if climb.found.is_empty() {
                quiet.push(device.clone());
            }
            all.found.append(&mut climb.found);
            all.devices.append(&mut climb.devices);
            all.above.append(&mut climb.above);
        }
        let block = |device: &String| Some((numbers(&self.sysfs.number(device)?)?, device.clone()));
        let chars = question.addresses.iter().flat_map(|address| self.sysfs.scsi_chars(address));
        let wanted = Wanted {
            blocks: all.devices.iter().chain(&question.paths).filter_map(block).collect(),
            chars: chars.filter_map(|(name, number)| Some((numbers(&number)?, name))).collect(),
        };
        Looked { question, climb: all, quiet, wanted, unseen: Vec::new() }
    }

    /// Everything that holds the devices of a question, with claims on those that nothing does. Opens them, which may
    /// take as long as a disk does not answer. Blocks.
    pub(crate) fn uses(&self, Looked { question, climb, quiet, unseen, .. }: Looked) -> Uses {
        let Climb { mut found, above, .. } = climb;
        if !unseen.is_empty()
            && let Some(device) = question.devices.first().or_else(|| question.paths.first())
        {
            found.insert(Use { device: device.clone(), holder: Holder::Unseen(unseen) });
        }
        // Only the kernel knows every claim: of ZFS, of LIO, of a file system that is mounted out
        // of sight. If another use is known already, this is not needed.
        let mut claims = Claims::default();
        for device in &quiet {
            for part in self.parts(device).iter().chain([device]) {
                let is_it = |used: &Use| used.device == *part && !matches!(used.holder, Holder::Udev(_));
                if found.iter().any(is_it) {
                    continue;
                }
                match self.claim(part) {
                    Err(used) => {
                        found.insert(used);
                    }
                    // A map with a claim on it could not be removed, and a claim on a partition
                    // would block one on the whole disk.
                    Ok(Some(claim)) if part == device && self.sysfs.dm(device).is_none() => {
                        claims.0.push(claim)
                    }
                    Ok(_) => {}
                }
            }
        }
        let release = Release::of(&found, &above);
        Uses { found: found.into_iter().collect(), release, claims }
    }

    /// What holds the devices, as far as it is visible without looking into processes or opening anything. Blocks.
    pub(crate) fn stacked(&self, devices: &[String]) -> Uses {
        let capabilities = Raised::new(TO_LOOK_INTO_PROCESSES);
        let tables = self.tables(devices, Namespaces::Of(&programs(&self.proc, &pids(&self.proc))));
        drop(capabilities);
        let mut climb = Climb::default();
        devices.iter().for_each(|device| self.climb(device, &tables, DEPTH, &mut climb));
        let release = Release::of(&climb.found, &climb.above);
        Uses { found: climb.found.into_iter().collect(), release, claims: Claims::default() }
    }

    /// The file systems and swap space on the devices, all the way up; `None` if the mounts are not
    /// known: every machine has a root file system. Opens nothing. Blocks.
    pub(crate) fn carried(&self, devices: &[String]) -> Option<Carried> {
        let capabilities = Raised::new(TO_LOOK_INTO_PROCESSES);
        // What others alone have mounted is not asked for.
        let tables = self.tables(devices, Namespaces::First);
        drop(capabilities);
        if !tables.is_whole {
            return None;
        }
        let mut climb = Climb::default();
        devices.iter().for_each(|device| self.climb(device, &tables, DEPTH, &mut climb));
        let mut carried = Carried::default();
        let swaps: Vec<&Use> =
            climb.found.iter().filter(|used| matches!(used.holder, Holder::Swap { .. })).collect();
        carried.swapoffs = Release::of(swaps, &climb.above).commands;
        for used in climb.found {
            match used.holder {
                Holder::Mount { place, seen_by: None } => {
                    carried.mounts.insert(place);
                }
                Holder::Swap { .. } => {
                    carried.swaps.insert(used.to_string());
                }
                Holder::Btrfs { places, .. } => carried.mounts.extend(places),
                _ => {}
            }
        }
        Some(carried)
    }

    fn tables(&self, devices: &[String], namespaces: Namespaces<'_>) -> Tables {
        Tables::read(&self.sysfs, &self.proc, &self.numbers_above(devices), namespaces)
    }

    /// The numbers of the devices and of everything that may be stacked on them: a loop device may
    /// be on any file system.
    fn numbers_above(&self, devices: &[String]) -> Numbers {
        let mut seen = BTreeSet::new();
        let loops = self.sysfs.loops().into_iter().map(|(name, _)| name);
        let mut next: Vec<String> = devices.iter().cloned().chain(loops).collect();
        while let Some(device) = next.pop() {
            if seen.insert(device.clone()) {
                next.extend(self.sysfs.partitions(&device));
                next.extend(self.sysfs.holders(&device));
            }
        }
        seen.iter().filter_map(|device| self.sysfs.number(device)).collect()
    }

    /// The device's partitions; a map's partitions are maps of their own, among its holders.
    fn parts(&self, device: &str) -> Vec<String> {
        let holders = self.sysfs.holders(device).into_iter();
        let part_maps = holders.filter(|holder| self.is_part_map(holder));
        self.sysfs.partitions(device).into_iter().chain(part_maps).collect()
    }

    fn is_part_map(&self, device: &str) -> bool {
        self.sysfs.dm(device).is_some_and(|(_, uuid)| uuid.starts_with("part"))
    }

    fn climb(&self, device: &str, tables: &Tables, depth: usize, climb: &mut Climb) {
        let Some(number) = self.sysfs.number(device) else { return };
        if !climb.devices.insert(device.to_owned()) {
            return;
        }
        let mut found = |holder| climb.found.insert(Use { device: device.to_owned(), holder });
        if depth == 0 {
            found(Holder::TooDeep);
            return;
        }
        let mut higher = Vec::new();
        for mount in tables.mounts.iter().filter(|mount| self.is_on(device, &number, mount)) {
            found(Holder::Mount { place: mount.place.clone(), seen_by: mount.seen_by.clone() });
        }
        let is_on_it = |file: &String| {
            self.names(device, file)
                || tables.mount_of(file).is_some_and(|mount| self.is_on(device, &number, mount))
        };
        for file in tables.swaps.iter().filter(|file| is_on_it(file)) {
            found(Holder::Swap { file: (!self.names(device, file)).then(|| file.clone()) });
        }
        for (name, file) in tables.loops.iter().filter(|(_, file)| is_on_it(file)) {
            let clears_itself = self.sysfs.clears_itself(name);
            found(Holder::Loop { name: name.clone(), file: file.clone(), clears_itself });
            higher.push(name.clone());
        }
        for (_, uuid) in tables.btrfs.iter().filter(|(member, _)| member == device) {
            found(Holder::Btrfs { uuid: uuid.clone(), places: self.places_of(uuid, tables) });
        }
        higher.extend(self.sysfs.partitions(device));
        for holder in self.sysfs.holders(device) {
            if !self.is_part_map(&holder) {
                found(Holder::of(&holder, self.sysfs.dm(&holder)));
            }
            higher.push(holder);
        }
        climb.above.entry(device.to_owned()).or_default().extend(higher.iter().cloned());
        for device in higher {
            self.climb(&device, tables, depth - 1, climb);
        }
    }

    /// Where a btrfs is mounted: the mount names any one of its members.
    fn places_of(&self, uuid: &str, tables: &Tables) -> Vec<String> {
        let members = tables.btrfs.iter().filter(|(_, of)| of == uuid);
        let is_on = |mount: &&tables::Mount| {
            mount.seen_by.is_none() && members.clone().any(|(member, _)| self.names(member, &mount.source))
        };
        tables.mounts.iter().filter(is_on).map(|mount| mount.place.clone()).collect()
    }

    /// By its number; btrfs has its own numbers (major 0), so only the name identifies it there.
    fn is_on(&self, device: &str, number: &str, mount: &tables::Mount) -> bool {
        mount.number == number || (mount.number.starts_with("0:") && self.names(device, &mount.source))
    }

    /// Whether a path is one of the device's own.
    fn names(&self, device: &str, path: &str) -> bool {
        let Some(name) = path.strip_prefix("/dev/") else { return false };
        name == device
            || name
                .strip_prefix("mapper/")
                .is_some_and(|name| self.sysfs.dm(device).is_some_and(|(known, _)| known == name))
    }

    /// Asks the kernel for an exclusive claim. Read-only, so that udev does not take the closing
    /// for a change.
    fn claim(&self, device: &str) -> Result<Option<OwnedFd>, Use> {
        let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let holder = match rustix::fs::openat(CWD, self.dev.join(device), flags, Mode::empty()) {
            Ok(claim) => return Ok(Some(claim)),
            // No new process can claim a disk that is dead or gone.
            Err(Errno::NXIO | Errno::NODEV | Errno::NOENT | Errno::IO | Errno::NOMEDIUM) => return Ok(None),
            Err(Errno::BUSY) => Holder::Claim,
            Err(error) => Holder::Unknown(error.raw_os_error()),
        };
        Err(Use { device: device.to_owned(), holder })
    }
}

/// `8:0`.
fn numbers(number: &str) -> Option<(u32, u32)> {
    let (major, minor) = number.split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests;
