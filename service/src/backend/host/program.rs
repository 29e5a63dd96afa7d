//! Starts programs. The only place that does.
//! Must not use a shell, a relative path or the caller's environment, or wait or read without a
//! limit.

use std::{
    future::Future,
    io,
    path::Path,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt},
    process::{Child, ChildStderr, ChildStdout},
    sync::{oneshot, watch},
    time::Instant,
};

use rustix::thread::CapabilitySet;

use super::{capabilities, limit::Limit};

/// The most that is kept of a program's output; the rest is read and discarded.
pub(crate) const OUTPUT_LIMIT: u64 = 64 * 1024;
/// What most programs do not exceed: it is read at once.
const USUAL: usize = 4096;
/// How long a program may continue after it missed its deadline, before it is killed. iscsiadm is
/// not killed at once: it may hold the database's lock, and what it asked of iscsid continues
/// anyway.
const GRACE: Duration = Duration::from_secs(150);
/// How long to wait for the end of a program that was killed: one that hangs in the kernel, as a scan of a target
/// that does not answer, ends when the kernel lets it. What it works on is not kept for it any longer.
const KILLED: Duration = Duration::from_secs(30);

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Finished {
    /// Its exit code, 128 + signal if it was killed.
    pub(crate) code: i32,
    /// Its standard output, if that was requested.
    pub(crate) output: String,
    /// Its standard error, for the log only.
    pub(crate) complaint: String,
}

/// What was heard of a program that says what it has done.
#[derive(Debug)]
pub(crate) enum Heard {
    /// All that was waited for. It has nothing left to do but to end.
    Enough,
    /// It ended before that.
    End(Finished),
}

/// Why there is no result.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ProgramError {
    #[error("{0} could not be started: {1}")]
    Start(String, Arc<io::Error>),
    #[error("timed out waiting for it")]
    TimedOut(Rest),
}

/// A program that continues after the wait for it has timed out; several may wait for its end. Dropping this
/// does not end it.
#[derive(Clone, Debug)]
pub(crate) struct Rest(watch::Receiver<()>);

impl Rest {
    /// Waits until the program has ended, or was killed at the end of its grace period.
    pub(crate) async fn ended(mut self) {
        // However it ended, its effect has to be checked, not assumed. Nothing is ever sent: the sender goes
        // with the program.
        while self.0.changed().await.is_ok() {}
    }
}

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

/// The same until what it has written to its standard output `is_enough`: a program that says what it has done says so
/// before it ends, and ends behind everything else that wants the processor. Then `hold` is dropped, and its end is
/// waited for, but not by the caller.
pub(crate) async fn run_until(
    program: &Path,
    arguments: &[&str],
    kept: CapabilitySet,
    hold: impl Send + 'static,
    is_enough: impl FnMut(&str) -> bool + Send + 'static,
    limit: &Limit,
) -> Result<Heard, ProgramError> {
    heard(program, start(program, arguments, kept, Stdio::piped())?, hold, is_enough, limit).await
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

/// A program that was started.
trait Started: Send + 'static {
    /// Its standard output and its standard error, once, where they are read.
    fn pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>);
    fn pid(&self) -> Option<u32>;
    fn kill(&mut self) -> io::Result<()>;
    /// Waits for its end.
    fn end(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send;
}

impl Started for Child {
    fn pipes(&mut self) -> (Option<ChildStdout>, Option<ChildStderr>) {
        (self.stdout.take(), self.stderr.take())
    }

    fn pid(&self) -> Option<u32> {
        self.id()
    }

    fn kill(&mut self) -> io::Result<()> {
        self.start_kill()
    }

    fn end(&mut self) -> impl Future<Output = io::Result<ExitStatus>> + Send {
        self.wait()
    }
}

async fn finished(
    program: &Path,
    child: impl Started,
    hold: impl Send + 'static,
    limit: &Limit,
) -> Result<Finished, ProgramError> {
    match heard(program, child, hold, |_| false, limit).await? {
        Heard::End(finished) => Ok(finished),
        // Nothing was.
        Heard::Enough => Err(not_started(program, io::Error::other("it was not waited for"))),
    }
}

async fn heard(
    program: &Path,
    child: impl Started,
    hold: impl Send + 'static,
    mut is_enough: impl FnMut(&str) -> bool + Send + 'static,
    limit: &Limit,
) -> Result<Heard, ProgramError> {
    let (running, rest) = watch::channel(());
    let (enough, is_heard) = oneshot::channel();
    let last = limit.deadline() + GRACE;
    let task = tokio::spawn(async move {
        let mut at_work = Some((hold, enough));
        let hear = |output: &[u8]| {
            if let Some((hold, enough)) = at_work.take_if(|_| is_enough(&String::from_utf8_lossy(output))) {
                drop(hold);
                // Nobody may be waiting any more.
                let _ = enough.send(());
            }
        };
        let end = finish(child, last, hear).await;
        drop(at_work);
        drop(running);
        end
    });
    let hearing = async {
        tokio::select! {
            biased;
            Ok(()) = is_heard => Ok(Ok(Heard::Enough)),
            end = task => end.map(|end| end.map(Heard::End)),
        }
    };
    match limit.wait(hearing).await {
        Some(Ok(heard)) => heard.map_err(|error| not_started(program, error)),
        // The task cannot panic. If it were cancelled, the runtime would be shutting down.
        Some(Err(error)) => Err(not_started(program, io::Error::other(error))),
        None => Err(ProgramError::TimedOut(Rest(rest))),
    }
}

fn not_started(program: &Path, error: io::Error) -> ProgramError {
    ProgramError::Start(program.display().to_string(), Arc::new(error))
}

#[expect(clippy::disallowed_methods, reason = "the one place that starts programs")]
fn start(
    program: &Path,
    arguments: &[&str],
    kept: CapabilitySet,
    output: Stdio,
) -> Result<Child, ProgramError> {
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        // When the daemon exits, a program that is changing the database may finish.
        .kill_on_drop(false);
    spawn_with(kept, &mut command).map_err(|error| not_started(program, error))
}

/// Starts it from a thread of its own, which has given up all other capabilities: a program gets
/// what the thread has that starts it. Blocks until the program has started.
fn spawn_with(kept: CapabilitySet, command: &mut tokio::process::Command) -> io::Result<Child> {
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

/// `hear` gets all that it has written to its standard output, each time that there is more.
async fn finish(mut child: impl Started, last: Instant, hear: impl FnMut(&[u8])) -> io::Result<Finished> {
    let (stdout, stderr) = child.pipes();
    let whole = async {
        // Both at once: a program that fills one of the pipes blocks until it is read.
        let (output, complaint) = tokio::join!(read_bounded(stdout, hear), read_bounded(stderr, |_| {}));
        child.end().await.map(|status| (status, output, complaint))
    };
    let (status, output, complaint) = match tokio::time::timeout_at(last, whole).await {
        Ok(end) => end?,
        Err(_) => {
            child.kill()?;
            let end = tokio::time::timeout(KILLED, child.end()).await.unwrap_or_else(|_| {
                tracing::warn!(
                    pid = child.pid(),
                    "was killed, and hangs: what it works on is not kept for it"
                );
                Err(io::ErrorKind::TimedOut.into())
            });
            (end?, String::new(), String::new())
        }
    };
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1);
    Ok(Finished { code, output, complaint })
}

async fn read_bounded(stream: Option<impl AsyncRead + Unpin>, mut hear: impl FnMut(&[u8])) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::with_capacity(USUAL);
    let mut first = (&mut stream).take(OUTPUT_LIMIT);
    // An error of the pipe ends the reading; the exit code is still valid.
    while let Ok(length) = first.read_buf(&mut kept).await {
        if length == 0 {
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            break;
        }
        hear(&kept);
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
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

    #[tokio::test]
    async fn a_program_that_has_said_enough_is_not_waited_for_and_holds_nothing_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let over = folder.path().join("over");
        let (dropped, end) = tokio::sync::oneshot::channel();
        let hold = Hold { over: over.clone(), dropped: Some(dropped) };
        let words = format!("printf 'a\nb'; sleep 0.2; printf '\nc\n'; sleep 1; touch {}", over.display());
        let is_enough = |said: &str| said.lines().filter(|line| line.len() == 1).count() == 3;
        let words = ["-c", &words];
        let heard = run_until(Path::new("/bin/sh"), &words, NONE, hold, is_enough, &soon(60_000)).await;
        assert!(matches!(heard, Ok(Heard::Enough)), "{heard:?}");
        assert!(!over.exists() && !end.await.unwrap(), "it was waited for");
        // It comes to its end all the same.
        while !over.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_program_that_does_not_say_enough_is_waited_for() {
        let words = ["-c", "echo a; echo no >&2; exit 8"];
        let heard =
            run_until(Path::new("/bin/sh"), &words, NONE, (), |said| said.len() > 2, &soon(60_000)).await;
        let Ok(Heard::End(Finished { code, output, complaint })) = heard else { panic!("{heard:?}") };
        assert_eq!((code, output.as_str(), complaint.as_str()), (8, "a\n", "no\n"));
        let words = ["-c", "exec sleep 5"];
        let heard = run_until(Path::new("/bin/sh"), &words, NONE, (), |_| true, &soon(100)).await;
        assert!(matches!(heard, Err(ProgramError::TimedOut(_))), "nothing is not enough: {heard:?}");
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
            let said = finish(child, Instant::now() + GRACE, |_| {}).await.unwrap().output;
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
