//! A program that says what it has done. The thread that started it hears that, and finds out at once what is to be known
//! then: a machine with much to do gets to another thread, and to the program's end, later.
//! Must not start a program once its limit is over, or hear it for longer than it is let run.

use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use iscsi_initiator_dbus::Fault;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    pipe::{PipeFlags, pipe_with},
    thread::CapabilitySet,
};
use tokio::{
    process::{Child, Command},
    runtime::Handle,
    sync::{oneshot, watch},
};

use super::started::{
    Finished, GRACE, KILLED, OUTPUT_LIMIT, ProgramError, Rest, USUAL, command, finish, not_started,
};
use crate::backend::host::{capabilities, limit::Limit};

/// What was heard of a program that says what it has done.
#[derive(Debug)]
pub(crate) enum Heard<T> {
    /// It was not to be started.
    NotStarted,
    /// All that was waited for: it has nothing left to do but to end. And what was found then.
    Enough(T),
    /// It ended before that.
    End(Finished),
}

/// What is done on the thread of a program.
pub(crate) struct Ear<T> {
    /// Whether it is to be started, looked at as late as possible.
    ready: Box<dyn FnOnce() -> Result<bool, Fault> + Send>,
    /// Whether what it has written to its standard output is all that is waited for.
    is_enough: Box<dyn FnMut(&str) -> bool + Send>,
    /// What is to be found out then.
    find: Box<dyn FnOnce() -> T + Send>,
}

impl<T> Ear<T> {
    pub(crate) fn new(
        ready: impl FnOnce() -> Result<bool, Fault> + Send + 'static,
        is_enough: impl FnMut(&str) -> bool + Send + 'static,
        find: impl FnOnce() -> T + Send + 'static,
    ) -> Self {
        Self { ready: Box::new(ready), is_enough: Box::new(is_enough), find: Box::new(find) }
    }
}

/// Runs a program as `run` does, but until it has written enough to its standard output. Then `hold` is dropped, and its
/// end is waited for, but not by the caller. `NoTime` if the limit is over before it was started: it is not started later.
pub(crate) async fn run_until<T: Send + 'static>(
    program: &Path,
    arguments: &[&str],
    kept: CapabilitySet,
    hold: impl Send + 'static,
    Ear { ready, mut is_enough, find }: Ear<T>,
    limit: &Limit,
) -> Result<Heard<T>, ProgramError> {
    let failed = |error: io::Error| not_started(program, error);
    let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| failed(error.into()))?;
    let start = Start {
        command: command(program, arguments, Stdio::from(theirs)),
        program: program.display().to_string(),
        kept,
        runtime: Handle::try_current().map_err(|error| failed(io::Error::other(error)))?,
    };
    let decided = Arc::new(Decided::default());
    let (running, rest) = watch::channel(());
    let (started, starting) = oneshot::channel();
    let (found, finding) = oneshot::channel();
    let (heard, hearing) = oneshot::channel();
    let last = limit.deadline() + GRACE;
    let until = Instant::now() + last.saturating_duration_since(tokio::time::Instant::now()) + KILLED;
    let at_work = Arc::new(Mutex::new(Some(hold)));
    let listener = {
        let (at_work, decided, limit) = (Arc::clone(&at_work), Arc::clone(&decided), limit.clone());
        move || {
            let child = ready().map_err(ProgramError::NotReady).and_then(|is_to_be| match is_to_be {
                false => Ok(None),
                true if limit.is_over() || !decided.first() => Err(no_time(&limit)),
                true => start.begin().map(Some),
            });
            let is_started = matches!(child, Ok(Some(_)));
            // If nobody takes it, the runtime is shutting down.
            if started.send(child).is_err() || !is_started {
                return;
            }
            let mut waiting = Some((found, find));
            let output = listen(&ours, until, |output| {
                if let Some((found, find)) = waiting.take_if(|_| is_enough(&String::from_utf8_lossy(output)))
                {
                    let what = find();
                    drop(taken(&at_work));
                    // Nobody may be waiting any more.
                    let _ = found.send(what);
                }
            });
            let _ = heard.send(output);
        }
    };
    std::thread::Builder::new().name("program".to_owned()).spawn(listener).map_err(failed)?;
    let task = tokio::spawn({
        let at_work = Arc::clone(&at_work);
        async move {
            let end = match starting.await {
                Ok(Ok(Some(child))) => {
                    Some(finish(child, last, Some(hearing)).await).transpose().map_err(End::Io)
                }
                Ok(Ok(None)) => Ok(None),
                Ok(Err(error)) => Err(End::NotStarted(error)),
                Err(error) => Err(End::Io(io::Error::other(error))),
            };
            drop(taken(&at_work));
            drop(running);
            end
        }
    });
    let waiting = async {
        tokio::select! {
            biased;
            Ok(found) = finding => Ok(Ok(Heard::Enough(found))),
            end = task => end.map(|end| end.map(|end| end.map_or(Heard::NotStarted, Heard::End))),
        }
    };
    match limit.wait(waiting).await {
        Some(Ok(Ok(heard))) => Ok(heard),
        Some(Ok(Err(End::NotStarted(error)))) => Err(error),
        Some(Ok(Err(End::Io(error)))) => Err(failed(error)),
        // The task cannot panic. If it were cancelled, the runtime would be shutting down.
        Some(Err(error)) => Err(failed(io::Error::other(error))),
        // Whoever has to do with it may go on: nothing will be worked on.
        None if decided.first() => {
            drop(taken(&at_work));
            Err(no_time(limit))
        }
        None => Err(ProgramError::TimedOut(Rest(rest))),
    }
}

/// Whether the program is started, which is decided once: by the thread that is about to start it, or by its caller, whose
/// time is over.
#[derive(Debug, Default)]
struct Decided(AtomicBool);

impl Decided {
    /// Whether nobody has decided before.
    fn first(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

fn no_time(limit: &Limit) -> ProgramError {
    ProgramError::NoTime(limit.fault("no time was left to start it"))
}

/// Why there is no end.
enum End {
    NotStarted(ProgramError),
    Io(io::Error),
}

/// What is left of what the program works on.
fn taken<T>(at_work: &Mutex<Option<T>>) -> Option<T> {
    at_work.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// What it takes to start it.
struct Start {
    command: Command,
    program: String,
    kept: CapabilitySet,
    runtime: Handle,
}

impl Start {
    /// Starts it from this thread, which gives up all other capabilities. With the command goes the daemon's own end of
    /// what the program writes to.
    fn begin(mut self) -> Result<Child, ProgramError> {
        let begun = capabilities::keep_only(self.kept).map_err(io::Error::from).and_then(|()| {
            let _entered = self.runtime.enter();
            self.command.spawn()
        });
        begun.map_err(|error| not_started(Path::new(&self.program), error))
    }
}

/// All that is written, up to its limit. `hear` gets it each time that there is more. Blocks until the last writer has
/// ended, or so long.
fn listen(pipe: &OwnedFd, until: Instant, mut hear: impl FnMut(&[u8])) -> String {
    let mut kept = Vec::with_capacity(USUAL);
    let mut buffer = [0; USUAL];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let length = match readable(pipe, left).and_then(|()| rustix::io::read(pipe, &mut buffer)) {
            Ok(0) => break,
            Ok(length) => length,
            Err(Errno::INTR | Errno::AGAIN) => continue,
            // It is late, or the pipe has failed; the exit code is still valid.
            Err(_) => break,
        };
        let room = usize::try_from(OUTPUT_LIMIT).unwrap_or(usize::MAX).saturating_sub(kept.len());
        let more = buffer.get(..length.min(room)).unwrap_or_default();
        if !more.is_empty() {
            kept.extend_from_slice(more);
            hear(&kept);
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

/// Waits for something to read; `TIME` after so long.
fn readable(pipe: &OwnedFd, left: Duration) -> rustix::io::Result<()> {
    let left = left.try_into().map_err(|_| Errno::INVAL)?;
    match poll(&mut [PollFd::new(pipe, PollFlags::IN)], Some(&left))? {
        0 => Err(Errno::TIME),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use iscsi_initiator_dbus::Kind;

    use super::*;

    const NONE: CapabilitySet = CapabilitySet::empty();

    fn soon(millis: u64) -> Limit {
        Limit::of(Duration::from_millis(millis))
    }

    async fn heard<T: Send + 'static>(
        words: &str,
        ear: Ear<T>,
        limit: &Limit,
    ) -> Result<Heard<T>, ProgramError> {
        run_until(Path::new("/bin/sh"), &["-c", words], NONE, (), ear, limit).await
    }

    /// Says when it was dropped.
    struct Hold(Option<oneshot::Sender<()>>);

    impl Drop for Hold {
        fn drop(&mut self) {
            let _ = self.0.take().unwrap().send(());
        }
    }

    #[tokio::test]
    async fn a_program_that_has_said_enough_is_not_waited_for_and_holds_nothing_any_more() {
        let folder = tempfile::tempdir().unwrap();
        let over = folder.path().join("over");
        let (dropped, end) = oneshot::channel();
        let words = format!("printf 'a\\nb'; sleep 0.2; printf '\\nc\\n'; sleep 1; touch {}", over.display());
        let is_enough = |said: &str| said.lines().filter(|line| line.len() == 1).count() == 3;
        let ear = Ear::new(|| Ok(true), is_enough, || std::thread::current().name().map(str::to_owned));
        let words = ["-c", &words];
        let heard =
            run_until(Path::new("/bin/sh"), &words, NONE, Hold(Some(dropped)), ear, &soon(60_000)).await;
        let Ok(Heard::Enough(thread)) = heard else { panic!("{heard:?}") };
        assert_eq!(thread.as_deref(), Some("program"), "it was found out by the one that heard it");
        end.await.unwrap();
        assert!(!over.exists(), "it was waited for");
        // It comes to its end all the same.
        while !over.exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    #[tokio::test]
    async fn a_program_that_does_not_say_enough_is_waited_for() {
        let ear = |most: usize| Ear::new(|| Ok(true), move |said| said.len() > most, || ());
        let end = heard("echo a; echo no >&2; exit 8", ear(2), &soon(60_000)).await;
        let Ok(Heard::End(Finished { code, output, complaint })) = end else { panic!("{end:?}") };
        assert_eq!((code, output.as_str(), complaint.as_str()), (8, "a\n", "no\n"));
        let end = heard("exec sleep 30", ear(0), &soon(2000)).await;
        assert!(matches!(end, Err(ProgramError::TimedOut(_))), "{end:?}");
        let end = heard("head -c 1000000 /dev/zero", ear(1 << 20), &soon(60_000)).await;
        let Ok(Heard::End(Finished { code: 0, output, .. })) = end else { panic!("{end:?}") };
        assert_eq!(output.len() as u64, OUTPUT_LIMIT);
    }

    #[tokio::test]
    async fn what_is_not_ready_is_not_started() {
        let folder = tempfile::tempdir().unwrap();
        let begun = folder.path().join("begun");
        let words = format!("touch {}", begun.display());
        let ear = |ready: Result<bool, Fault>| Ear::new(move || ready, |_| false, || ());
        let end = heard(&words, ear(Ok(false)), &soon(60_000)).await;
        assert!(matches!(end, Ok(Heard::NotStarted)), "{end:?}");
        let why = Fault::invalid("portal", "is another");
        let end = heard(&words, ear(Err(why.clone())), &soon(60_000)).await;
        let Err(error @ ProgramError::NotReady(_)) = end else { panic!("{end:?}") };
        assert_eq!(error.to_string(), why.to_string());
        // Once its time is over it is not begun any more, and nothing is kept for it while it is not known to be ready.
        let (go_on, waiting) = std::sync::mpsc::channel::<()>();
        let late = Ear::new(move || Ok(waiting.recv().is_ok()), |_| false, || ());
        let (dropped, end) = oneshot::channel();
        let words = ["-c", &words];
        let heard = run_until(Path::new("/bin/sh"), &words, NONE, Hold(Some(dropped)), late, &soon(50)).await;
        let Err(ProgramError::NoTime(fault)) = heard else { panic!("{heard:?}") };
        assert_eq!(fault.kind(), Kind::TimedOut);
        end.await.unwrap();
        go_on.send(()).unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert!(!begun.exists());
        let over = soon(0);
        let end = run_until(Path::new("/bin/sh"), &words, NONE, (), ear(Ok(true)), &over).await;
        assert!(matches!(end, Err(ProgramError::NoTime(_))) && !begun.exists(), "{end:?}");
        let nothing = run_until(Path::new("/nonexistent"), &[], NONE, (), ear(Ok(true)), &soon(60_000)).await;
        assert!(matches!(nothing, Err(ProgramError::Start(..))), "{nothing:?}");
    }
}
