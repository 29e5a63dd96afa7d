//! Starts programs. The only place that does.
//! Must not use a shell, a relative path or the caller's environment, or wait or read without a
//! limit.
//!
//! | room | what it is |
//! |---|---|
//! | `heard` | a program that says what it has done before it ends |
//! | `started` | a program that was started, up to its end |

mod heard;
mod started;

use std::{io, path::Path, process::Stdio};

use rustix::thread::CapabilitySet;
use tokio::{
    process::{Child, Command},
    sync::watch,
};

use self::started::{GRACE, Started, command, finish, not_started};
pub(crate) use self::{
    heard::{Ear, Heard, run_until},
    started::{Finished, OUTPUT_LIMIT, ProgramError, Rest},
};
use super::{capabilities, limit::Limit};

/// Runs a program to its end, or until the limit. After that it may continue for a while before it
/// is killed. Of this daemon's capabilities it gets only those in `kept`. `hold` is what it works on: it is
/// dropped once the program has ended, or hangs after it was killed, however the wait for that ends, also if this
/// is dropped.
pub(crate) async fn run(
    program: &Path,
    arguments: &[&str],
    kept: CapabilitySet,
    hold: impl Send + 'static,
    limit: &Limit,
) -> Result<Finished, ProgramError> {
    finished(program, start(program, arguments, kept, Stdio::null())?, hold, limit).await
}

/// The same with its standard output.
pub(crate) async fn run_and_read(
    program: &Path,
    arguments: &[&str],
    kept: CapabilitySet,
    hold: impl Send + 'static,
    limit: &Limit,
) -> Result<Finished, ProgramError> {
    finished(program, start(program, arguments, kept, Stdio::piped())?, hold, limit).await
}

/// The same without any capability, of a program that changes nothing.
pub(crate) async fn ask(program: &Path, arguments: &[&str], limit: &Limit) -> Result<Finished, ProgramError> {
    run_and_read(program, arguments, CapabilitySet::empty(), (), limit).await
}

async fn finished(
    program: &Path,
    child: impl Started,
    hold: impl Send + 'static,
    limit: &Limit,
) -> Result<Finished, ProgramError> {
    let (running, rest) = watch::channel(());
    let last = limit.deadline() + GRACE;
    let mut end = tokio::spawn(async move {
        let end = finish(child, last, None).await;
        drop(hold);
        drop(running);
        end
    });
    match limit.wait(&mut end).await {
        Some(Ok(finished)) => finished.map_err(|error| not_started(program, error)),
        // The task cannot panic. If it were cancelled, the runtime would be shutting down.
        Some(Err(error)) => Err(not_started(program, io::Error::other(error))),
        None => Err(ProgramError::TimedOut(Rest(rest))),
    }
}

fn start(
    program: &Path,
    arguments: &[&str],
    kept: CapabilitySet,
    output: Stdio,
) -> Result<Child, ProgramError> {
    spawn_with(kept, &mut command(program, arguments, output)).map_err(|error| not_started(program, error))
}

/// Starts it from a thread of its own, which has given up all other capabilities: a program gets
/// what the thread has that starts it. Blocks until the program has started.
fn spawn_with(kept: CapabilitySet, command: &mut Command) -> io::Result<Child> {
    let runtime = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
    let work = || {
        capabilities::keep_only(kept)?;
        let _entered = runtime.enter();
        command.spawn()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("program".to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("an internal task failed")))
    })
}

#[cfg(test)]
mod tests {
    use std::{future::Future, process::ExitStatus, time::Duration};

    use tokio::{
        process::{ChildStderr, ChildStdout},
        time::Instant,
    };

    use super::{started::KILLED, *};
    use crate::backend::host::capabilities::FOR_ISCSIADM;

    const NONE: CapabilitySet = CapabilitySet::empty();

    fn soon(millis: u64) -> Limit {
        Limit::of(Duration::from_millis(millis))
    }

    #[tokio::test]
    async fn the_exit_code_and_the_complaint_come_back() {
        let words = ["-c", "echo no >&2; exit 24"];
        let end = run(Path::new("/bin/sh"), &words, NONE, (), &soon(5000)).await.unwrap();
        assert_eq!((end.code, end.complaint.as_str()), (24, "no\n"));
    }

    #[tokio::test]
    async fn what_it_says_on_standard_output_comes_back_only_when_asked_for() {
        let words = ["-c", "head -c 200000 /dev/zero >&2; echo version 2"];
        let end = ask(Path::new("/bin/sh"), &words, &soon(10_000)).await.unwrap();
        assert_eq!((end.code, end.output.as_str()), (0, "version 2\n"));
        assert_eq!(run(Path::new("/bin/sh"), &words, NONE, (), &soon(10_000)).await.unwrap().output, "");
    }

    #[tokio::test]
    async fn the_environment_is_clean() {
        let words = ["sh", "-c", "env >&2"];
        let end = run(Path::new("/usr/bin/env"), &words, NONE, (), &soon(5000)).await.unwrap();
        assert!(!end.complaint.contains("HOME=") && end.complaint.contains("LC_ALL=C"), "{}", end.complaint);
    }

    #[tokio::test]
    async fn a_slow_program_does_not_hold_the_call() {
        let start = Instant::now();
        let end = run(Path::new("/bin/sleep"), &["5"], NONE, (), &soon(100)).await;
        assert!(matches!(end, Err(ProgramError::TimedOut(_))));
        assert!(start.elapsed() < Duration::from_secs(4));
    }

    #[tokio::test]
    async fn several_may_wait_for_the_end_of_a_program_that_missed_its_deadline() {
        let folder = tempfile::tempdir().unwrap();
        let over = folder.path().join("over");
        let words = format!("sleep 1; touch {}", over.display());
        let end = run(Path::new("/bin/sh"), &["-c", &words], NONE, (), &soon(50)).await;
        let Err(ProgramError::TimedOut(rest)) = end else { panic!("{end:?}") };
        assert!(!over.exists());
        let other = rest.clone();
        tokio::join!(rest.ended(), other.ended());
        assert!(over.exists());
    }

    /// What a program works on. Says whether the program had ended when it was dropped.
    struct Hold {
        over: std::path::PathBuf,
        dropped: Option<tokio::sync::oneshot::Sender<bool>>,
    }

    impl Drop for Hold {
        fn drop(&mut self) {
            self.dropped.take().unwrap().send(self.over.exists()).unwrap();
        }
    }

    #[tokio::test]
    async fn what_a_program_works_on_is_kept_until_it_has_ended_whatever_becomes_of_the_wait() {
        let folder = tempfile::tempdir().unwrap();
        for (name, is_dropped) in [("late", false), ("dropped", true)] {
            let over = folder.path().join(name);
            let (dropped, end) = tokio::sync::oneshot::channel();
            let hold = Hold { over: over.clone(), dropped: Some(dropped) };
            let words = ["-c", &format!("sleep 1; touch {}", over.display())];
            let limit = soon(if is_dropped { 60_000 } else { 50 });
            let running = run(Path::new("/bin/sh"), &words, NONE, hold, &limit);
            let waited = tokio::time::timeout(Duration::from_millis(500), running).await;
            assert_eq!(waited.is_err(), is_dropped);
            assert!(!over.exists());
            assert!(end.await.unwrap(), "it was dropped before the program had ended");
        }
    }

    /// A program that the kernel does not let die: it never ends.
    struct Hanging(tokio::sync::watch::Sender<Option<Instant>>);

    impl Started for Hanging {
        fn pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
            (None, None)
        }

        fn pid(&self) -> Option<u32> {
            None
        }

        fn kill(&mut self) -> io::Result<()> {
            self.0.send_replace(Some(Instant::now()));
            Ok(())
        }

        fn end(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send {
            std::future::pending()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_program_works_on_is_kept_for_half_a_minute_after_it_was_killed_and_hangs() {
        let (begun, patience) = (Instant::now(), Duration::from_secs(20));
        let (killing, killed) = tokio::sync::watch::channel(None);
        let (dropped, end) = tokio::sync::oneshot::channel();
        let hold = Hold { over: "/nonexistent".into(), dropped: Some(dropped) };
        let waited = finished(Path::new("x"), Hanging(killing), hold, &Limit::of(patience)).await;
        let Err(ProgramError::TimedOut(rest)) = waited else { panic!("{waited:?}") };
        assert_eq!((begun.elapsed(), *killed.borrow()), (patience, None), "it may end by itself");
        assert!(!end.await.unwrap(), "it has not ended");
        assert_eq!(*killed.borrow(), Some(begun + patience + GRACE));
        assert_eq!(begun.elapsed(), patience + GRACE + KILLED);
        // So do those that wait for its end.
        rest.ended().await;
        assert_eq!(begun.elapsed(), patience + GRACE + KILLED);
    }

    #[tokio::test]
    async fn endless_output_is_bounded() {
        let words = ["-c", "head -c 1000000 /dev/zero >&2"];
        let end = run(Path::new("/bin/sh"), &words, NONE, (), &soon(10_000)).await.unwrap();
        assert_eq!(end.complaint.len() as u64, OUTPUT_LIMIT);
    }

    #[tokio::test]
    async fn a_missing_program_is_told() {
        assert!(matches!(
            run(Path::new("/nonexistent"), &[], NONE, (), &soon(1000)).await,
            Err(ProgramError::Start(..))
        ));
    }

    /// Of `/proc/self/status`.
    fn set(status: &str, key: &str) -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    }

    /// Without `NoNewPrivileges`, root's programs get everything whatever this thread has. So it runs in a
    /// process that has it, of `a_program_gets_no_other_capability`.
    #[tokio::test]
    #[ignore = "a part of another test"]
    async fn under_no_new_privileges() {
        let own = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert!(own.contains("NoNewPrivs:\t1"), "{own}");
        let status = Path::new("/proc/self/status").to_str().unwrap();
        for kept in [NONE, FOR_ISCSIADM] {
            let child = start(Path::new("/bin/cat"), &[status], kept, Stdio::piped()).unwrap();
            let said = finish(child, Instant::now() + GRACE, None).await.unwrap().output;
            let expected = kept.bits() & set(&own, "CapPrm:");
            for key in ["CapPrm:", "CapEff:"] {
                assert_eq!(set(&said, key), expected, "{said}");
            }
        }
        let after = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        assert_eq!(set(&after, "CapPrm:"), set(&own, "CapPrm:"), "this thread keeps what it had");
    }

    #[tokio::test]
    async fn a_program_gets_no_other_capability() {
        let own = std::env::current_exe().unwrap();
        let test = "backend::host::program::tests::under_no_new_privileges";
        let words = ["--no-new-privs", "--", own.to_str().unwrap(), "--exact", test, "--ignored"];
        let end = ask(Path::new("/usr/bin/setpriv"), &words, &Limit::of(GRACE)).await.unwrap();
        assert!(end.code == 0 && end.output.contains("1 passed"), "{end:?}");
    }
}
