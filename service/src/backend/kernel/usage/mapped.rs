//! Finds the processes that have a device mapped. Before Linux 6.17 the kernel locks a process's
//! mappings to list them, and a process that is mapping a file of a file system that does not
//! answer holds that lock for as long as it likes: so they are read on threads that can be
//! abandoned.
//! Must not wait for such a thread, or start one for each process that hangs.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Error, ErrorKind, Result},
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::backend::host::bounded;

/// How long one process's mappings may take to be read.
const EACH: Duration = Duration::from_secs(3);
/// How many processes of each kind may keep a thread: those that could open a device by themselves,
/// and the others.
const STUCK: usize = 4;
/// More than any process may have (`vm.max_map_count` is 1048576 at most by default).
const MOST: u64 = 4 << 30;

/// A process whose mappings are to be read.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    pub(super) pid: u32,
    /// Below `/proc`.
    pub(super) path: PathBuf,
}

/// The processes whose mappings a thread is still reading after nothing waited for it any more, and
/// of which kind each is.
#[derive(Clone, Debug, Default)]
pub(super) struct Hanging(Arc<Mutex<BTreeMap<u32, bool>>>);

/// The names of the devices that a process has mapped.
type Names = Result<Vec<String>>;

impl Hanging {
    /// The devices that each process has mapped, in the same order. All must be of one kind.
    /// `TimedOut` for those that hang, that are not reached in time, or that no thread is left for.
    pub(super) fn read(
        &self,
        processes: &[Folder],
        is_able: bool,
        wanted: &Arc<BTreeSet<String>>,
        until: Instant,
    ) -> Vec<Names> {
        let mut found = Vec::new();
        while let Some(left) = processes.get(found.len()..).filter(|left| !left.is_empty()) {
            let known = self.lock();
            if left.first().is_some_and(|process| known.contains_key(&process.pid)) {
                found.push(late());
                continue;
            }
            // Up to the next one that is known to hang.
            let end = left.iter().position(|process| known.contains_key(&process.pid));
            let is_full = known.values().filter(|&&kind| kind == is_able).count() >= STUCK;
            drop(known);
            if is_full || Instant::now() >= until {
                found.push(late());
                continue;
            }
            let group = left.get(..end.unwrap_or(left.len())).unwrap_or_default();
            self.read_on_a_thread(group, is_able, wanted, until, &mut found);
        }
        found
    }

    /// Reads until the end or until one hangs.
    fn read_on_a_thread(
        &self,
        group: &[Folder],
        is_able: bool,
        wanted: &Arc<BTreeSet<String>>,
        until: Instant,
        found: &mut Vec<Names>,
    ) {
        let reading = Reading::begin();
        let (work, wanted, hanging, at_work) =
            (group.to_vec(), Arc::clone(wanted), self.clone(), reading.clone());
        // It begins with the capabilities of this thread.
        let thread = std::thread::Builder::new().spawn(move || {
            let _ends = Ends(&at_work);
            for process in work {
                let names = mapped(&process, &wanted, until.min(Instant::now() + EACH));
                // Together, so that it is either received or forgotten.
                let mut known = hanging.lock();
                known.remove(&process.pid);
                if !at_work.add(names) {
                    return;
                }
            }
        });
        if let Err(error) = thread {
            return found.push(Err(error));
        }
        // It stops by itself at its limit, unless it hangs.
        let limit = |since: Instant| EACH.min(until.saturating_duration_since(since)) + EACH / 4;
        let mut number = 0;
        while reading.wait(&mut number, limit) {
            let mut known = self.lock();
            let mut read = reading.lock();
            // It may have come just now.
            if read.found.len() > number || read.is_over {
                continue;
            }
            let Some(process) = group.get(number) else { break };
            known.insert(process.pid, is_able);
            // With nobody waiting the thread ends when it comes back.
            read.is_left = true;
            drop((known, read));
            tracing::warn!(pid = process.pid, "hangs: what it has mapped is not known");
            break;
        }
        found.append(&mut reading.lock().found);
        if number < group.len() {
            // It hangs, or panicked.
            found.push(late());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a thread has read so far. Who waits for it is woken up once, at its end: each time would cost more than a process
/// takes to be read.
#[derive(Clone)]
struct Reading(Arc<(Mutex<Read>, Condvar)>);

struct Read {
    found: Vec<Names>,
    /// When it began with the next one.
    since: Instant,
    is_over: bool,
    /// Nobody waits any more.
    is_left: bool,
}

/// The end of the thread, whatever ends it.
struct Ends<'a>(&'a Reading);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.lock().is_over = true;
        self.0.0.1.notify_one();
    }
}

impl Reading {
    fn begin() -> Self {
        let read = Read { found: Vec::new(), since: Instant::now(), is_over: false, is_left: false };
        Self(Arc::new((Mutex::new(read), Condvar::new())))
    }

    fn lock(&self) -> MutexGuard<'_, Read> {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether anybody still waits.
    fn add(&self, names: Names) -> bool {
        let mut read = self.lock();
        if !read.is_left {
            read.found.push(names);
            read.since = Instant::now();
        }
        !read.is_left
    }

    /// Waits until the thread has ended, or is late with a process. Returns whether it is, and sets the number of those
    /// that were read.
    fn wait(&self, number: &mut usize, limit: impl Fn(Instant) -> Duration) -> bool {
        let mut read = self.lock();
        loop {
            *number = read.found.len();
            if read.is_over {
                return false;
            }
            let left = (read.since + limit(read.since)).saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            read = self.0.1.wait_timeout(read, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

fn late() -> Names {
    Err(ErrorKind::TimedOut.into())
}

/// A mapping outlives the descriptor that it was made from.
fn mapped(process: &Folder, wanted: &BTreeSet<String>, until: Instant) -> Names {
    let mut names = BTreeSet::new();
    bounded::lines(&process.path.join("maps"), MOST, |line| {
        if Instant::now() >= until {
            return Err(Error::from(ErrorKind::TimedOut));
        }
        // Before the path no column has a slash.
        let name = line.split_once('/').and_then(|(_, path)| path.strip_prefix("dev/"));
        names.extend(name.and_then(|name| wanted.get(name)).cloned());
        Ok(())
    })?;
    Ok(names.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::backend::host::atomic::Dir;

    fn maps(root: &Path, pid: u32, text: &str) -> Folder {
        let path = root.join(pid.to_string());
        std::fs::create_dir_all(&path).unwrap();
        Dir::open(&path).unwrap().replace("maps", text.as_bytes(), 0o444).unwrap();
        Folder { pid, path }
    }

    /// Its mappings are a pipe that nothing writes to: to open it blocks.
    fn hangs(root: &Path, pid: u32) -> Folder {
        let path = root.join(pid.to_string());
        std::fs::create_dir_all(&path).unwrap();
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        rustix::fs::mknodat(rustix::fs::CWD, path.join("maps"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        Folder { pid, path }
    }

    #[test]
    fn a_process_that_hangs_is_passed_over_and_remembered() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let line = "7f0-7f1 rw-s 00000000 00:05 300 /dev/sdb\n";
        let processes = [maps(root, 7, line), hangs(root, 8), maps(root, 9, ""), maps(root, 10, line)];
        let wanted = Arc::new(BTreeSet::from(["sdb".to_owned()]));
        let hanging = Hanging::default();
        let look = || {
            let until = Instant::now() + 20 * EACH;
            let found = hanging.read(&processes, false, &wanted, until);
            found.into_iter().map(|names| names.map_err(|error| error.kind())).collect::<Vec<_>>()
        };
        let sdb = || Ok(vec!["sdb".to_owned()]);
        let expected = [sdb(), Err(ErrorKind::TimedOut), Ok(Vec::new()), sdb()];
        assert_eq!(look(), expected);
        let begun = Instant::now();
        assert_eq!(look(), expected, "it is known now, and not waited for again");
        assert!(begun.elapsed() < EACH);
        assert_eq!(hanging.lock().len(), 1);
        // Its thread comes back.
        drop(std::fs::File::options().write(true).open(root.join("8/maps")).unwrap());
        while !hanging.lock().is_empty() {
            std::thread::yield_now();
        }
        std::fs::remove_file(root.join("8/maps")).unwrap();
        maps(root, 8, line);
        assert_eq!(look().get(1), Some(&sdb()));
    }

    #[test]
    fn only_a_path_that_begins_with_dev_is_a_device() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = BTreeSet::from(["sdb".to_owned(), "mapper/x".to_owned()]);
        let read =
            |text: &str| mapped(&maps(folder.path(), 7, text), &wanted, Instant::now() + EACH).unwrap();
        let line = |path: &str| format!("7f0-7f1 rw-s 00000000 00:05 300    {path}\n");
        assert_eq!(read(&format!("{}{}", line("/dev/sdb"), line("/dev/mapper/x"))), ["mapper/x", "sdb"]);
        let others = ["", "[heap]", "/usr/lib/libc.so", "/dev/sdbx", "/a /dev/sdb", "/x/dev/sdb"];
        assert_eq!(read(&others.map(line).concat()), [""; 0]);
    }

    #[test]
    fn those_that_hang_do_not_take_more_than_some_threads() {
        let folder = tempfile::tempdir().unwrap();
        let hanging = Hanging::default();
        hanging.lock().extend((0..4).map(|pid| (pid, false)));
        let wanted = Arc::new(BTreeSet::new());
        let process = [maps(folder.path(), 7, "")];
        let until = Instant::now() + 20 * EACH;
        let of = |is_able| hanging.read(&process, is_able, &wanted, until).into_iter().all(|one| one.is_ok());
        assert!(!of(false), "no thread is left");
        assert!(of(true), "but for others there is");
    }
}
