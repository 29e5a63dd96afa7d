//! The processes that make and end sessions: which are alive, and the pids by which the kernel may
//! know them.
//! Must not take “could not look” for “there is none”.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, test_kill_process},
};

use crate::backend::host::{
    age,
    bounded::{self, SMALL},
    capabilities::{Raised, TO_LOOK_INTO_PROCESSES},
};

/// The programs that make sessions through the kernel's iSCSI transport: open-iscsi's daemon, and
/// its boot program.
const MAKERS: [&str; 2] = ["iscsid", "iscsistart"];
/// The program that has the daemon make or end a session.
pub(super) const ASKER: &str = "iscsiadm";

/// Ages may differ by this much from what they are: they are taken from two clocks, one of which is
/// corrected now and then. A process that started so shortly after a session may be its maker.
const ROUNDED: Duration = Duration::from_secs(2);

/// The processes that are alive.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Makers {
    /// Every pid of every maker: in a container it has a pid of its own, which it reports to the
    /// kernel.
    numbers: BTreeSet<u32>,
    /// Other processes of root's that have the number of a session's maker, with their own pids.
    others: BTreeMap<u32, Vec<u32>>,
    pub(super) has_asker: bool,
    /// Whether the list could not be read completely.
    pub(super) is_unsure: bool,
}

impl Makers {
    /// `creators` are the numbers of the processes that made sessions, as the kernel knows them.
    pub(super) fn look(proc: &Path, creators: &BTreeSet<u32>) -> Self {
        // Where /proc hides other users' processes (hidepid), it also hides them from root without
        // its capabilities.
        let _capabilities = Raised::new(TO_LOOK_INTO_PROCESSES);
        let Ok(entries) = std::fs::read_dir(proc) else { return Self { is_unsure: true, ..Self::default() } };
        let mut makers = Self::default();
        for entry in entries {
            let Ok(entry) = entry else {
                makers.is_unsure = true;
                continue;
            };
            let name = entry.file_name();
            let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
            // Not decoded at once: a process's name may be any bytes.
            match bounded::text(&entry.path().join("status"), SMALL) {
                Ok(status) => makers.add(pid, &status, creators),
                Err(error) => makers.is_unsure |= !is_gone(&error),
            }
        }
        makers
    }

    /// Any process may have that name, but only root's can make a session.
    fn add(&mut self, pid: u32, status: &str, creators: &BTreeSet<u32>) {
        let of = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        let name = of("Name:").trim();
        if of("Uid:").split_whitespace().next() != Some("0") {
            return;
        }
        self.has_asker |= name == ASKER;
        let mut numbers = BTreeSet::from([pid]);
        numbers.extend(of("NSpid:").split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        if MAKERS.contains(&name) {
            self.numbers.extend(numbers);
            return;
        }
        for number in numbers.intersection(creators) {
            self.others.entry(*number).or_default().push(pid);
        }
    }

    /// Whether any maker is alive, or may be.
    pub(super) fn is_any(&self) -> bool {
        self.is_unsure || !self.numbers.is_empty()
    }

    /// Whether the process that the kernel knows by this pid has ended. `age` is how old its session
    /// is at least.
    pub(super) fn is_dead(&self, proc: &Path, creator: u32, age: impl Fn() -> Option<Duration>) -> bool {
        if self.is_unsure || self.numbers.contains(&creator) {
            return false;
        }
        // Whatever its name is: it may be another initiator.
        let mut others = self.others.get(&creator).into_iter().flatten();
        let is_later = |pid: &u32| {
            let ages = age().zip(age::of(proc, &pid.to_string()));
            ages.is_some_and(|(session, process)| session > process.saturating_add(ROUNDED))
        };
        if !others.all(is_later) {
            return false;
        }
        let pid = i32::try_from(creator).ok().and_then(Pid::from_raw);
        // A pid that another program has by now is not the maker's.
        pid.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH))
            || proc.join(creator.to_string()).join("status").exists()
    }
}

/// A process that has ended in the meantime does not count.
fn is_gone(error: &std::io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOENT | Errno::SRCH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(name: &str, uid: u32, numbers: &str) -> String {
        format!(
            "Name:\t{name}\nUmask:\t0022\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nNSpid:\t{numbers}\nThreads:\t1\n"
        )
    }

    #[test]
    fn a_maker_is_known_by_all_of_its_numbers() {
        let (mut makers, none) = (Makers::default(), BTreeSet::new());
        makers.add(4711, &status("iscsid", 0, "4711\t12"), &none);
        makers.add(4712, &status("iscsid", 1000, "4712"), &none);
        makers.add(4713, &status("iscsiadm", 1000, "4713"), &none);
        makers.add(4714, "Name:\tiscsid\n", &none);
        assert_eq!(makers.numbers, BTreeSet::from([12, 4711]));
        assert!(makers.is_any() && !makers.has_asker);
        makers.add(4715, &status("iscsiadm", 0, "4715"), &none);
        assert!(makers.has_asker);
        let proc = Path::new("/nonexistent");
        assert!(!makers.is_dead(proc, 12, || None) && !makers.is_dead(proc, 4711, || None));
    }

    #[test]
    fn what_cannot_be_looked_at_may_live() {
        let makers = Makers::look(Path::new("/nonexistent"), &BTreeSet::new());
        assert!(makers.is_any() && !makers.is_dead(Path::new("/proc"), 4_000_000, || None));
        assert!(
            is_gone(&Errno::SRCH.into()) && is_gone(&Errno::NOENT.into()) && !is_gone(&Errno::MFILE.into())
        );
        // Without an entry (hidepid) it is alive as long as the kernel knows it.
        let makers = Makers::default();
        assert!(!makers.is_dead(Path::new("/nonexistent"), std::process::id(), || None));
        assert!(makers.is_dead(Path::new("/nonexistent"), 40_000_000, || None));
    }
}
