//! How to release what holds devices: commands that can be pasted, topmost first, and the programs
//! to stop, for which there is none.
//! Must not name a command that ends a program.

use std::collections::{BTreeMap, BTreeSet};

use iscsi_initiator_dbus::shell::command;

use super::holder::{Holder, Use, guest};

/// How many uses are put in order. What is beyond is found once these are gone.
const MOST: usize = 512;

/// The devices stacked directly on each device.
pub(super) type Above = BTreeMap<String, BTreeSet<String>>;

/// What ends the uses of some devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Release {
    /// The programs to stop first: `qemu-system-x86 (pid 4711)`.
    pub(crate) programs: Vec<String>,
    /// The commands, in the order in which they must run.
    pub(crate) commands: Vec<String>,
    /// Devices that are held by what has no command.
    pub(crate) unexplained: Vec<String>,
}

/// One command.
struct Step<'a> {
    command: String,
    /// The devices whose uses it ends.
    devices: BTreeSet<&'a str>,
    /// Where a file system is mounted that it unmounts.
    place: Option<&'a str>,
    /// Whether it ends the use of a file, and not of the device itself.
    is_of_file: bool,
    /// How often it must run: as many file systems are mounted on that place.
    times: usize,
}

impl Release {
    /// For these uses, of devices that are stacked like this.
    pub(super) fn of<'a>(found: impl IntoIterator<Item = &'a Use>, above: &Above) -> Self {
        let mut release = Self::default();
        let mut steps: Vec<Step<'_>> = Vec::new();
        for used in found.into_iter().take(MOST) {
            let of_use = steps_of(used);
            match &used.holder {
                Holder::Open(process) => release.programs.push(process.to_string()),
                Holder::Guest { domain, process } => release.programs.push(guest(domain, process)),
                Holder::Unseen(unseen) => {
                    release.programs.extend(unseen.iter().map(|one| one.process.to_string()));
                }
                // Ends by itself, or with what is mounted on it.
                Holder::Udev(_) | Holder::Loop { .. } | Holder::Btrfs { .. } => {}
                _ if of_use.is_empty() => release.unexplained.push(used.device.clone()),
                _ => {}
            }
            for step in of_use {
                match steps.iter_mut().find(|known| known.command == step.command) {
                    Some(known) => {
                        known.devices.extend(step.devices);
                        known.times += step.times;
                    }
                    None => steps.push(step),
                }
            }
        }
        release.programs.sort_unstable();
        release.programs.dedup();
        steps.sort_by(|a, b| (&a.devices, &a.command).cmp(&(&b.devices, &b.command)));
        for step in in_order(steps, &closure(above)) {
            // Of a btrfs only a member may be known, and not its mount.
            release.commands.extend(std::iter::repeat_n(step.command, step.times.max(1)));
        }
        release
    }
}

impl Use {
    /// The command that ends this use alone, if there is one. What is stacked on it goes before.
    pub(crate) fn command(&self) -> Option<String> {
        steps_of(self).into_iter().next().map(|step| step.command)
    }
}

/// What ends one use.
fn steps_of(used: &Use) -> Vec<Step<'_>> {
    let step = |words: &[&str]| Step {
        command: command(words),
        devices: BTreeSet::from([used.device.as_str()]),
        place: None,
        is_of_file: false,
        times: 0,
    };
    let device = |name: &str| format!("/dev/{name}");
    let one = match &used.holder {
        Holder::Mount { place, seen_by: None } => {
            Step { place: Some(place), times: 1, ..step(&["umount", place]) }
        }
        Holder::Mount { place, seen_by: Some(process) } => {
            step(&["nsenter", "--target", &process.pid.to_string(), "--mount", "umount", place])
        }
        Holder::Swap { file: None } => step(&["swapoff", &device(&used.device)]),
        Holder::Swap { file: Some(file) } => Step { is_of_file: true, ..step(&["swapoff", file]) },
        Holder::Loop { clears_itself: true, .. } => return Vec::new(),
        Holder::Loop { name, .. } => {
            Step { is_of_file: true, ..step(&["losetup", "--detach", &device(name)]) }
        }
        Holder::Btrfs { places, .. } => {
            let unmount = |place| Step { place: Some(place), ..step(&["umount", place]) };
            return places.iter().map(|place| unmount(place.as_str())).collect();
        }
        Holder::Volume { group, .. } if !group.is_empty() => step(&["vgchange", "--activate", "n", group]),
        Holder::Crypt { name } => step(&["cryptsetup", "close", name]),
        Holder::Map { name } => step(&["multipath", "-f", name]),
        Holder::Raid { name } => step(&["mdadm", "--stop", &device(name)]),
        Holder::Bcache { name } => Step {
            command: format!("echo 1 > {}", command([format!("/sys/block/{name}/bcache/stop")])),
            ..step(&[])
        },
        Holder::Mapper { name } => step(&["dmsetup", "remove", name]),
        Holder::Volume { .. }
        | Holder::Other { .. }
        | Holder::Open(_)
        | Holder::Guest { .. }
        | Holder::Udev(_)
        | Holder::Claim
        | Holder::Unknown(_)
        | Holder::Unseen(_)
        | Holder::TooDeep => return Vec::new(),
    };
    vec![one]
}

/// Everything on each device, all the way up.
fn closure(above: &Above) -> BTreeMap<&str, BTreeSet<&str>> {
    let all_on = |device: &str| {
        let mut seen = BTreeSet::new();
        let mut next: Vec<&str> = above.get(device).into_iter().flatten().map(String::as_str).collect();
        while let Some(device) = next.pop() {
            if seen.insert(device) {
                next.extend(above.get(device).into_iter().flatten().map(String::as_str));
            }
        }
        seen
    };
    above.keys().map(|device| (device.as_str(), all_on(device))).collect()
}

/// Each step after all that must come before it. Of steps that would each have to come before the
/// other, the first is taken: whoever runs it is told by it.
fn in_order<'a>(mut steps: Vec<Step<'a>>, on: &BTreeMap<&str, BTreeSet<&str>>) -> Vec<Step<'a>> {
    let mut ordered = Vec::with_capacity(steps.len());
    while !steps.is_empty() {
        let is_free = |step: &Step<'_>| !steps.iter().any(|other| must_precede(other, step, on));
        let next = steps.iter().position(is_free).unwrap_or_default();
        ordered.push(steps.remove(next));
    }
    ordered
}

fn must_precede(step: &Step<'_>, other: &Step<'_>, on: &BTreeMap<&str, BTreeSet<&str>>) -> bool {
    let is_on = |device: &&str| {
        let stacked = |below: &&str| on.get(*below).is_some_and(|above| above.contains(*device));
        other.devices.iter().any(stacked)
    };
    let is_file_on_it = step.is_of_file && !other.is_of_file && !step.devices.is_disjoint(&other.devices);
    let is_beneath = match (step.place, other.place) {
        (Some(place), Some(of)) => place != of && std::path::Path::new(place).starts_with(of),
        _ => false,
    };
    is_file_on_it || is_beneath || step.devices.iter().any(is_on)
}

#[cfg(test)]
mod tests {
    use super::{super::holder::Process, *};

    fn used(device: &str, holder: Holder) -> Use {
        Use { device: device.to_owned(), holder }
    }

    fn mount(device: &str, place: &str) -> Use {
        used(device, Holder::Mount { place: place.to_owned(), seen_by: None })
    }

    fn image(device: &str, name: &str, clears_itself: bool) -> Use {
        let file = "/mnt/image".to_owned();
        used(device, Holder::Loop { name: name.to_owned(), file, clears_itself })
    }

    fn volume(device: &str, volume: &str) -> Use {
        used(device, Holder::Volume { group: "guest".into(), volume: volume.into() })
    }

    fn crypt(device: &str, name: &str) -> Use {
        used(device, Holder::Crypt { name: name.to_owned() })
    }

    /// The commands for these uses, found in any order.
    #[track_caller]
    fn runs(found: &[Use], stack: &[(&str, &str)], expected: &[&str]) {
        let mut above = Above::new();
        for (below, device) in stack {
            above.entry((*below).to_owned()).or_default().insert((*device).to_owned());
        }
        let sorted: BTreeSet<&Use> = found.iter().collect();
        assert_eq!(Release::of(sorted.iter().copied(), &above).commands, expected);
        assert_eq!(Release::of(sorted.iter().rev().copied(), &above).commands, expected);
    }

    #[test]
    fn each_kind_of_holder_has_its_command() {
        let name = || "a b".to_owned();
        let process = Process { pid: 77, name: "sh".into() };
        for (holder, expected) in [
            (Holder::Mount { place: "/mnt".into(), seen_by: None }, "umount /mnt"),
            (Holder::Mount { place: "/my disk".into(), seen_by: None }, "umount '/my disk'"),
            (
                Holder::Mount { place: "/mnt".into(), seen_by: Some(process) },
                "nsenter --target 77 --mount umount /mnt",
            ),
            (Holder::Swap { file: None }, "swapoff /dev/sda"),
            (Holder::Swap { file: Some("/mnt/my swap".into()) }, "swapoff '/mnt/my swap'"),
            (
                Holder::Loop { name: "loop0".into(), file: name(), clears_itself: false },
                "losetup --detach /dev/loop0",
            ),
            (Holder::Btrfs { uuid: "uu".into(), places: vec!["/mnt".into()] }, "umount /mnt"),
            (Holder::Volume { group: "g".into(), volume: "v".into() }, "vgchange --activate n g"),
            (Holder::Crypt { name: name() }, "cryptsetup close 'a b'"),
            (Holder::Map { name: name() }, "multipath -f 'a b'"),
            (Holder::Raid { name: "md9".into() }, "mdadm --stop /dev/md9"),
            (Holder::Bcache { name: "bcache0".into() }, "echo 1 > /sys/block/bcache0/bcache/stop"),
            (Holder::Mapper { name: name() }, "dmsetup remove 'a b'"),
        ] {
            runs(&[used("sda", holder)], &[], &[expected]);
        }
    }

    #[test]
    fn a_stack_is_taken_down_from_its_top() {
        runs(
            &[
                volume("sda", "root"),
                crypt("dm-1", "safe"),
                mount("dm-2", "/mnt"),
                image("dm-2", "loop0", false),
                mount("loop0", "/srv"),
            ],
            &[("sda", "dm-1"), ("dm-1", "dm-2"), ("dm-2", "loop0")],
            &[
                "umount /srv",
                "losetup --detach /dev/loop0",
                "umount /mnt",
                "cryptsetup close safe",
                "vgchange --activate n guest",
            ],
        );
        // A loop device that clears itself is gone by then.
        runs(
            &[mount("sda", "/mnt"), image("sda", "loop0", true), mount("loop0", "/srv")],
            &[("sda", "loop0")],
            &["umount /srv", "umount /mnt"],
        );
    }

    #[test]
    fn what_several_volumes_need_is_done_once_and_after_all_of_them() {
        runs(
            &[
                volume("sda", "root"),
                volume("sda", "swap"),
                volume("sdb", "root"),
                mount("dm-1", "/mnt"),
                used("dm-2", Holder::Swap { file: None }),
            ],
            &[("sda", "dm-1"), ("sda", "dm-2"), ("sdb", "dm-1")],
            &["umount /mnt", "swapoff /dev/dm-2", "vgchange --activate n guest"],
        );
    }

    #[test]
    fn a_mount_within_another_goes_first_whatever_they_are_on() {
        runs(
            &[mount("sda", "/mnt/inner"), mount("sdb", "/mnt"), mount("sdb", "/mnt/inner/deep")],
            &[],
            &["umount /mnt/inner/deep", "umount /mnt/inner", "umount /mnt"],
        );
        // Two file systems on one place.
        runs(&[mount("sda", "/mnt"), mount("sdb", "/mnt")], &[], &["umount /mnt", "umount /mnt"]);
    }

    #[test]
    fn a_btrfs_is_unmounted_once_and_before_each_of_its_members_is_closed() {
        let member = |device| {
            let places = vec!["/mnt".to_owned()];
            used(device, Holder::Btrfs { uuid: "uu".into(), places })
        };
        runs(
            &[crypt("sda", "a"), crypt("sdb", "b"), mount("dm-1", "/mnt"), member("dm-1"), member("dm-2")],
            &[("sda", "dm-1"), ("sdb", "dm-2")],
            &["umount /mnt", "cryptsetup close a", "cryptsetup close b"],
        );
    }

    #[test]
    fn a_program_is_named_and_not_ended() {
        let process = || Process { pid: 4711, name: "qemu-system-x86".into() };
        let found = [
            used("dm-0", Holder::Open(process())),
            used("sda", Holder::Open(process())),
            used("sdb", Holder::Udev(process())),
            used("sdc", Holder::Claim),
        ];
        let release = Release::of(&found, &Above::new());
        assert_eq!(release.programs, ["qemu-system-x86 (pid 4711)"]);
        assert_eq!((release.commands.len(), release.unexplained), (0, vec!["sdc".to_owned()]));
    }

    #[test]
    fn steps_that_wait_for_each_other_are_all_there() {
        let circle = [mount("loop0", "/m"), mount("dm-1", "/m/a"), image("dm-1", "loop0", false)];
        let above = Above::from([("dm-1".to_owned(), BTreeSet::from(["loop0".to_owned()]))]);
        assert_eq!(Release::of(&circle, &above).commands.len(), 3);
    }
}
