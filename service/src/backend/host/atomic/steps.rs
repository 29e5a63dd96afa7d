//! Counts the durable steps, so that a test can end the daemon before any one of them.
//!
//! A step changes a name or a mode on disk: rename, link, unlink, mkdir, rmdir, chmod. Without the
//! feature `steps` and outside the unit tests, the calls do nothing.

use rustix::io::Result;

#[cfg(feature = "steps")]
mod counted {
    use std::sync::atomic::{AtomicU64, Ordering};

    static COUNT: AtomicU64 = AtomicU64::new(0);
    static DIE_AT: AtomicU64 = AtomicU64::new(0);

    /// Aborts the process instead of taking its `n`-th step, counted from 1; 0 means never.
    pub fn die_at(n: u64) {
        DIE_AT.store(n, Ordering::SeqCst);
    }

    /// How many steps the process has taken.
    pub fn count() -> u64 {
        COUNT.load(Ordering::SeqCst)
    }

    pub(super) fn step() {
        let number = COUNT.fetch_add(1, Ordering::SeqCst).saturating_add(1);
        if number == DIE_AT.load(Ordering::SeqCst) {
            // Nothing unwinds, and no file is closed in an orderly way, like after SIGKILL.
            std::process::abort();
        }
    }
}

#[cfg(feature = "steps")]
pub use self::counted::{count, die_at};

/// Must be called right before each step. `EIO` only in a unit test that stops its thread here.
pub(crate) fn step() -> Result<()> {
    #[cfg(feature = "steps")]
    counted::step();
    #[cfg(test)]
    {
        observed::step();
        stopped::step()?;
    }
    Ok(())
}

#[cfg(test)]
pub(crate) use self::{observed::observe, stopped::at_every_step};

/// Within a unit test: a thread that says when it takes a step.
#[cfg(test)]
mod observed {
    use std::cell::RefCell;

    thread_local! {
        static OBSERVER: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
    }

    /// Calls this before each step of this thread.
    pub(crate) fn observe(observer: impl Fn() + 'static) {
        OBSERVER.replace(Some(Box::new(observer)));
    }

    pub(super) fn step() {
        OBSERVER.with_borrow(|observer| observer.iter().for_each(|observer| observer()));
    }
}

/// The same within a unit test: from its n-th step on, a thread changes nothing on disk any more.
#[cfg(test)]
mod stopped {
    use std::cell::Cell;

    use rustix::io::{Errno, Result};

    thread_local! {
        static LEFT: Cell<Option<u64>> = const { Cell::new(None) };
    }

    pub(super) fn step() -> Result<()> {
        match LEFT.get() {
            None => Ok(()),
            Some(0) => Err(Errno::IO),
            Some(left) => {
                LEFT.set(Some(left - 1));
                Ok(())
            }
        }
    }

    /// Creates a world, acts in it until before the n-th step, and checks what is left, for every n
    /// until the act is complete. Returns the number of its steps.
    pub(crate) fn at_every_step<W, T>(
        make: impl Fn() -> W,
        act: impl Fn(&W) -> T,
        check: impl Fn(u64, &W, T),
    ) -> u64 {
        for steps in 0.. {
            let world = make();
            LEFT.set(Some(steps));
            let result = act(&world);
            let left = LEFT.replace(None);
            check(steps, &world, result);
            if left.is_some_and(|left| left > 0) {
                return steps - left.unwrap_or_default();
            }
        }
        unreachable!("an act without an end");
    }
}

#[cfg(all(test, feature = "steps"))]
mod tests {
    use std::os::unix::process::ExitStatusExt;

    use super::{super::dir::Dir, count, die_at};

    const FOLDER: &str = "STEPS_FOLDER";

    /// The child process, not a test of its own.
    #[test]
    fn the_process_that_dies() {
        let Ok(folder) = std::env::var(FOLDER) else { return };
        let dir = Dir::open(folder.as_ref()).unwrap();
        dir.create("x", b"one", 0o600).unwrap();
        die_at(count() + 2);
        let _ = dir.replace("x", b"two", 0o600);
        unreachable!("it lives");
    }

    #[test]
    fn a_process_dies_in_the_place_of_its_step() {
        let folder = tempfile::tempdir().unwrap();
        #[expect(clippy::disallowed_methods, reason = "this test itself, as a process that may die")]
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "backend::host::atomic::steps::tests::the_process_that_dies"]);
        let status = child.env(FOLDER, folder.path()).output().unwrap().status;
        assert_eq!(status.signal(), Some(6), "aborted");
        let dir = Dir::open(folder.path()).unwrap();
        assert_eq!(dir.read("x").unwrap().unwrap().as_slice(), b"one");
        assert!(dir.leftover().unwrap().is_some(), "as after a kill");
    }
}
