//! The virtual machines that run here, by their processes: libvirt itself is never asked.
//! Must not believe the name of one that libvirt did not start, or take a process that cannot be read for none.

use std::{collections::BTreeMap, io::ErrorKind, path::Path};

use iscsi_initiator_dbus::GuestUuid;
use rustix::io::Errno;

use super::processes::{pids, programs};
use crate::backend::host::{
    bounded::{self, SMALL},
    capabilities::{Raised, TO_LOOK_INTO_PROCESSES},
};

/// libvirt writes the name and the UUID of a virtual machine before all that grows with it: what has neither among its
/// first bytes is none that libvirt started.
const BEGINNING: u64 = 1 << 18;

/// A name is shown as far as this.
const LONGEST: usize = 64;

/// The virtual machines that run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Guests {
    /// Each with its name, which is empty if libvirt did not start its process.
    running: BTreeMap<GuestUuid, String>,
    /// Whether a process could not be read: it may be any of them.
    is_partial: bool,
}

impl Guests {
    /// Looks through all processes. Blocks.
    pub(crate) fn look(proc: &Path) -> Self {
        // Those of others may be hidden from who may not look into them.
        let _capabilities = Raised::new(TO_LOOK_INTO_PROCESSES);
        let mut guests = Self::default();
        let programs = programs(proc, &pids(proc));
        // There always is one: this.
        guests.is_partial = programs.is_empty();
        for pid in programs {
            match arguments(proc, pid) {
                Ok(words) => {
                    let Some(uuid) = value(&words, "-uuid").and_then(|text| text.parse().ok()) else {
                        continue;
                    };
                    let name = domain_of(proc, pid, &words).unwrap_or_default();
                    // Any user's process may claim to be one: it does not hide the name of the one that is.
                    let known = guests.running.entry(uuid).or_default();
                    if known.is_empty() {
                        *known = name;
                    }
                }
                Err(error) if is_gone(&error) => {}
                Err(_) => guests.is_partial = true,
            }
        }
        guests
    }

    /// Whether it is known that this one does not run.
    pub(crate) fn is_gone(&self, uuid: &GuestUuid) -> bool {
        !self.is_partial && !self.running.contains_key(uuid)
    }

    /// The name of this one; empty if it is not known.
    pub(crate) fn name(&self, uuid: &GuestUuid) -> &str {
        self.running.get(uuid).map_or("", String::as_str)
    }
}

/// The name of the virtual machine whose process this is, if libvirt started it.
pub(crate) fn domain(proc: &Path, pid: u32) -> Option<String> {
    domain_of(proc, pid, &arguments(proc, pid).ok()?)
}

fn domain_of(proc: &Path, pid: u32, words: &[String]) -> Option<String> {
    let cgroup = bounded::text(&proc.join(pid.to_string()).join("cgroup"), SMALL).ok()?;
    is_libvirts(&cgroup).then(|| shown(value(words, "-name")?)).flatten()
}

/// Whether libvirt made its control group, which only root can: with systemd-machined's help, or without.
fn is_libvirts(cgroup: &str) -> bool {
    let paths = cgroup.lines().filter_map(|line| {
        line.strip_prefix("0::").or_else(|| line.split_once(":name=systemd:").map(|(_, path)| path))
    });
    paths
        .into_iter()
        .any(|path| path.starts_with("/machine.slice/machine-qemu") || path.starts_with("/machine/qemu-"))
}

/// `guest=NAME,debug-threads=on`, as libvirt writes it, with commas of the name doubled. A process can change the
/// words that it was started with.
fn shown(value: &str) -> Option<String> {
    let value = value.strip_prefix("guest=").unwrap_or(value).replace(",,", "\0");
    let name = value.split(',').next()?.replace('\0', ",");
    let name: String = name.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
    let name = name.trim().to_owned();
    (!name.is_empty()).then_some(name)
}

/// The first words that a process was started with.
fn arguments(proc: &Path, pid: u32) -> std::io::Result<Vec<String>> {
    let text = bounded::beginning(&proc.join(pid.to_string()).join("cmdline"), BEGINNING)?;
    Ok(text.split('\0').map(str::to_owned).collect())
}

/// What follows this word.
fn value<'a>(words: &'a [String], option: &str) -> Option<&'a str> {
    let mut words = words.iter();
    words.find(|word| *word == option)?;
    words.next().map(String::as_str)
}

fn is_gone(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == Some(Errno::SRCH.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::host::atomic::Dir;

    const WEB: &str = "c7a5fdbd-edaf-9455-926a-d65c16db1809";
    const SCOPE: &str = "0::/machine.slice/machine-qemu\\x2d1\\x2dweb.scope/libvirt/emulator\n";

    fn put(proc: &Path, pid: u32, words: &[&str], cgroup: &str) {
        let folder = proc.join(pid.to_string());
        std::fs::create_dir_all(&folder).unwrap();
        let dir = Dir::open(&folder).unwrap();
        dir.replace("cmdline", format!("{}\0", words.join("\0")).as_bytes(), 0o444).unwrap();
        dir.replace("cgroup", cgroup.as_bytes(), 0o444).unwrap();
    }

    fn uuid(text: &str) -> GuestUuid {
        text.parse().unwrap()
    }

    #[test]
    fn a_machine_runs_as_long_as_a_process_has_its_uuid_and_has_a_name_if_libvirt_started_it() {
        let proc = tempfile::tempdir().unwrap();
        let qemu = ["qemu", "-name", "guest=w,,eb\u{1b},debug-threads=on", "-uuid", WEB];
        put(proc.path(), 7, &["sh"], "0::/user.slice\n");
        assert!(Guests::look(proc.path()).is_gone(&uuid(WEB)));
        put(proc.path(), 8, &qemu, "0::/user.slice/machine.slice/machine-qemu\n");
        let guests = Guests::look(proc.path());
        assert!(!guests.is_gone(&uuid(WEB)) && guests.name(&uuid(WEB)).is_empty());
        assert_eq!(domain(proc.path(), 8), None, "a user chose its control group");
        put(proc.path(), 9, &qemu, SCOPE);
        assert_eq!(Guests::look(proc.path()).name(&uuid(WEB)), "w,eb");
        assert_eq!(domain(proc.path(), 9).as_deref(), Some("w,eb"));
        put(proc.path(), 9, &["qemu", "-uuid"], SCOPE);
        assert_eq!(domain(proc.path(), 9), None);
    }

    #[test]
    fn what_cannot_be_read_may_be_any_of_them() {
        let proc = tempfile::tempdir().unwrap();
        assert!(!Guests::look(proc.path()).is_gone(&uuid(WEB)), "no process at all");
        put(proc.path(), 7, &["sh"], "");
        std::fs::create_dir(proc.path().join("8")).unwrap();
        assert!(Guests::look(proc.path()).is_gone(&uuid(WEB)), "it has ended");
        std::fs::create_dir(proc.path().join("8/cmdline")).unwrap();
        assert!(!Guests::look(proc.path()).is_gone(&uuid(WEB)));
        std::fs::remove_dir(proc.path().join("8/cmdline")).unwrap();
    }

    #[test]
    fn a_process_with_more_words_than_are_read_is_known_by_the_first() {
        let (proc, long) = (tempfile::tempdir().unwrap(), "x".repeat(1 << 20));
        put(proc.path(), 7, &[long.as_str()], "");
        assert!(Guests::look(proc.path()).is_gone(&uuid(WEB)), "libvirt did not start that");
        put(proc.path(), 8, &["qemu", "-name", "guest=web", "-uuid", WEB, &long], SCOPE);
        assert_eq!(Guests::look(proc.path()).name(&uuid(WEB)), "web");
        assert!(!Guests::look(proc.path()).is_gone(&uuid(WEB)));
    }

    #[test]
    fn a_name_is_bounded_and_has_no_control_character() {
        assert_eq!(shown("web"), Some("web".to_owned()));
        assert_eq!(shown(&format!("guest={}", "x".repeat(999))).unwrap().len(), LONGEST);
        assert_eq!((shown("guest="), shown("guest=,x"), shown(" \n")), (None, None, None));
    }
}
